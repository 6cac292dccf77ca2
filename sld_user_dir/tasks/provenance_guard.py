"""Units of two origins, or of another vocabulary, in one model are an error that names both sides."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, Optional

from sld_user_dir.errors import InputError
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.unit_manifest import ManifestError
from sld_user_dir.tasks.start_checkpoint import state_to_go_on_from
from sld_user_dir.vocabulary.joint import JointVocabulary


class ProvenanceGuard:
    """What made the units of every manifest that a task has loaded, and of the checkpoint that it goes on from.

    Attributes:
        manifests: manifest to provenance, in the order of loading.
        of_checkpoint: the checkpoint's provenance; None without one, or where it does not tell.
    """

    def __init__(self, vocab: JointVocabulary, data: str):
        self._vocab, self._data = vocab, data
        self.manifests: Dict[str, UnitProvenance] = {}
        self.of_checkpoint: Optional[UnitProvenance] = None
        self._checkpoint: Optional[Path] = None  # in training only: what it goes on from
        self._state_seen = False

    def add_manifest(self, path: Path, provenance: UnitProvenance) -> None:
        """Take note of a loaded manifest.

        Raises:
            ManifestError: its units are not those of the others, or of the checkpoint.
        """
        self.manifests[str(path)] = provenance
        self._check_agreement()

    def check_start(self, cfg: Any) -> None:
        """Before training loads anything: the checkpoint that it goes on from, which fairseq does not check.

        Args:
            cfg: with fairseq's options of checkpoints; see `start_checkpoint`.

        Raises:
            InputError: it is of another vocabulary, or of other units.
        """
        if self._state_seen:
            return
        self._checkpoint, state = state_to_go_on_from(cfg)
        if state:
            self.load_state(state)

    def state(self) -> Dict[str, Any]:
        """What a checkpoint remembers: plain Python values only (torch loads weights_only)."""
        provenance = next(iter(self.manifests.values()), self.of_checkpoint)
        return {"vocabulary": self._vocab.fingerprint, "unit_provenance": asdict(provenance) if provenance else None}

    def load_state(self, state: Dict[str, Any]) -> Dict[str, Any]:
        """Check what a checkpoint remembers; returns what is left of its state.

        Raises:
            InputError: it is of another vocabulary, or of other units.
        """
        self._state_seen = True
        rest = dict(state)
        vocabulary, provenance = rest.pop("vocabulary", None), rest.pop("unit_provenance", None)
        if vocabulary is not None and vocabulary != self._vocab.fingerprint:
            raise InputError(
                self._checkpoint_name(),
                f"its vocabulary is {vocabulary}, but that of {self._data} is {self._vocab.fingerprint}",
                f"use the dict.txt and vocab.json it was trained with{self._or_afresh()}",
            )
        if provenance is not None:
            self.of_checkpoint = UnitProvenance(**provenance)
            self._check_agreement()
        return rest

    def _check_agreement(self) -> None:
        known = dict(self.manifests)
        if self.of_checkpoint is not None:
            known = {self._checkpoint_name(): self.of_checkpoint, **known}
        (first, expected), *others = known.items()
        for name, provenance in others:
            if provenance.fingerprint != expected.fingerprint:
                raise ManifestError(
                    name,
                    f"its units are {provenance.describe()}, but {first} has {expected.describe()}",
                    f"extract these units again with the same encoder and k-means{self._or_afresh()}",
                )

    def _checkpoint_name(self) -> str:
        return "the checkpoint" if self._checkpoint is None else f"the checkpoint {self._checkpoint}"

    def _or_afresh(self) -> str:
        return "" if self._checkpoint is None else ", or train from scratch in another --save-dir"
