"""What a model makes of a recording, for a page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Sequence

from sld_user_dir.features.signal_faults import FaultCounts
from sld_user_dir.features.waveform import load_audio
from sld_user_dir.hub.confidences import has_confidence
from sld_user_dir.hub.long_recordings import most_units, refuse_too_short
from sld_user_dir.hub.prompts import refuse_too_long
from sld_user_dir.losses.stored_options import predicts_units
from sld_user_dir.manifests.audio_manifest import Recording
from sld_user_dir.models.fairseq_decoder import FairseqDecoder
from sld_user_dir.pipeline.stream import LoadedWave
from sld_user_dir.view.recording_view import RankedText, RecordingView
from sld_user_dir.view.unit_surprise import unit_surprise


def view_recordings(model: Any, paths: Sequence[Path], beam: int = 5, max_len_b: int = 200) -> list[RecordingView]:
    """Recordings that the model holds whole; each counts as one speaker.

    Raises:
        InputError: as of `Model.transcribe`, or no k-means or tokenizer.
        AudioError: a recording that cannot be read, or is too short.
    """
    faults = FaultCounts()
    views = [_view(model, path, beam, max_len_b, faults) for path in paths]
    faults.warn()
    return views


def _view(model: Any, path: Path, beam: int, max_len_b: int, faults: FaultCounts) -> RecordingView:
    extractor = model.unit_extractor
    wave = load_audio(path, extractor.sample_rate_hz, faults=faults)
    refuse_too_short(path, len(wave), extractor)
    recording = Recording("0", path.absolute(), speaker="speaker")
    (timed,) = extractor.timed_of_waves([LoadedWave(recording, wave)])
    refuse_too_long([timed.units], [path], most_units(model, text_tokens=1))
    (nbest,) = model.hypotheses([timed.units], beam=beam, max_len_b=max_len_b)
    (words,) = model.timed_words([timed.units], [nbest[0].tokens], [timed.edges])
    sure = model.confidence(nbest) if has_confidence(model.confidence_map, beam) else None
    if sure is not None:
        words = [replace(one, confidence=p) for one, p in zip(words, sure.words)]
    (prompt,) = model.prompts_of([timed.units])
    decoders = [FairseqDecoder(one) for one in model.models]
    return RecordingView(
        path.name,
        wave,
        extractor.sample_rate_hz,
        timed.units,
        timed.edges,
        model.vocab.num_units,
        unit_surprise(decoders, model.vocab, prompt),
        bool(model.vocab.tasks) or predicts_units(model.cfg.criterion),
        words,
        [RankedText(one.text, one.score, one.log_prob) for one in nbest],
        None if sure is None else sure.whole,
    )
