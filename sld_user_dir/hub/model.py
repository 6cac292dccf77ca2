"""A trained model from Python: transcribe, score, continue.

    from sld_user_dir import hub
    model = hub.load("checkpoint.pt", data="manifests/digits")
    model.transcribe_units([71, 12, 57])

The same task, dataset, generator and `inference_step` as `fairseq-interactive`, and so the same output.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Optional, Sequence, Union, overload

import numpy as np
import torch

from sld_user_dir.devices import torch_device
from sld_user_dir.errors import InputError
from sld_user_dir.losses.stored_options import predicts_units
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.registration import register
from sld_user_dir.sequences.sequence_format import FORMATS, format_of

Units = Sequence[int]
PathLike = Union[str, Path]
KMEANS_FILE = "kmeans.npz"
BATCH_TOKENS = 16_000


@dataclass(frozen=True)
class Transcript:
    """A transcript.

    `score` is what the search ranks by; `log_prob` the natural logarithm of its probability among all texts, the end
    included.
    """

    text: str
    score: float
    log_prob: float
    truncated: bool = False
    """the limit of tokens ended it"""


@dataclass(frozen=True)
class Score:
    """How likely a transcript is. Natural logarithms, over text symbols and the end only."""

    log_prob: float
    tokens: list[str]
    """with the end symbol"""
    token_log_probs: list[float]

    @property
    def perplexity(self) -> float:
        """exp of the mean negative log-probability of a token."""
        return float(np.exp(-self.log_prob / len(self.tokens)))


def load(
    checkpoint: PathLike, data: Optional[PathLike] = None, *, kmeans: Optional[PathLike] = None, device: str = "auto"
) -> Model:
    """Load a checkpoint of the task `speech_unit_lm`.

    Args:
        checkpoint: file, or several joined by `:` for an ensemble, as fairseq's `--path`.
        data: data directory with the vocabulary it was trained with; by default, where it lay then.
        kmeans: k-means file for `transcribe`; by default `kmeans.npz` in the data directory.
        device: `auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`, …

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: another vocabulary or task; the message names both sides.
    """
    register()  # fairseq, and our task with it
    from sld_user_dir.models import checkpoints

    where = torch_device(device)
    models, cfg, task = checkpoints.load_ensemble(checkpoints.split_paths(str(checkpoint)), data)
    return Model(models, cfg, task, where, None if kmeans is None else Path(kmeans))


class Model:
    """One model or an ensemble, in evaluation mode; made by `load`.

    Attributes:
        models, cfg, task: fairseq's
        vocab: the joint vocabulary
        provenance: what made the units that it was trained on; None in checkpoints that do not tell
    """

    def __init__(self, models: list[Any], cfg: Any, task: Any, device: torch.device, kmeans: Optional[Path] = None):
        self.cfg, self.task, self.device = cfg, task, device
        self.models = [model.to(device).eval() for model in models]
        self.vocab = task.vocab
        self.provenance: Optional[UnitProvenance] = task.checkpoint_provenance
        self._kmeans = kmeans or Path(str(task.cfg.data).split(":")[0]) / KMEANS_FILE
        self._front_end: Any = None

    # -- units to text --------------------------------------------------------------------
    @overload
    def transcribe_units(self, units: Units, *, beam: int = 5, **generation: Any) -> str: ...
    @overload
    def transcribe_units(self, units: Sequence[Units], *, beam: int = 5, **generation: Any) -> list[str]: ...

    def transcribe_units(
        self, units: Union[Units, Sequence[Units]], *, beam: int = 5, **generation: Any
    ) -> Union[str, list[str]]:
        """Transcript of raw units `[71, 12, 57]`, or a list of transcripts of a list of such.

        Args:
            generation: fairseq's generation options: max_len_b (200 tokens), lenpen, sampling, temperature, …

        Raises:
            ValueError: an empty prompt, a unit outside the vocabulary, repeats where the model knows none.
        """
        batch, single = _as_batch(units)
        texts = [found[0].text for found in self.hypotheses(batch, beam=beam, **generation)]
        return texts[0] if single else texts

    def hypotheses(self, units: Sequence[Units], *, beam: int = 5, **generation: Any) -> list[list[Transcript]]:
        """Of each utterance its `beam` transcripts, best first."""
        self._require("asr")
        generator = self.task.build_generator(self.models, generation_options(beam, **generation), decode_task="asr")
        found: list[list[Transcript]] = [[] for _ in units]
        for sample in self._batches(units):
            results = self.task.inference_step(generator, self.models, sample)
            for i, nbest in zip(sample["id"].tolist(), results):
                found[i] = [self._transcript(h) for h in nbest]
        return found

    def score(self, units: Units, text: str) -> Score:
        """How likely the transcript `text` of these units is: the generator, forced to write it.

        Raises:
            ValueError: a symbol outside the vocabulary, which the model cannot write.
        """
        ids = self._encode(text, "write")
        self._require("asr")
        forced = torch.tensor([[*ids, self.vocab.eos]], device=self.device)
        options = generation_options(1, min_len=0, max_len_b=len(ids) + 1)
        generator = self.task.build_generator(self.models, options, decode_task="asr")
        (sample,) = self._batches([units])
        best = self.task.inference_step(generator, self.models, sample, prefix_tokens=forced)[0][0]
        if best["tokens"].tolist() != forced[0].tolist():
            raise InputError(
                None, f"{len(units)} units and {len(ids)} tokens of text exceed the model's positions", "shorten them"
            )
        log_probs = best["positional_scores"].tolist()
        return Score(sum(log_probs), [self.vocab.table[i] for i in forced[0].tolist()], log_probs)

    # -- audio to text --------------------------------------------------------------------
    @overload
    def transcribe(self, audio: PathLike, *, beam: int = 5, **generation: Any) -> str: ...
    @overload
    def transcribe(self, audio: Sequence[PathLike], *, beam: int = 5, **generation: Any) -> list[str]: ...

    def transcribe(
        self, audio: Union[PathLike, Sequence[PathLike]], *, beam: int = 5, **generation: Any
    ) -> Union[str, list[str]]:
        """Transcript of a recording, or a list of transcripts of a list of recordings.

        Raises:
            ValueError: the k-means is missing, or not the one the model was trained with.
            AudioError: a recording that cannot be read, or holds no frame.
        """
        single = isinstance(audio, (str, Path))
        files = [audio] if isinstance(audio, (str, Path)) else list(audio)
        texts = self.transcribe_units(self.units_of(files), beam=beam, **generation) if files else []
        return texts[0] if single else texts

    def units_of(self, files: Sequence[PathLike]) -> list[list[int]]:
        """Units of recordings, by the features and the k-means that the model was trained with.

        Recordings of one call count as one speaker, where features are normalised by speaker.
        """
        from sld_user_dir.hub import unit_extractor as hub_audio  # audio libraries, where they are needed

        if self._front_end is None:
            self._front_end = hub_audio.UnitExtractor.build(self._kmeans, self.provenance, self.device)
        return self._front_end(files)

    # -- units to units -------------------------------------------------------------------
    def continue_units(
        self, units: Units, *, samples: int = 1, max_units: int = 200, seed: Optional[int] = None, **sampling: Any
    ) -> list[list[int]]:
        """Raw units that could follow, `samples` draws of at most `max_units`; the prompt is not repeated.

        Args:
            seed: the same seed gives the same units.
            sampling: min_units, temperature, sampling_topk, sampling_topp, or sampling=False for beam search.

        Raises:
            ValueError: the model was trained without a loss on speech, or for a mixture of tasks without `slm`, so it
                has nothing to say.
        """
        self._require("slm")
        if not self.vocab.tasks and not predicts_units(self.cfg.criterion):
            raise InputError(
                None,
                "this model was trained with a loss on text only and does not predict units",
                "take one that was trained with --criterion sld or cross_entropy",
            )
        prompt = self._prompt(units)
        return self._speak("slm", prompt, seed, samples=samples, max_units=max_units, **sampling)

    def _speak(self, task: str, prompt: torch.Tensor, seed: Optional[int], **options: Any) -> list[list[int]]:
        """Raw units that follow a prompt (N,) of ids."""
        generator = self.task.build_generator(self.models, _speaking(**options), decode_task=task)
        found = self._draw(generator, prompt.unsqueeze(0), seed)
        return [self.vocab.decode_units(h["tokens"].tolist()) for h in found]

    def _draw(self, generator: Any, prompt: torch.Tensor, seed: Optional[int]) -> list[dict[str, Any]]:
        """Hypotheses of one prompt (1, N), by a random generator of their own if there is a seed."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices, enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            sample = {"net_input": {"src_tokens": prompt}}
            return self.task.inference_step(generator, self.models, sample)[0]

    def _prompt(self, units: Units) -> torch.Tensor:
        self._check_units(units)
        ids = self.vocab.encode_units(units)
        return torch.tensor(
            [*FORMATS["slm"].head(self.vocab, self.task.cfg.add_bos_token), *ids.tolist()], device=self.device
        )

    def _require(self, task: str) -> None:
        """Refuse what a mixture's model was not trained for."""
        if self.vocab.tasks and task not in self.task.mix:
            raise InputError(
                None,
                f"this model was trained for {', '.join(self.task.mix)}, not for {task}",
                f"train one with {task} in --task-mix",
            )

    # -- text to units and to text: models for a mixture of tasks ----------------------------
    def synthesise_units(
        self, text: str, *, samples: int = 1, max_units: int = 200, seed: Optional[int] = None, **sampling: Any
    ) -> list[list[int]]:
        """Raw units that speak a text (task `tts`), `samples` draws of at most `max_units`.

        Args:
            seed: as of `continue_units`.
            **sampling: as of `continue_units`.

        Raises:
            ValueError: the model is not for a mixture of tasks with `tts`, or a symbol outside the vocabulary.
        """
        prompt = self._text_prompt("tts", text)
        ids = torch.tensor([*prompt, self.vocab.separator], device=self.device)
        return self._speak("tts", ids, seed, samples=samples, max_units=max_units, **sampling)

    def continue_text(
        self, text: str = "", *, beam: int = 1, seed: Optional[int] = None, **generation: Any
    ) -> list[str]:
        """`beam` texts that could follow a text (task `lm`); fairseq's generation options, such as sampling=True.

        Raises:
            ValueError: the model is not for a mixture of tasks with `lm`, or a symbol outside the vocabulary.
        """
        prompt = torch.tensor([self._text_prompt("lm", text)], device=self.device)
        generator = self.task.build_generator(self.models, generation_options(beam, **generation), decode_task="lm")
        found = self._draw(generator, prompt, seed)
        return [self.vocab.decode_text(h["tokens"].tolist()) for h in found]

    def _text_prompt(self, task: str, text: str) -> list[int]:
        format_of(task, self.vocab)
        self._require(task)
        return [*FORMATS[task].head(self.vocab, self.task.cfg.add_bos_token), *self._encode(text, "read")]

    def _encode(self, text: str, use: str) -> list[int]:
        ids = self.vocab.encode_text(text)
        unknown = [s for s, i in zip(self.vocab.tokenizer.encode(text), ids) if i == self.vocab.unk]
        if unknown:
            raise InputError(
                None, f"{unknown[0]!r} is not in the vocabulary of {self.task.cfg.data}", f"the model cannot {use} it"
            )
        return ids

    # -- shared with fairseq-interactive ----------------------------------------------------
    def _batches(self, units: Sequence[Units]) -> Iterator[dict[str, Any]]:
        from sld_user_dir.models import checkpoints

        for one in units:
            self._check_units(one)
        tokens = [torch.from_numpy(self.vocab.encode_units(one)) for one in units]
        longest = max((len(t) + 3 for t in tokens), default=0)
        iterator = self.task.get_batch_iterator(
            dataset=self.task.build_dataset_for_inference(tokens, [len(t) for t in tokens], decode_task="asr"),
            max_tokens=max(BATCH_TOKENS, longest),
            max_positions=min(model.max_positions() for model in self.models),
            disable_iterator_cache=True,
        )
        for sample in iterator.next_epoch_itr(shuffle=False):
            yield checkpoints.on_device(sample, self.device)

    def _check_units(self, units: Units) -> None:
        if not len(units):
            raise InputError(None, "no units", "give at least one")
        array = np.asarray(units)
        if array.dtype.kind not in "iu" or array.ndim != 1:
            raise InputError(None, f"{str(units)[:40]!r} is no list of raw units", "give numbers such as [71, 12, 57]")
        if self.provenance and self.provenance.collapsed and bool((array[1:] == array[:-1]).any()):
            raise InputError(
                None, "units follow themselves, but the model was trained on de-duplicated ones", "collapse the runs"
            )

    def _transcript(self, found: dict[str, Any]) -> Transcript:
        text = self.vocab.decode_text(found["tokens"].tolist())
        log_prob = float(found["positional_scores"].sum())
        return Transcript(text, float(found["score"]), log_prob, bool(found["truncated"]))


