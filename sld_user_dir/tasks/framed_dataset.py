"""Batches that hold the frames of their utterances beside the units (`--learn-units`)."""

from typing import Any, Dict, List

import torch

from sld_user_dir.errors import InputError
from sld_user_dir.tasks.fairseq_dataset import FairseqSequenceDataset


class FramedDataset(FairseqSequenceDataset):
    """A dataset whose batches hold `frames`, (n, D) or (n, L, D) of L layers, in the order of their units.

    Or `waves`, a list of waveforms, for an encoder that is trained.

    Attributes:
        frames: of each row of the manifest.
    """

    frames: Any

    def __getitem__(self, index: int) -> Dict[str, Any]:
        item = super().__getitem__(index)
        found, units = self.frames[item["id"]], len(self.units[int(index) % self.rows])
        n_frames = self.frames.n_frames(found)
        if n_frames != units:
            raise InputError(
                self.name(index),
                f"{units} units, but its recording {self.frames.recordings[item['id']].path} has {n_frames} frames",
                "extract the units again from the same recordings, not de-duplicated",
            )
        return {**item, ("waves" if found.ndim == 1 else "frames"): torch.from_numpy(found)}

    def collater(self, samples: List[Dict[str, Any]]) -> Dict[str, Any]:
        batch: Dict[str, Any] = super().collater(samples)
        if batch and "waves" in samples[0]:
            batch["waves"] = [one["waves"] for one in samples]
        elif batch:
            batch["frames"] = torch.cat([one["frames"] for one in samples])
        return batch
