"""Audio to units for `hub`: what made the units of the training, on files or waveforms instead of a manifest."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional, Sequence, Union

import numpy as np

from sld_user_dir.arrays import UnitArray
from sld_user_dir.clustering.unit_sequences import deduplicate
from sld_user_dir.errors import InputError
from sld_user_dir.features.waveform import AudioError
from sld_user_dir.files import iter_lines
from sld_user_dir.manifests.audio_manifest import Recording
from sld_user_dir.manifests.header import read_header
from sld_user_dir.manifests.provenance import OWN_CODES, UnitProvenance
from sld_user_dir.manifests.rejected import Rejected
from sld_user_dir.manifests.unit_manifest import ManifestError
from sld_user_dir.pipeline.stream import LoadedWave, StreamConfig
from sld_user_dir.pipeline.unit_makers import KMeansUnits, TokenizerUnits, UnitMaker
from sld_user_dir.speech_tokenizers.tokenizer_lookup import is_of_a_kind
from sld_user_dir.timing.unit_times import Seconds, edges_of

logger = logging.getLogger(__name__)
KMEANS_FILE = "kmeans.npz"
NAME_TOKENIZER = "name it by hub.load(…, tokenizer=…), or --tokenizer"


@dataclass(frozen=True)
class UnitSource:
    """Where a model's units come from: what the user named, and the data directory."""

    data: Path
    kmeans: Optional[Path] = None
    """by default `kmeans.npz` in the data directory"""
    tokenizer: Optional[str] = None
    """by default what a manifest there tells, if it is of a kind of this package"""
    features: Optional[str] = None
    """where the encoder lies now, if not where it lay when the k-means was trained"""

    def open(self, trained_on: Optional[UnitProvenance], device: str) -> UnitExtractor:
        """The maker of units, if the model was trained on them.

        Raises:
            InputError: no k-means file or tokenizer, or units of another one than the model was trained on.
        """
        if trained_on is not None and trained_on.subword is not None:
            raise InputError(
                None, "the model reads subwords of units", "encode them yourself and call transcribe_units"
            )
        by_tokenizer = self.tokenizer is not None or (trained_on is not None and trained_on.kmeans == OWN_CODES)
        where: Union[str, Path]
        maker: UnitMaker
        if by_tokenizer and self.features is not None:
            problem = "an encoder is named, but the model was trained on a tokenizer's codes, which has none beside it"
            raise InputError(f"--features {self.features}", problem, "leave it out, or name the tokenizer anew")
        if by_tokenizer:
            where, remedy = self.tokenizer or self._stated_tokenizer(trained_on), NAME_TOKENIZER
            maker = TokenizerUnits.named(where, device)
        else:
            where, remedy = self.kmeans or self.data / KMEANS_FILE, "name its k-means file by hub.load(…, kmeans=…)"
            if not where.is_file():
                named = "name it by hub.load(…, kmeans=…), or --kmeans"
                raise InputError(where, "no k-means file, which units of audio need", named)
            maker = KMeansUnits.of_file(where, self.features, device)
        collapsed = trained_on is not None and trained_on.deduplicated
        made = maker.provenance(collapsed)
        if trained_on is not None and made.fingerprint != trained_on.fingerprint:
            raise InputError(
                where, f"it makes units {made.describe()}, but the model was trained on {trained_on.describe()}", remedy
            )
        return UnitExtractor(maker, collapsed)

    def _stated_tokenizer(self, trained_on: Optional[UnitProvenance]) -> str:
        """What a manifest of the data directory says; code of the user's own is run only where the user names it."""
        wanted = "the tokenizer" if trained_on is None else f"the tokenizer {trained_on.encoder}"
        stated = _tokenizer_in_headers(self.data)
        if stated is None:
            problem = f"no manifest there tells where {wanted} lies, whose codes the model was trained on"
            raise InputError(self.data, problem, NAME_TOKENIZER)
        if not is_of_a_kind(stated):
            problem = f"the model was trained on codes of {wanted}, which its manifests call {stated}"
            remedy = "code of your own is run only if you name it: by hub.load(…, tokenizer=…), or --tokenizer"
            raise InputError(self.data, problem, remedy)
        return stated


def _tokenizer_in_headers(data: Path) -> Optional[str]:
    """The entry `tokenizer` in the header of the first manifest of a folder that has one."""
    for path in sorted(data.glob("*.tsv")):
        try:
            stated = read_header(path, iter_lines(path, ManifestError), ManifestError)[0].get("tokenizer")
        except ManifestError:  # some other table
            continue
        if isinstance(stated, str):
            return stated
    return None


class TimedUnits(NamedTuple):
    """Units of a waveform, and when they begin and end."""

    units: list[int]
    edges: Seconds
    """(N + 1,)"""


@dataclass(frozen=True)
class UnitExtractor:
    """Recordings to raw units."""

    maker: UnitMaker
    deduplicated: bool

    @property
    def sample_rate_hz(self) -> int:
        """Of the waveforms that `of_waves` takes."""
        return int(self.maker.encoder.sample_rate_hz)

    def n_frames(self, n_samples: int) -> int:
        """Units of a waveform of that many samples, before de-duplication."""
        return self.maker.encoder.n_frames(n_samples)

    def __call__(self, files: Sequence[Union[str, Path]]) -> list[list[int]]:
        """Units of each audio file, all of one speaker.

        Raises:
            AudioError: a file that cannot be used.
        """
        recordings = [Recording(str(i), Path(file).absolute(), speaker="speaker") for i, file in enumerate(files)]
        rejected: list[Rejected] = []
        units = [one.units for one in self.maker.stream(recordings, StreamConfig(), rejected, recordings)]
        for one in rejected:
            raise AudioError(one.path, one.reason)
        return [self._finish(one).units for one in units]

    def of_waves(self, waves: Sequence[LoadedWave]) -> list[list[int]]:
        """Units of each waveform; those whose recordings name one speaker are of one speaker."""
        return [one.units for one in self.timed_of_waves(waves)]

    def timed_of_waves(self, waves: Sequence[LoadedWave]) -> list[TimedUnits]:
        """What `of_waves` gives, with times in seconds from the start of each waveform."""
        return [self._finish(one) for one in self.maker.of_waves(waves, StreamConfig())]

    def _finish(self, units: UnitArray) -> TimedUnits:
        units, durations = deduplicate(units) if self.deduplicated else (units, np.ones(len(units), dtype=np.int64))
        return TimedUnits(units.tolist(), edges_of(durations, self.maker.provenance().frame_rate_hz))
