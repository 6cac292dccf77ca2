"""Unit manifests as a dataset of fairseq2's: family `unit_manifests`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

from fairseq2.composition import register_dataset_family

from sld_user_dir.errors import InputError
from sld_user_dir.manifests.memory_map import open_manifest
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.sequences.dataset import SequenceDataset
from sld_user_dir.sequences.manifest_dataset import dataset_from_manifest
from sld_user_dir.sequences.task_mix import RECOGNITION, parse_mix
from sld_user_dir.vocabulary.joint import JointVocabulary

FAMILY = "unit_manifests"


@dataclass(kw_only=True)
class UnitManifestsConfig:
    """Which data."""

    data: Path = Path("data")
    """data directory with dict.txt, vocab.json and a unit manifest a split (train.tsv, valid.tsv, …)"""

    units_of: str = "train"
    """the split whose units those of all others must be; where it is not there, that of the split opened first"""


class UnitManifests:
    """The manifests of a data directory, all of units of one making.

    Attributes:
        data: the directory.
        vocab: its joint vocabulary.
        provenance: what made the units of all of them; None while it is not known.
    """

    def __init__(self, data: Path, units_of: str = "train"):
        self.data, self.vocab = data, JointVocabulary.load(data)
        known = (data / f"{units_of}.tsv").is_file()
        self.provenance: Optional[UnitProvenance] = self.units_of(units_of) if known else None

    def units_of(self, split: str) -> UnitProvenance:
        """What made the units of a split."""
        return open_manifest(self.data / f"{split}.tsv").provenance

    def open_split(
        self, split: str, max_seq_len: int, task_mix: Optional[str] = None, **options: Any
    ) -> SequenceDataset:
        """The sequences of a split.

        Args:
            max_seq_len: tokens that the model reads.
            task_mix: as `parse_mix` takes it; None for speech recognition.
            options: of `dataset_from_manifest`.

        Raises:
            InputError: no such manifest, or one of other units than another split's, or than the vocabulary's.
        """
        path = self.data / f"{split}.tsv"
        manifest = open_manifest(path)
        if self.provenance is None:
            self.provenance = manifest.provenance
        check_units(path, manifest.provenance, str(self.data), self.provenance)
        mix = parse_mix(task_mix, self.vocab) if task_mix else RECOGNITION
        return dataset_from_manifest(manifest, self.vocab, max_seq_len, SequenceDataset, mix=mix, **options)


def check_units(where: Any, found: UnitProvenance, other: str, expected: UnitProvenance) -> None:
    """Units of two origins in one model are an error.

    Raises:
        InputError: names both sides.
    """
    if found.fingerprint != expected.fingerprint:
        problem = f"its units are {found.describe()}, but {other} has {expected.describe()}"
        raise InputError(where, problem, "extract these units again with the same encoder and k-means")


def stored_units(units: Mapping[str, object]) -> Optional[UnitProvenance]:
    """What a model's configuration states of its units; None where it does not."""
    return UnitProvenance.from_json(dict(units)) if units else None


def units_to_store(provenance: UnitProvenance) -> Dict[str, object]:
    """What a model's configuration states of its units."""
    return asdict(provenance)


def register(container: Any) -> None:
    """Register the family with fairseq2."""
    register_dataset_family(
        container,
        FAMILY,
        UnitManifests,
        UnitManifestsConfig,
        opener=lambda config: UnitManifests(config.data, config.units_of),
    )
