"""Batches that hold the frames of their utterances beside the units (`--learn-units`)."""

from typing import Any, Dict, List

import torch

from sld_user_dir.errors import InputError
from sld_user_dir.tasks.fairseq_dataset import FairseqSequenceDataset


class FramedDataset(FairseqSequenceDataset):
    """A dataset whose batches hold `frames`, (n, D) or (n, L, D) of L layers, in the order of their units.

    Attributes:
        frames: of each row of the manifest.
    """

    frames: Any

    def __getitem__(self, index: int) -> Dict[str, Any]:
        item = super().__getitem__(index)
        frames, units = self.frames[item["id"]], len(self.units[int(index) % self.rows])
        if len(frames) != units:
            raise InputError(
                self.name(index),
                f"{units} units, but its recording {self.frames.recordings[item['id']].path} has {len(frames)} frames",
                "extract the units again from the same recordings, not de-duplicated",
            )
        return {**item, "frames": torch.from_numpy(frames)}

    def collater(self, samples: List[Dict[str, Any]]) -> Dict[str, Any]:
        batch: Dict[str, Any] = super().collater(samples)
        if batch:
            batch["frames"] = torch.cat([one["frames"] for one in samples])
        return batch
