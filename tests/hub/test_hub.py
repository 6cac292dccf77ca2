"""The Python API against the fairseq commands and against fairseq's own forward pass."""

import importlib.util
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq import hub_utils, utils
from omegaconf import OmegaConf
from support.commands import sld
from support.miniature import NUM_UNITS, ROOT, fairseq_command, make_data, train

from sld_user_dir import hub
from sld_user_dir.losses.stored_options import predicts_units

UNITS = [[0, 0, 1], [4, 4, 5, 2, 2, 3], [6, 6, 7, 8, 8, 9, 0, 0, 1, 2, 2, 3]]


@pytest.fixture(scope="module")
def model(checkpoint, mini):
    return hub.load(checkpoint, data=mini, device="cpu")


def test_the_same_as_fairseq_interactive(model, mini, checkpoint, tmp_path):
    typed = tmp_path / "typed.txt"
    typed.write_text("".join(" ".join(map(str, u)) + "\n" for u in UNITS))
    done = fairseq_command(
        "interactive",
        mini,
        "--path",
        checkpoint,
        "--input",
        typed,
        "--beam",
        3,
        "--nbest",
        3,
        "--max-len-b",
        10,
        "--buffer-size",
        3,
        "--max-tokens",
        1000,
    )
    lines = re.findall(r"^D-(\d)\t(\S+)\t(.*)$", done.stdout, re.M)
    found = model.hypotheses(UNITS, beam=3, max_len_b=10)
    ours = [(str(i), h.text) for i, nbest in enumerate(found) for h in nbest]
    assert [(i, text) for i, _, text in sorted(lines, key=lambda line: line[0])] == ours
    scores = [float(score) for _, score, _ in sorted(lines, key=lambda line: line[0])]
    # interactive prints base 2
    np.testing.assert_allclose(scores, [h.score / math.log(2) for n in found for h in n], atol=2e-4)


def test_one_utterance_or_a_list_in_any_form(model):
    texts = model.transcribe_units(UNITS, beam=2, max_len_b=10)
    assert [model.transcribe_units(u, beam=2, max_len_b=10) for u in UNITS] == texts
    assert model.transcribe_units(np.array(UNITS[0]), beam=2, max_len_b=10) == texts[0]
    assert model.transcribe_units([torch.tensor(u) for u in UNITS], beam=2, max_len_b=10) == texts
    assert model.transcribe([]) == []


def forward_log_probs(model, units, text) -> list:
    """Teacher forcing by the model's own forward pass: the oracle of `score`."""
    vocab = model.vocab
    ids = vocab.encode_text(text) + [vocab.eos]
    row = [*vocab.encode_units(units).tolist(), vocab.separator, *ids]
    with torch.no_grad():
        logits = model.models[0](torch.tensor([row[:-1]]))[0][0, -len(ids) :]  # (M, V)
    emitted = [*range(4, vocab.text_end), vocab.eos]
    rest = [i for i in range(logits.size(1)) if i not in emitted]
    logits[:, rest] = -math.inf
    return logits.log_softmax(-1)[range(len(ids)), ids].tolist()


@pytest.mark.parametrize("text", ["two zero", "one", "four four four three two one zero"])
def test_score_is_the_probability_of_the_transcript(model, text):
    score = model.score(UNITS[1], text)
    expected = forward_log_probs(model, UNITS[1], text)
    np.testing.assert_allclose(score.token_log_probs, expected, atol=1e-4)
    assert score.log_prob == pytest.approx(sum(expected), abs=1e-3)
    assert score.tokens == [*text.split(), "</s>"]
    assert score.perplexity == pytest.approx(math.exp(-sum(expected) / len(expected)), rel=1e-3)


def test_score_agrees_with_what_the_search_found(model):
    best = model.hypotheses([UNITS[2]], beam=4, max_len_b=10)[0]
    for hypothesis in best:
        if not hypothesis.truncated and hypothesis.text:
            assert model.score(UNITS[2], hypothesis.text).log_prob == pytest.approx(hypothesis.log_prob, abs=1e-3)


