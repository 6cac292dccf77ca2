"""Recordings of any length to text: loaded, cut into segments, encoded and decoded several segments at a time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Iterator, NamedTuple, Optional, Protocol, Sequence, Union

from sld_user_dir.arrays import FloatArray
from sld_user_dir.confidence.confidence_map import ConfidenceMap
from sld_user_dir.errors import InputError
from sld_user_dir.features.signal_faults import FaultCounts
from sld_user_dir.features.waveform import AudioError, load_audio, reject_reason
from sld_user_dir.hub.answers import FailedRecording, RecordingTranscript, SegmentTranscript, Transcript
from sld_user_dir.hub.confidences import TranscriptConfidence, has_confidence
from sld_user_dir.hub.unit_extractor import TimedUnits, UnitExtractor
from sld_user_dir.longform.cutting import CutOptions, Stretch, cut_recording
from sld_user_dir.manifests.audio_manifest import Recording
from sld_user_dir.manifests.ctm import TimedWord
from sld_user_dir.pipeline.stream import LoadedWave, StreamConfig
from sld_user_dir.sequences.sequence_format import format_of

USUAL_MAX_LEN_B = 200  # fairseq's limit of text tokens
RUNS_AT_MOST = 4
"""Units that de-duplication leaves of a recording: it is tried whole where there may be this many times too many."""


class UnitDecoder(Protocol):
    """What is used of a model of the hub."""

    models: list[Any]
    vocab: Any
    task: Any
    confidence_map: Optional[ConfidenceMap]

    @property
    def unit_extractor(self) -> Any:
        """Makes units of waveforms."""

    def hypotheses(self, units: Sequence[Sequence[int]], *, beam: int, **generation: Any) -> list[list[Transcript]]:
        """Of each utterance its transcripts, best first."""

    def confidence(self, nbest: Sequence[Transcript]) -> Optional[TranscriptConfidence]:
        """How sure the best transcript of an utterance is; None where that is not known."""

    def timed_words(
        self, units: Sequence[Sequence[int]], tokens: Sequence[Sequence[str]], edges: Sequence[Any]
    ) -> list[list[TimedWord]]:
        """When each word of each transcript was said."""


@dataclass(frozen=True)
class _Prepared:
    """A recording that waits for its batch."""

    path: Path
    seconds: float
    stretches: list[Stretch]
    waves: list[LoadedWave] = field(default_factory=list)
    units: Optional[list[TimedUnits]] = None
    """where they had to be made to see that the recording fits"""


class _Heard(NamedTuple):
    """The best transcript of a segment, its words with times from the segment's start, and how sure it is."""

    best: Transcript
    words: Optional[list[TimedWord]]
    sure: Optional[TranscriptConfidence]


