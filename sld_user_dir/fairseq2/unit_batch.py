"""Collated batches as fairseq2 moves them to a device."""

from __future__ import annotations

from typing import Any, Dict

from fairseq2.device import SupportsDeviceTransfer
from torch import Tensor


class UnitBatch(SupportsDeviceTransfer):
    """A batch of `SequenceDataset.collater`.

    Attributes:
        sample: its entries, under the names that fairseq's programs use.
    """

    def __init__(self, sample: Dict[str, Any]):
        self.sample = sample

    def to(self, device: Any, *, non_blocking: bool = False) -> None:
        """Move every tensor."""
        self.sample = _moved(self.sample, device, non_blocking)

    @property
    def num_examples(self) -> int:
        return int(self.sample["nsentences"])

    @property
    def num_elements(self) -> int:
        """Tokens that the model reads, without padding."""
        return int(self.sample["ntokens"])


def _moved(value: Any, device: Any, non_blocking: bool) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=non_blocking)
    if isinstance(value, dict):
        return {key: _moved(item, device, non_blocking) for key, item in value.items()}
    return value
