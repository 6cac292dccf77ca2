"""One trained model, or an ensemble: transcribe, score, continue.

The same task, dataset, generator and `inference_step` as `fairseq-interactive`, and so the same output.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable, Iterator, Optional, Sequence, Union, overload

import torch

from sld_user_dir.confidence.confidence_map import ConfidenceMap
from sld_user_dir.errors import InputError
from sld_user_dir.hub.answers import FailedRecording, RecordingTranscript, Score, Transcript
from sld_user_dir.hub.confidences import TranscriptConfidence, confidence_of
from sld_user_dir.hub.prompts import (
    Units,
    as_batch,
    check_units,
    encode_text,
    refuse_too_long,
    speech_beginning,
    text_beginning,
)
from sld_user_dir.hub.search_options import speech_options
from sld_user_dir.losses.stored_options import predicts_units
from sld_user_dir.manifests.ctm import TimedWord
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.models import checkpoints
from sld_user_dir.models.fairseq_decoder import FairseqDecoder
from sld_user_dir.models.generation import generation_config
from sld_user_dir.sequences.sequence_format import format_of
from sld_user_dir.streaming.heard_audio import ListenOptions
from sld_user_dir.streaming.stream_recogniser import PartialText, StreamRecogniser
from sld_user_dir.timing.word_aligner import WordAligner

PathLike = Union[str, Path]
BATCH_TOKENS = 16_000


class Model:
    """One model or an ensemble, in evaluation mode; made by `load`.

    Attributes:
        models, cfg, task: fairseq's.
        vocab: the joint vocabulary.
        provenance: what made the units that it was trained on; None in checkpoints that do not tell.
        confidence_map: from hypotheses to probabilities of being right; None where none was fitted.
    """

    def __init__(
        self,
        models: list[Any],
        cfg: Any,
        task: Any,
        device: torch.device,
        kmeans: Optional[Path] = None,
        tokenizer: Optional[str] = None,
        confidence_map: Optional[ConfidenceMap] = None,
        features: Optional[str] = None,
    ):
        self.cfg, self.task, self.device = cfg, task, device
        self.models = [model.to(device).eval() for model in models]
        self.vocab = task.vocab
        self.provenance: Optional[UnitProvenance] = task.checkpoint_provenance
        self.confidence_map = confidence_map
        self._kmeans, self._tokenizer, self._features = kmeans, tokenizer, features
        self._unit_extractor: Any = None  # built when the first recording comes

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
            InputError: an empty prompt, a unit outside the vocabulary, repeats where the model knows none.
        """
        batch, single = as_batch(units)
        texts = [found[0].text for found in self.hypotheses(batch, beam=beam, **generation)]
        return texts[0] if single else texts

    def hypotheses(self, units: Sequence[Units], *, beam: int = 5, **generation: Any) -> list[list[Transcript]]:
        """Of each utterance its `beam` transcripts, best first."""
        self._require("asr")
        generator = self.task.build_generator(self.models, generation_config(beam, **generation), decode_task="asr")
        found: list[list[Transcript]] = [[] for _ in units]
        for sample in self._batches(units):
            results = self.task.inference_step(generator, self.models, sample)
            for i, nbest in zip(sample["id"].tolist(), results):
                found[i] = [self._transcript(h) for h in nbest]
        return found

    def decode_with(self, generator: Any, units: Units, forced: Sequence[str] = ()) -> list[Transcript]:
        """Transcripts of one utterance by a generator that the task has built, best first.

        Args:
            forced: symbols that they begin with.
        """
        ids = [[self.vocab.table.id_of(one) for one in forced]]
        prefix = torch.tensor(ids, device=self.device) if forced else None
        (sample,) = self._batches([units])
        found = self.task.inference_step(generator, self.models, sample, prefix_tokens=prefix)
        return [self._transcript(one) for one in found[0]]

    def confidence(self, nbest: Sequence[Transcript]) -> Optional[TranscriptConfidence]:
        """How sure the best transcript of an utterance is, and each of its words; None without a confidence map.

        Args:
            nbest: of `hypotheses`, with a beam as wide as the map was fitted on.
        """
        if self.confidence_map is None:
            return None
        return confidence_of(self.confidence_map, nbest, self.vocab.tokenizer)

    def timed_words(
        self, units: Sequence[Units], tokens: Sequence[Sequence[str]], edges: Sequence[Any]
    ) -> list[list[TimedWord]]:
        """When each word of each transcript was said, by the model's CTC, or by when it can first be told.

        Args:
            units: raw units (N,) of each utterance.
            tokens: of the transcripts, such as `Transcript.tokens`; symbols that are no text are passed over.
            edges: (N + 1,) seconds at which the units of each utterance begin and end.
        """
        self._require("asr")
        aligner = WordAligner([FairseqDecoder(model) for model in self.models], self.vocab, self.task.has_ctc)
        found: list[list[TimedWord]] = [[] for _ in units]
        for sample in self._batches(units):
            rows = sample["id"].tolist()
            answers = [[self.vocab.table.id_of(one) for one in tokens[i]] for i in rows]
            prompts, lengths = sample["net_input"]["src_tokens"], sample["prompt_lengths"]
            timed = aligner(prompts, lengths, answers, [edges[i] for i in rows])
            for i, words in zip(rows, timed):
                found[i] = words
        return found

    def prompts_of(self, units: Sequence[Units]) -> list[torch.Tensor]:
        """Ids (P,) of the prompt of each utterance of raw units, the separator included."""
        found: list[torch.Tensor] = [torch.empty(0)] * len(units)
        for sample in self._batches(units):
            rows, lengths = sample["net_input"]["src_tokens"], sample["prompt_lengths"].tolist()
            for i, row, length in zip(sample["id"].tolist(), rows, lengths):
                found[i] = row[:length]
        return found

    def score(self, units: Units, text: str) -> Score:
        """How likely the transcript `text` of these units is: the decoder, forced to write it; no CTC.

        Raises:
            InputError: a symbol outside the vocabulary, which the model cannot write.
        """
        ids = encode_text(text, self.task, "write")
        self._require("asr")
        forced = torch.tensor([[*ids, self.vocab.eos]], device=self.device)
        options = generation_config(1, min_len=0, max_len_b=len(ids) + 1)
        generator = self.task.build_generator(self.models, options, decode_task="asr", ctc_weight=0.0)
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
            InputError: the k-means or tokenizer is missing, or not the one the model was trained with.
            AudioError: a recording that cannot be read, or holds no frame.
        """
        single = isinstance(audio, (str, Path))
        files = [audio] if isinstance(audio, (str, Path)) else list(audio)
        if not files:
            return []
        from sld_user_dir.hub.long_recordings import most_units  # audio libraries, where they are needed

        units = self.units_of(files)
        refuse_too_long(units, files, most_units(self, text_tokens=1))
        texts = self.transcribe_units(units, beam=beam, **generation)
        return texts[0] if single else texts

    @overload
    def transcribe_long(self, audio: PathLike, **options: Any) -> RecordingTranscript: ...
    @overload
    def transcribe_long(self, audio: Sequence[PathLike], **options: Any) -> list[RecordingTranscript]: ...

    def transcribe_long(
        self,
        audio: Union[PathLike, Sequence[PathLike]],
        *,
        beam: int = 5,
        pauses: str = "energy",
        min_pause_seconds: float = 0.5,
        margin_seconds: float = 0.1,
        max_segment_seconds: Optional[float] = None,
        word_times: bool = False,
        **generation: Any,
    ) -> Union[RecordingTranscript, list[RecordingTranscript]]:
        """Transcript of a recording of any length with its segments, or a list of such.

        What the model does not hold is cut at pauses, and at the quietest points where there are none: what
        `sld transcribe` does, with the options of `sld_user_dir.longform.cutting.CutOptions`. Each recording counts as
        one speaker.

        Args:
            word_times: tell of each segment when its words were said.

        Raises:
            InputError: as of `transcribe`, or an option out of range.
            AudioError: a recording that cannot be read, or is too short.
        """
        from sld_user_dir.hub.long_recordings import LongFormTranscriber
        from sld_user_dir.longform.cutting import CutOptions

        single = isinstance(audio, (str, Path))
        files = [Path(audio)] if isinstance(audio, (str, Path)) else [Path(one) for one in audio]
        options = CutOptions(pauses, min_pause_seconds, margin_seconds, max_segment_seconds)
        found = []
        for one in LongFormTranscriber(self, options, beam=beam, word_times=word_times, **generation)(files):
            if isinstance(one, FailedRecording):
                raise one.error
            found.append(one)
        return found[0] if single else found

    def listener(self, options: Optional[ListenOptions] = None, *, beam: int = 5, **generation: Any) -> Any:
        """Text while the speech still comes: called with blocks of samples, it tells what it has heard so far.

            for heard in model.listener()(blocks):
                print(heard.partial.settled, heard.partial.tentative)

        Args:
            options: sizes of chunks, what settles a word, what ends a segment.

        Returns:
            a `sld_user_dir.hub.listening.StreamListener`; samples are mono, of its `sample_rate_hz`.

        Raises:
            InputError: as of `transcribe`.
        """
        from sld_user_dir.hub.listening import StreamListener  # audio libraries, where they are needed

        self._require("asr")
        return StreamListener(self, ListenOptions() if options is None else options, beam, **generation)

    def listen_to_units(
        self,
        chunks: Iterable[Units],
        *,
        agreement: int = 2,
        keep_settled: bool = False,
        beam: int = 5,
        **generation: Any,
    ) -> Iterator[PartialText]:
        """Text of an utterance whose raw units come in chunks: what is known after each, and the final text.

        Args:
            agreement: hypotheses in a row that must agree on a word for it to settle.
            keep_settled: the final text takes no settled word back; else it is that of `transcribe_units`.
        """
        from sld_user_dir.hub.listening import StreamDecoder

        self._require("asr")
        decode = StreamDecoder(self, beam, **generation)
        recogniser = StreamRecogniser(decode, self.vocab.tokenizer, agreement, keep_settled)
        heard: list[int] = []
        for chunk in chunks:
            heard.extend(chunk)
            yield recogniser.update(heard)
        yield recogniser.finish(heard)

    def units_of(self, files: Sequence[PathLike]) -> list[list[int]]:
        """Units of recordings, by the features and the k-means, or the tokenizer, that the model was trained with.

        Recordings of one call count as one speaker, where features are normalised by speaker.
        """
        return self.unit_extractor(files)

    @property
    def unit_extractor(self) -> Any:
        """What makes units of recordings; built when it is first asked for."""
        from sld_user_dir.hub.unit_extractor import UnitSource  # audio libraries, where they are needed

        if self._unit_extractor is None:
            data = Path(str(self.task.cfg.data).split(":")[0])
            source = UnitSource(data, self._kmeans, self._tokenizer, self._features)
            self._unit_extractor = source.open(self.provenance, str(self.device))
        return self._unit_extractor

    # -- units to units -------------------------------------------------------------------
    def continue_units(
        self, units: Units, *, samples: int = 1, max_units: int = 200, seed: Optional[int] = None, **sampling: Any
    ) -> list[list[int]]:
        """Raw units that could follow, `samples` draws of at most `max_units`; the prompt is not repeated.

        Args:
            seed: the same seed gives the same units.
            sampling: min_units, temperature, sampling_topk, sampling_topp, or sampling=False for beam search.

        Raises:
            InputError: the model was trained without a loss on speech, or for a mixture of tasks without `slm`, so it
                has nothing to say.
        """
        self._require("slm")
        if not self.vocab.tasks and not predicts_units(self.cfg.criterion):
            raise InputError(
                None,
                "this model was trained with a loss on text only and does not predict units",
                "take one that was trained with --criterion sld or cross_entropy",
            )
        self._check_units(units)
        prompt = speech_beginning(units, self.task)
        return self._speak("slm", prompt, seed, samples=samples, max_units=max_units, **sampling)

    def _speak(self, task: str, prompt: list[int], seed: Optional[int], **options: Any) -> list[list[int]]:
        """Raw units that follow the ids of a prompt."""
        generator = self.task.build_generator(self.models, speech_options(**options), decode_task=task)
        found = self._draw(generator, prompt, seed)
        return [self.vocab.decode_units(h["tokens"].tolist()) for h in found]

    def _draw(self, generator: Any, prompt: list[int], seed: Optional[int]) -> list[dict[str, Any]]:
        """Hypotheses of one prompt of ids, by a random generator of their own if there is a seed."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices, enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            sample = {"net_input": {"src_tokens": torch.tensor([prompt], device=self.device)}}
            return self.task.inference_step(generator, self.models, sample)[0]

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
            InputError: the model is not for a mixture of tasks with `tts`, or a symbol outside the vocabulary.
        """
        prompt = self._text_prompt("tts", text)
        return self._speak("tts", prompt, seed, samples=samples, max_units=max_units, **sampling)

    def continue_text(
        self, text: str = "", *, beam: int = 1, seed: Optional[int] = None, **generation: Any
    ) -> list[str]:
        """`beam` texts that could follow a text (task `lm`); fairseq's generation options, such as sampling=True.

        Raises:
            InputError: the model is not for a mixture of tasks with `lm`, or a symbol outside the vocabulary.
        """
        prompt = self._text_prompt("lm", text)
        generator = self.task.build_generator(self.models, generation_config(beam, **generation), decode_task="lm")
        found = self._draw(generator, prompt, seed)
        return [self.vocab.decode_text(h["tokens"].tolist()) for h in found]

    def _text_prompt(self, task: str, text: str) -> list[int]:
        format_of(task, self.vocab)
        self._require(task)
        return text_beginning(task, text, self.task)

    # -- shared with fairseq-interactive ----------------------------------------------------
    def _batches(self, units: Sequence[Units]) -> Iterator[dict[str, Any]]:
        tokens = [self._encoded(one, f"utterance {i}" if len(units) > 1 else None) for i, one in enumerate(units)]
        longest = max((len(t) + 3 for t in tokens), default=0)
        names = [f"utterance {number}" for number in range(len(tokens))]
        dataset = self.task.build_dataset_for_inference(tokens, [len(t) for t in tokens], "asr", names)
        dataset.keeps_all = True
        iterator = self.task.get_batch_iterator(
            dataset=dataset,
            max_tokens=max(BATCH_TOKENS, longest),
            max_positions=min(model.max_positions() for model in self.models),
            disable_iterator_cache=True,
        )
        for sample in iterator.next_epoch_itr(shuffle=False):
            yield checkpoints.on_device(sample, self.device)

    def _encoded(self, units: Units, name: Optional[str]) -> torch.Tensor:
        """Ids (N,) of raw units, which an error calls by this name."""
        try:
            self._check_units(units)
            return torch.from_numpy(self.vocab.encode_units(units))
        except InputError as error:
            raise InputError(name, error.problem, error.remedy) from None

    def _check_units(self, units: Units) -> None:
        check_units(units, deduplicated=self.provenance is not None and self.provenance.collapsed)

    def _transcript(self, found: dict[str, Any]) -> Transcript:
        text = self.vocab.decode_text(found["tokens"].tolist())
        log_prob = float(found["positional_scores"].sum())
        tokens = [self.vocab.table[i] for i in found["tokens"].tolist()]
        of_tokens = found["positional_scores"].tolist()
        return Transcript(text, float(found["score"]), log_prob, bool(found["truncated"]), tokens, of_tokens)
