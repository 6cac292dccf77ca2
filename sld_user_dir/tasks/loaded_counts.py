"""What a training or decoding took of its manifests, until it is in batches and, decoding, until it has answers.

fairseq tells a task of data sets and batches, not of the end: as for word times, the ledger of a decoding is written
with its last batch.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
from fairseq.distributed import utils as distributed_utils

from sld_user_dir.ledger.ledger_entry import Change, Counts, Flow, LedgerEntry, LedgerError
from sld_user_dir.ledger.ledger_file import SUFFIX, check_flow, write_ledger
from sld_user_dir.manifests.memory_map import MappedManifest
from sld_user_dir.sequences.dataset import SequenceDataset
from sld_user_dir.sequences.manifest_dataset import AnyManifest
from sld_user_dir.sequences.usable_lengths import SKIP_OPTION

BEYOND_MODEL = "longer than the model's positions (--skip-too-long)"
BEYOND_BATCH = "longer than the model or a batch holds ({})"
OTHER_SHARDS = "decoded by other processes (--num-shards)"


@dataclass
class _LoadedSplit:
    name: str
    manifest: AnyManifest
    units: np.ndarray
    """in each row of the data set"""
    lost: List[Change]
    too_long: List[Change] = field(default_factory=list)
    """of the batches that were made last"""
    written: bool = False

    def counts(self, rows: np.ndarray) -> Counts:
        return {"utterances": len(rows), "units": int(self.units[rows].sum())}

    def entry(self, stage: str, out: Optional[Path], counts: Counts, lost: Sequence[Change] = ()) -> LedgerEntry:
        held = {"utterances": len(self.manifest), "units": len(self.manifest.units)}
        flow = Flow([Path(self.manifest.path)], held, [*self.lost, *self.too_long, *lost])
        return LedgerEntry(stage, out, counts, [flow])

    def hashes(self) -> Dict[Path, str]:
        """Of a mapped manifest, from the name of its map; another one is read for it."""
        known = isinstance(self.manifest, MappedManifest)
        return {Path(self.manifest.path): self.manifest.directory.suffix[1:]} if known else {}  # type: ignore[union-attr]


class LoadedCounts:
    """Writes `SAVE_DIR/SPLIT.loaded.ledger.json`, and `RESULTS_PATH/generate-SPLIT.txt.ledger.json`.

    Args:
        cfg: of the task; `save_dir` and `results_path` say where.
    """

    def __init__(self, cfg: Any):
        self.cfg = cfg
        self.training = False  # until there is a criterion
        self._splits: Dict[int, _LoadedSplit] = {}  # by the identity of the data set
        self._decoding: Optional[_LoadedSplit] = None
        self._expected = np.zeros(0, np.int64)
        self._decoded: List[int] = []

    def loaded(self, name: str, manifest: AnyManifest, dataset: SequenceDataset) -> None:
        """A manifest became a data set.

        Raises:
            LedgerError: it does not hold what the stage that wrote it says.
        """
        counts = {"utterances": len(manifest), "units": len(manifest.units)}
        check_flow(Flow([Path(manifest.path)], counts))
        units: Any = dataset.units
        split = _LoadedSplit(name, manifest, np.asarray(units.lengths), [])
        left = split.counts(np.arange(dataset.rows))
        if left != counts:
            split.lost = [Change(BEYOND_MODEL, {name: number - left[name] for name, number in counts.items()})]
        self._splits[id(dataset)] = split

    def filtered(self, dataset: SequenceDataset, before: np.ndarray, kept: np.ndarray) -> None:
        """What is too long was left out."""
        split = self._splits.get(id(dataset))
        if split is not None:
            lost = np.setdiff1d(before % dataset.rows, kept % dataset.rows)
            option = "--skip-too-long" if self.cfg.skip_too_long else SKIP_OPTION
            split.too_long = [Change(BEYOND_BATCH.format(option), split.counts(lost))] if len(lost) else []

    def batched(self, dataset: SequenceDataset, iterator: Any) -> None:
        """A data set became batches.

        Raises:
            LedgerError: some of its utterances are in none.
        """
        split = self._splits.get(id(dataset))
        if split is None:
            return
        rows = _rows(iterator.frozen_batches, dataset.rows)
        entry = split.entry("batches", None, split.counts(rows))
        for problem in entry.problems():
            raise LedgerError(split.manifest.path, problem, "this is a fault of the program: tell its authors")
        if self.training:
            self._write_loaded(split, entry)
        elif _is_given(self.cfg.results_path):
            self._decoding, self._decoded = split, []
            self._expected = _rows(iterator.frozen_batches[iterator.shard_id :: iterator.num_shards], dataset.rows)
            self._others = np.setdiff1d(rows, self._expected)

    def _write_loaded(self, split: _LoadedSplit, entry: LedgerEntry) -> None:
        # fairseq-train has made the folder by now; a task that is made without it has none
        there = _is_given(self.cfg.save_dir) and Path(self.cfg.save_dir).is_dir()
        if not split.written and there and distributed_utils.get_global_rank() == 0:
            write_ledger(entry, Path(self.cfg.save_dir) / f"{split.name}.loaded{SUFFIX}", split.hashes())
        split.written = True

    def decoded(self, sample: Dict[str, Any], hypotheses: Sequence[Sequence[Any]]) -> None:
        """A batch has its answers; the ledger is written after the last one.

        Raises:
            LedgerError: an utterance without an answer.
        """
        if self._decoding is None:
            return
        self._decoded += [row for row, found in zip(sample["id"].tolist(), hypotheses) if found]
        if len(self._decoded) < len(self._expected):
            return
        split, self._decoding = self._decoding, None
        others = [Change(OTHER_SHARDS, split.counts(self._others))] if len(self._others) else []
        out = Path(self.cfg.results_path) / f"generate-{split.name}.txt"
        entry = split.entry("generate", out, {"utterances": len(set(self._decoded))}, others)
        write_ledger(entry, hashed={**split.hashes(), out: ""})  # the file is still being written


def _rows(batches: Sequence[Sequence[int]], rows: int) -> np.ndarray:
    """The rows of a data set that are in batches, each once."""
    found = np.zeros(rows, bool)
    for batch in batches:
        found[np.asarray(batch, np.int64) % rows] = True
    return np.flatnonzero(found)


def _is_given(folder: Optional[str]) -> bool:
    """Whether an option of fairseq's holds a folder; a task that is made without its commands has no value there."""
    return bool(folder) and not str(folder).startswith("${")
