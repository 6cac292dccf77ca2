"""What is logged: the measures of the loss terms, sizes, and error rates, as fairseq2's metrics."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, MutableMapping, Optional

import torch
from fairseq2.metrics import Mean, MetricBag, Sum

from sld_user_dir.fairseq2.unit_batch import UnitBatch
from sld_user_dir.losses.measure_scale import SCALE
from sld_user_dir.losses.term import Measure
from sld_user_dir.scoring.recognition_errors import RATES

SIZES = ("num_examples", "num_elements")


@torch.inference_mode()
def update_sizes(bag: MetricBag, batch: Optional[UnitBatch]) -> None:
    """Count examples and tokens, of which fairseq2 makes tokens a second; None: nothing, so that they are known."""
    for name in SIZES:
        count = 0 if batch is None else getattr(batch, name)
        _get(bag, name, Sum).update(count)
        _get(bag, f"total_{name}", Sum).update(count)


@torch.inference_mode()
def update_measures(bag: MetricBag, measures: Iterable[Measure]) -> None:
    """Add the batch's measures up, in bits or per cent; padding as fairseq2 does, in tokens."""
    for one in measures:
        if one.kind == "share":
            _get(bag, one.name, Sum).update(one.total.detach())
            continue
        cases = one.cases.detach().float()
        mean = SCALE[one.kind] * one.total.detach() / cases.clamp(min=1)
        _get(bag, one.name, Mean).update(mean, weight=cases)


@torch.inference_mode()
def update_errors(bag: MetricBag, counts: Mapping[str, int]) -> None:
    """Add up the counts of `count_errors`."""
    for name, value in counts.items():
        _get(bag, name, Sum).update(value)


def finish(values: MutableMapping[str, Any]) -> None:
    """`loss`, the sum of the terms; and error rates in per cent in place of their counts."""
    values["loss"] = sum(float(value) for name, value in values.items() if name.startswith("loss_"))
    for rate, errors, total in RATES:
        if total in values:
            wrong, all_of_them = float(values.pop(errors)), float(values.pop(total))
            values[rate] = 100 * wrong / all_of_them if all_of_them else float("nan")


def _get(bag: MetricBag, name: str, kind: Any) -> Any:
    if name not in bag.metrics:
        bag.add(name, kind())
    return bag.get(name, kind)
