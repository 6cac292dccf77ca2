"""Audio to units for `hub`: the pipeline's stream, on files instead of a manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence, Union

import torch

from sld_user_dir.arrays import FloatArray
from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.unit_sequences import assign_joined, deduplicate, feature_config_of, provenance
from sld_user_dir.errors import InputError
from sld_user_dir.features.front_end import FrontEnd, build_front_end
from sld_user_dir.features.waveform import AudioError
from sld_user_dir.manifests.audio_manifest import Recording
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.rejected import Rejected
from sld_user_dir.pipeline.stream import StreamConfig, speaker_stats, stream_frames


@dataclass(frozen=True)
class UnitExtractor:
    """Files to raw units."""

    front_end: FrontEnd
    kmeans: KMeans
    deduplicated: bool

    @classmethod
    def build(cls, kmeans: Path, trained_on: Optional[UnitProvenance], device: torch.device) -> UnitExtractor:
        """The features and centroids of a k-means file, if the model was trained on their units.

        Raises:
            InputError: no k-means file, or units of another one than the model was trained on.
        """
        if not kmeans.is_file():
            raise InputError(kmeans, "no k-means file, which units of audio need", "name it by hub.load(…, kmeans=…)")
        loaded = KMeans.load(kmeans)
        front_end = build_front_end(feature_config_of(loaded), str(device))
        if trained_on is not None and trained_on.subword is not None:
            raise InputError(
                None, "the model reads subwords of units", "encode them yourself and call transcribe_units"
            )
        collapsed = trained_on is not None and trained_on.deduplicated
        made = provenance(front_end, loaded, collapsed)
        if trained_on is not None and made.fingerprint != trained_on.fingerprint:
            raise InputError(
                kmeans,
                f"it makes units {made.describe()}, but the model was trained on {trained_on.describe()}",
                "name its k-means file by hub.load(…, kmeans=…)",
            )
        return cls(front_end, loaded, collapsed)

    def __call__(self, files: Sequence[Union[str, Path]]) -> list[list[int]]:
        """Units of each audio file, all of one speaker.

        Raises:
            AudioError: a file that cannot be used.
        """
        recordings = [Recording(str(i), Path(file).absolute(), speaker="speaker") for i, file in enumerate(files)]
        config = StreamConfig()
        stats = speaker_stats(recordings, self.front_end, config) if self.front_end.wants_speakers else None
        frames: list[FloatArray] = []
        for one in stream_frames(recordings, self.front_end, config, stats):
            if isinstance(one, Rejected):
                raise AudioError(one.path, one.reason)
            frames.append(one.frames)
        units = assign_joined(self.kmeans, frames)
        return [(deduplicate(u)[0] if self.deduplicated else u).tolist() for u in units]
