"""GSLM's sampler of textless-lib on our checkpoints."""

import importlib.util
from pathlib import Path

import pytest
from fairseq import hub_utils, utils
from support.miniature import ROOT

from sld_user_dir import hub

UNITS = [[0, 0, 1], [4, 4, 5, 2, 2, 3], [6, 6, 7, 8, 8, 9, 0, 0, 1, 2, 2, 3]]


@pytest.fixture(scope="module")
def model(checkpoint, mini):
    return hub.load(checkpoint, data=mini, device="cpu")


class StandInSampler(hub_utils.GeneratorHubInterface):
    """Stands in for `UnitLanguageModelSampler` of textless-lib's examples/gslm: what it asks of a task.

    It loads by `hub_utils.from_pretrained`, encodes by `source_dictionary.encode_line`, generates by
    `build_dataset_for_inference` and `inference_step`, and prints by `target_dictionary.string`.
    """

    @classmethod
    def from_pretrained(cls, folder, checkpoint_file="checkpoint_best.pt", data_name_or_path=".", **kwargs):
        loaded = hub_utils.from_pretrained(
            folder,
            checkpoint_file,
            data_name_or_path,
            archive_map=None,
            bpe=None,
            load_checkpoint_heads=True,
            sample_break_mode="eos",
            **kwargs,
        )
        return cls(loaded["args"], loaded["task"], loaded["models"])

    def sample(self, sentences, beam=1, verbose=False, **kwargs):
        encoded = [self.task.source_dictionary.encode_line(s, add_if_not_exist=False).long() for s in sentences]
        results = []
        for tokens, nbest in zip(encoded, self.generate(encoded, beam, verbose, **kwargs)):
            best = nbest[0]
            results.append(
                utils.post_process_prediction(
                    hypo_tokens=best["tokens"].int().cpu(),
                    src_str=self.task.source_dictionary.string(utils.strip_pad(tokens, self.tgt_dict.pad()), None),
                    alignment=best["alignment"],
                    align_dict=self.align_dict,
                    tgt_dict=self.tgt_dict,
                    remove_bpe=None,
                )[1]
            )
        return results


def gslm_sampler():
    """The real one where textless-lib's checkout is importable, the stand-in otherwise."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *args, **kwargs: None)
            import textless
        path = Path(textless.__file__).parents[1] / "examples" / "gslm" / "sampler.py"
        spec = importlib.util.spec_from_file_location("gslm_sampler", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.UnitLanguageModelSampler
    except (ImportError, FileNotFoundError):
        return StandInSampler


@pytest.mark.parametrize("sampler", list(dict.fromkeys([StandInSampler, gslm_sampler()])))
def test_the_sampler_of_gslm_runs_on_our_checkpoints(sampler, model, mini, checkpoint):
    loaded = sampler.from_pretrained(
        str(checkpoint.parent), checkpoint.name, str(mini), user_dir=str(ROOT / "sld_user_dir")
    )
    lines = [" ".join(map(str, units)) for units in UNITS]
    # it gets what this task generates: transcripts
    assert loaded.sample(lines, beam=2, max_len_b=10) == model.transcribe_units(UNITS, beam=2, max_len_b=10)
    drawn = loaded.sample(lines, beam=1, sampling=True, temperature=0.7, prefix_size=-1, max_len_a=0.0, max_len_b=10)
    assert len(drawn) == 3 and {w for text in drawn for w in text.split()} <= {"zero", "one", "two", "three", "four"}