def test_score_of_what_cannot_be_written(model):
    with pytest.raises(ValueError, match=r"'five' is not in the vocabulary of .*; the model cannot write it"):
        model.score(UNITS[0], "four five")
    with pytest.raises(ValueError, match="3 units and 200 tokens of text exceed the model's positions"):
        model.score(UNITS[0], "one " * 200)


def test_continued_units(model):
    first = model.continue_units(UNITS[0], samples=3, max_units=7, min_units=7, seed=1)
    assert [len(u) for u in first] == [7, 7, 7] and len({tuple(u) for u in first}) > 1
    assert {unit for u in first for unit in u} <= set(range(NUM_UNITS))
    assert model.continue_units(UNITS[0], samples=3, max_units=7, min_units=7, seed=1) == first
    assert model.continue_units(UNITS[0], samples=3, max_units=7, min_units=7, seed=2) != first
    state = torch.random.get_rng_state()
    model.continue_units(UNITS[0], seed=3, max_units=3)
    assert torch.equal(torch.random.get_rng_state(), state)  # a seed leaves the caller's generator alone


def test_the_greedy_continuation_is_the_argmax_over_units(model):
    (units,) = model.continue_units(UNITS[1], sampling=False, max_units=4, min_units=4)
    vocab, row = model.vocab, model.vocab.encode_units(UNITS[1]).tolist()
    for unit in units:
        with torch.no_grad():
            logits = model.models[0](torch.tensor([row]))[0][0, -1, vocab.unit_offset :]
        assert int(logits.argmax()) == unit
        row.append(unit + vocab.unit_offset)


@pytest.mark.parametrize(
    "criterion, expected",
    [
        ({"_name": "masked_ce"}, False),
        ({"_name": "sld", "speech_weight": 0.0, "kl_weight": 0.0}, False),
        ({"_name": "sld", "speech_weight": 0.0, "kl_weight": None}, True),
        ({"_name": "sld", "speech_weight": 1.0, "kl_weight": 0.0}, True),
        ({"_name": "cross_entropy"}, True),
        (None, True),
    ],
)
def test_which_criteria_teach_units(criterion, expected):
    assert predicts_units(criterion) is expected


def test_a_model_without_a_loss_on_speech_has_nothing_to_say(model, monkeypatch):
    trained = OmegaConf.create({"criterion": {"_name": "masked_ce"}})  # as fairseq stores it
    monkeypatch.setattr(model, "cfg", trained)
    with pytest.raises(ValueError, match="trained with a loss on text only"):
        model.continue_units(UNITS[0])


@pytest.mark.parametrize(
    "units, message",
    [
        ([], "no units; give at least one"),
        ([0, NUM_UNITS], f"unit {NUM_UNITS} is outside the vocabulary's 0 … {NUM_UNITS - 1}"),
        ([0.5, 1.0], "is no list of raw units; give numbers"),
        (["three", "four"], "is no list of raw units; give numbers"),
        ([0] * 100, "102 tokens|101 tokens"),
    ],
)
def test_prompts_that_cannot_be_transcribed(model, units, message):
    with pytest.raises(ValueError, match=message):
        model.transcribe_units([units])


def test_options_out_of_range(model):
    with pytest.raises(TypeError, match="no generation option 'beams'"):
        model.transcribe_units(UNITS[0], beams=3)
    with pytest.raises(ValueError, match="units 5 to 3"):
        model.continue_units(UNITS[0], min_units=5, max_units=3)