class LongFormTranscriber:
    """Files to transcripts by a model; a recording that cannot be used does not stop the others.

    Args:
        options: how recordings are cut. One that the model holds is left whole, if no shorter maximum is given.
        batch_seconds: audio that is encoded and decoded together; a recording is never divided between batches.
        beam: size of the beam.
        word_times: also tell when each word was said.
        generation: fairseq's other generation options, such as max_len_b.

    Raises:
        InputError: no k-means or tokenizer, or not the model's; the model holds too little.
    """

    def __init__(
        self,
        model: UnitDecoder,
        options: CutOptions,
        batch_seconds: float = 120.0,
        beam: int = 5,
        word_times: bool = False,
        **generation: Any,
    ) -> None:
        self._word_times = word_times
        self._knows_confidence = has_confidence(model.confidence_map, beam)
        self._model, self._options, self._batch_seconds = model, options, batch_seconds
        self._generation = {"beam": beam, **generation}
        self._extractor: UnitExtractor = model.unit_extractor
        self._rate = self._extractor.sample_rate_hz
        self._faults = FaultCounts()
        self._max_units = most_units(model, int(generation.get("max_len_b", USUAL_MAX_LEN_B)))
        self._max_samples = most_samples(self._extractor, self._max_units)
        if options.max_segment_seconds is not None:
            self._max_samples = int(min(self._max_samples, options.max_segment_seconds * self._rate))

    def __call__(self, paths: Sequence[Path]) -> Iterator[Union[RecordingTranscript, FailedRecording]]:
        """What became of each recording, in their order."""
        waiting: list[Union[_Prepared, FailedRecording]] = []
        held = 0.0
        self._faults = FaultCounts()
        try:
            for i, path in enumerate(paths):
                try:
                    one: Union[_Prepared, FailedRecording] = self._prepare(path, str(i))
                except AudioError as error:
                    one = FailedRecording(path, error)
                waiting.append(one)
                held += 0.0 if isinstance(one, FailedRecording) else one.seconds
                if held >= self._batch_seconds:
                    yield from self._finish(waiting)
                    waiting, held = [], 0.0
            yield from self._finish(waiting)
        finally:  # whoever asked for no more than there are recordings does not come back
            self._faults.warn()

    def _prepare(self, path: Path, speaker: str) -> _Prepared:
        """Load and cut a recording, each of which counts as one speaker.

        Raises:
            AudioError: it cannot be read, or is too short.
        """
        wave = load_audio(path, self._rate, faults=self._faults)
        seconds = len(wave) / self._rate
        refuse_too_short(path, len(wave), self._extractor)
        whole = [Stretch(0, len(wave))]
        if len(wave) <= self._max_samples:
            return _Prepared(path, seconds, whole, self._waves(path, speaker, wave, whole))
        units = self._units_if_it_fits(path, speaker, wave)
        if units is not None:
            return _Prepared(path, seconds, whole, units=units)
        found = cut_recording(wave, self._rate, self._max_samples, self._options)
        stretches = [one for one in found if self._extractor.n_frames(one.end - one.start)]
        return _Prepared(path, seconds, stretches, self._waves(path, speaker, wave, stretches))

    def _units_if_it_fits(self, path: Path, speaker: str, wave: FloatArray) -> Optional[list[TimedUnits]]:
        """Units of a whole recording that the model holds because runs are collapsed."""
        if not self._extractor.deduplicated or self._options.max_segment_seconds is not None:
            return None
        if self._extractor.n_frames(len(wave)) > RUNS_AT_MOST * self._max_units:
            return None
        units = self._extractor.timed_of_waves(self._waves(path, speaker, wave, [Stretch(0, len(wave))]))
        return units if len(units[0].units) <= self._max_units else None

    def _waves(self, path: Path, speaker: str, wave: FloatArray, stretches: list[Stretch]) -> list[LoadedWave]:
        return [
            LoadedWave(Recording(f"{speaker}-{i}", path.absolute(), speaker=speaker), wave[one.start : one.end])
            for i, one in enumerate(stretches)
        ]

    def _finish(
        self, batch: list[Union[_Prepared, FailedRecording]]
    ) -> Iterator[Union[RecordingTranscript, FailedRecording]]:
        """Encode and decode all segments of a batch."""
        prepared = [one for one in batch if isinstance(one, _Prepared)]
        made = iter(self._extractor.timed_of_waves([wave for one in prepared for wave in one.waves]))
        timed = [of_one for one in prepared for of_one in (one.units or [next(made) for _ in one.waves])]
        found = iter(self._transcribe(timed) if timed else [])
        for one in batch:
            if isinstance(one, FailedRecording):
                yield one
            else:
                segments = [self._segment(stretch, next(found)) for stretch in one.stretches]
                yield RecordingTranscript(one.path, one.seconds, segments)

    def _transcribe(self, timed: list[TimedUnits]) -> list[_Heard]:
        """What was heard in each segment."""
        units = [one.units for one in timed]
        found = self._model.hypotheses(units, **self._generation)
        confidences = [self._model.confidence(nbest) if self._knows_confidence else None for nbest in found]
        words: Sequence[Optional[list[TimedWord]]] = [None] * len(found)
        if self._word_times:
            tokens = [nbest[0].tokens for nbest in found]
            words = self._model.timed_words(units, tokens, [one.edges for one in timed])
        return [_Heard(nbest[0], of_words, sure) for nbest, of_words, sure in zip(found, words, confidences)]

    def _segment(self, stretch: Stretch, heard: _Heard) -> SegmentTranscript:
        start, end = stretch.start / self._rate, stretch.end / self._rate
        best, words, sure = heard
        if words is not None:
            words = [one.shifted(start).ended_by(end) for one in words]
            if sure is not None:
                words = [replace(one, confidence=p) for one, p in zip(words, sure.words)]
        whole = None if sure is None else sure.whole
        return SegmentTranscript(start, end, best.text, best.score, best.log_prob, best.truncated, words, whole)


def refuse_too_short(where: Union[str, Path], n_samples: int, extractor: UnitExtractor) -> None:
    """Refuse audio that is shorter than what `sld units` takes.

    Args:
        where: file, or what else the audio comes from.
        n_samples: at the extractor's rate.

    Raises:
        AudioError: it is.
    """
    reason = reject_reason(n_samples / extractor.sample_rate_hz, StreamConfig().min_seconds, None)
    if reason is None and extractor.n_frames(n_samples) == 0:
        reason = "too short: not one frame"
    if reason is not None:
        raise AudioError(where, reason)


def most_units(model: UnitDecoder, text_tokens: int) -> int:
    """Units that a model holds beside the separator and a text of so many tokens, or half its positions of text.

    Raises:
        InputError: none.
    """
    positions = int(min(one.max_positions() for one in model.models))
    head = len(format_of("asr", model.vocab).head(model.vocab, model.task.cfg.add_bos_token))
    units = positions - head - 1 - min(text_tokens + 1, positions // 2)
    if units < 1:
        problem = f"the model has {positions} positions, too few for units and text"
        raise InputError(None, problem, "train one with a higher --tokens-per-sample")
    return units


def most_samples(extractor: UnitExtractor, units: int) -> int:
    """Samples of the longest waveform that gives no more than so many units before de-duplication."""
    fits, too_many = 0, 1
    while extractor.n_frames(too_many) <= units:
        fits, too_many = too_many, 2 * too_many
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if extractor.n_frames(middle) <= units:
            fits = middle
        else:
            too_many = middle
    return fits
