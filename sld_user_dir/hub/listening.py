"""A stream of audio to text while it still comes, by a model of the hub: segment after segment, chunk after chunk."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Iterator, Optional, Sequence

import numpy as np

from sld_user_dir.arrays import FloatArray
from sld_user_dir.hub.answers import Transcript
from sld_user_dir.hub.long_recordings import USUAL_MAX_LEN_B, most_samples, most_units, refuse_too_short
from sld_user_dir.hub.unit_extractor import TimedUnits
from sld_user_dir.manifests.audio_manifest import Recording
from sld_user_dir.models.generation import generation_config
from sld_user_dir.pipeline.stream import LoadedWave
from sld_user_dir.streaming.growing_prompt import remember_prompts
from sld_user_dir.streaming.heard_audio import HeardAudio, ListenOptions, SegmentEnd
from sld_user_dir.streaming.stream_recogniser import PartialText, StreamRecogniser
from sld_user_dir.streaming.whole_recording import what_needs_the_whole

logger = logging.getLogger(__name__)


class StreamDecoder:
    """Units so far to hypotheses, by the model's own generator; what was read of one utterance stays read."""

    def __init__(self, model: Any, beam: int = 5, **generation: Any):
        self._model = model
        self._generator = model.task.build_generator(
            model.models, generation_config(beam, **generation), decode_task="asr"
        )
        self.decoders = remember_prompts(self._generator)

    def __call__(self, units: Sequence[int], forced: Sequence[str]) -> list[Transcript]:
        """Hypotheses of an utterance that begin with these symbols, best first."""
        return self._model.decode_with(self._generator, units, forced)


@dataclass(frozen=True)
class HeardText:
    """What is known of a segment of a stream."""

    segment: int
    """number of the segment, from 0"""
    start_seconds: float
    """where it begins in the stream"""
    heard_seconds: float
    """of the stream so far"""
    partial: PartialText
    compute_seconds: float
    """that this result took"""

    @property
    def text(self) -> str:
        """The segment's text so far."""
        return self.partial.text

    def to_dict(self) -> dict[str, Any]:
        """As `sld listen --json` writes it."""
        return {
            "segment": self.segment,
            "start": round(self.start_seconds, 3),
            "heard": round(self.heard_seconds, 3),
            "settled": " ".join(self.partial.settled),
            "tentative": " ".join(self.partial.tentative),
            "final": self.partial.is_final,
            "taken_back": self.partial.taken_back,
            "compute": round(self.compute_seconds, 4),
        }


class StreamListener:
    """Blocks of samples to text so far; see `Model.listener`."""

    def __init__(self, model: Any, options: ListenOptions, beam: int = 5, **generation: Any):
        self._model, self._options, self._extractor = model, options, model.unit_extractor
        self._rate = self._extractor.sample_rate_hz
        most = most_units(model, int(generation.get("max_len_b", USUAL_MAX_LEN_B)))
        self._max_samples = most_samples(self._extractor, most)
        self.decode = StreamDecoder(model, beam, **generation)
        encoder = self._extractor.maker.provenance().encoder
        for why in what_needs_the_whole(encoder):
            logger.warning("%s: %s; until a segment ends, units are those of what was heard of it", encoder, why)

    @property
    def sample_rate_hz(self) -> int:
        """Of the samples that it takes."""
        return int(self._rate)

    def __call__(self, blocks: Iterable[FloatArray], name: str = "the stream") -> Iterator[HeardText]:
        """A result for each chunk, and a final one for each segment.

        Args:
            name: what an error calls the stream.

        Raises:
            AudioError: it ends too soon to hold speech, if it holds anything.
        """
        heard = HeardAudio(self._units_of, self._rate, self._max_samples, self._options)
        segment, recogniser = 0, self._recogniser()
        size = max(1, int(self._options.chunk_seconds * self._rate))
        for block in chunks_of(blocks, size):
            heard.add(block)
            if len(block) < size:  # the last one
                refuse_too_short(name, heard.heard, self._extractor)
            ended = heard.segment_end()
            while ended is not None:
                if ended.end:
                    yield self._finish(segment, heard, ended, recogniser)
                    segment, recogniser = segment + 1, self._recogniser()
                heard.begin_next(ended.next_start)
                ended = heard.segment_end() if ended.next_start else None
            start = time.perf_counter()
            partial = recogniser.update(heard.units_so_far())
            yield self._told(segment, heard, partial, start)
        refuse_too_short(name, heard.heard, self._extractor)
        ended = heard.rest()
        if ended.end:
            yield self._finish(segment, heard, ended, recogniser)

    def _finish(self, segment: int, heard: HeardAudio, ended: SegmentEnd, recogniser: StreamRecogniser) -> HeardText:
        start = time.perf_counter()
        return self._told(segment, heard, recogniser.finish(heard.whole_units(ended.end)), start)

    def _told(self, segment: int, heard: HeardAudio, partial: PartialText, started: float) -> HeardText:
        took = time.perf_counter() - started
        return HeardText(segment, heard.start / self._rate, heard.heard / self._rate, partial, took)

    def _recogniser(self) -> StreamRecogniser:
        options = self._options
        return StreamRecogniser(self.decode, self._model.vocab.tokenizer, options.agreement, options.keep_settled)

    def _units_of(self, wave: FloatArray) -> TimedUnits:
        if not self._extractor.n_frames(len(wave)):
            return TimedUnits([], np.zeros(1))
        recording = Recording("stream", Path("stream").absolute(), speaker="stream")
        (found,) = self._extractor.timed_of_waves([LoadedWave(recording, wave)])
        return found


def chunks_of(blocks: Iterable[FloatArray], size: int) -> Iterator[FloatArray]:
    """Samples in blocks of any size as blocks of one size; the last one is shorter."""
    waiting: Optional[FloatArray] = None
    for block in blocks:
        waiting = block if waiting is None else np.concatenate([waiting, block])
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if waiting is not None and len(waiting):
        yield waiting