def _as_batch(units: Any) -> tuple[list[Any], bool]:
    """A list of utterances, and whether one utterance was given."""
    rows = units.tolist() if hasattr(units, "tolist") else list(units)
    single = not rows or np.ndim(rows[0]) == 0
    return ([rows] if single else rows), single


def generation_options(beam: int, **options: Any) -> Any:
    """fairseq's generation options by name."""
    from sld_user_dir.models.generation import generation_config

    return generation_config(beam, **options)


def _speaking(
    *,
    samples: int = 1,
    max_units: int = 200,
    min_units: int = 0,
    temperature: float = 1.0,
    sampling: bool = True,
    sampling_topk: int = -1,
    sampling_topp: float = -1.0,
) -> Any:
    """Options of answers in speech: `samples` draws, or beams without `sampling`."""
    if samples < 1 or temperature <= 0 or not 0 <= min_units <= max_units:
        raise InputError(
            f"samples {samples}, temperature {temperature}, units {min_units} to {max_units}",
            "nothing to draw",
            "samples and temperature must be above 0, and the most units not below the least",
        )
    return generation_options(
        samples,
        max_len_a=0,
        max_len_b=max_units,
        min_len=min_units,
        temperature=temperature,
        sampling=sampling,
        sampling_topk=sampling_topk,
        sampling_topp=sampling_topp,
    )