def test_what_cannot_be_loaded_is_named(checkpoint, mini, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.pt: no such checkpoint"):
        hub.load(tmp_path / "no.pt")
    other = make_data(tmp_path / "other", train=3)
    (other / "dict.txt").write_text((other / "dict.txt").read_text().replace("zero", "null"))
    with pytest.raises(ValueError, match=r"the checkpoint: its vocabulary is .*, but that of .*other"):
        hub.load(checkpoint, data=other)


def test_repeats_are_refused_by_a_model_of_deduplicated_units(model, monkeypatch):
    collapsed = type(model.provenance)(**{**model.provenance.__dict__, "deduplicated": True})
    monkeypatch.setattr(model, "provenance", collapsed)
    with pytest.raises(ValueError, match="trained on de-duplicated ones; collapse the runs"):
        model.transcribe_units([0, 0, 1])


# -- GSLM's sampler -------------------------------------------------------------------------------
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


# -- audio -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A model of MFCC units of noise bursts, its k-means and three recordings, made by our own commands' parts."""
    soundfile = pytest.importorskip("soundfile")
    from sld_user_dir.clustering.kmeans import KMeans
    from sld_user_dir.features.feature_config import FeatureConfig
    from sld_user_dir.features.front_end import build_front_end
    from sld_user_dir.manifests.audio_manifest import Recording
    from sld_user_dir.pipeline.extraction import extract_units
    from sld_user_dir.vocabulary.building import build_vocabulary

    folder = tmp_path_factory.mktemp("spoken")
    rng = np.random.default_rng(0)
    config = FeatureConfig(sample_rate_hz=8000, normalise="speaker", stack=2)
    front_end = build_front_end(config)
    frames = rng.normal(size=(8, front_end.dim)).astype(np.float32)
    kmeans = KMeans(frames, {"features": config.to_dict(), "encoder": front_end.encoder})
    data = folder / "data"
    data.mkdir()
    kmeans.save(data / "kmeans.npz")
    recordings = []
    for i in range(3):
        path = folder / f"{i}.wav"
        soundfile.write(path, rng.normal(size=4000 + 800 * i) * 0.1, 8000)
        recordings.append(Recording(str(i), path, text="one two", speaker="s"))
    extract_units(recordings, front_end, kmeans, data / "train.tsv")
    shutil.copy(data / "train.tsv", data / "valid.tsv")
    build_vocabulary(data, "word")
    train(data, folder / "save", updates=2)
    return folder, recordings


def test_audio_becomes_the_units_of_the_manifest(spoken):
    from sld_user_dir.manifests.unit_manifest import read_manifest

    folder, recordings = spoken
    model = hub.load(folder / "save" / "checkpoint_last.pt", data=folder / "data")
    files = [r.path for r in recordings]
    expected = [u.units.tolist() for u in read_manifest(folder / "data" / "train.tsv")]
    assert model.units_of(files) == expected
    texts = model.transcribe_units(expected, beam=2, max_len_b=5)
    assert model.transcribe(files, beam=2, max_len_b=5) == texts
    assert isinstance(model.transcribe(str(files[0]), beam=2, max_len_b=5), str)


def test_audio_that_cannot_be_used(spoken, tmp_path, model):
    from sld_user_dir.clustering.kmeans import KMeans
    from sld_user_dir.features.waveform import AudioError

    folder, _ = spoken
    path = folder / "save" / "checkpoint_last.pt"
    (tmp_path / "x.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"x\.wav: "):
        hub.load(path, data=folder / "data").transcribe(tmp_path / "x.wav")
    with pytest.raises(ValueError, match=r"kmeans\.npz: no k-means file.*hub\.load\(…, kmeans=…\)"):
        model.transcribe(Path("x.wav"))
    kmeans = KMeans.load(folder / "data" / "kmeans.npz")
    KMeans(kmeans.centroids + 1, kmeans.metadata).save(tmp_path / "other.npz")
    other = hub.load(path, data=folder / "data", kmeans=tmp_path / "other.npz")
    with pytest.raises(ValueError, match=r"other\.npz makes units .*, but the model was trained on "):
        other.transcribe(tmp_path / "x.wav")


def test_transcribe_goes_on_after_a_broken_file(spoken, tmp_path, capsys):
    folder, recordings = spoken
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    options = ["--checkpoint", str(folder / "save" / "checkpoint_last.pt"), "--data", str(folder / "data")]
    options += ["--beam", "2", "--max-len-b", "5"]
    first, last = str(recordings[0].path), str(recordings[2].path)
    assert sld("transcribe", first, tmp_path / "broken.wav", last, *options) == 1
    out, err = capsys.readouterr()
    model = hub.load(folder / "save" / "checkpoint_last.pt", data=folder / "data")
    expected = [f"{path}\t{model.transcribe(path, beam=2, max_len_b=5)}" for path in (first, last)]
    assert out.splitlines()[-2:] == expected and "broken.wav" in err
    other = ["--kmeans", str(tmp_path / "none.npz")]
    assert sld("transcribe", first, *options, *other) == 1
    assert "none.npz" in capsys.readouterr().err
