"""What loss terms measure, in the form of fairseq's logging outputs, and back into its metrics.

A logging output holds sums, so that fairseq may add outputs up over workers and batches: for each measure
`KIND:NAME:total` and `KIND:NAME:count`.
"""

import logging
import math
from typing import Any, Dict, Iterable, List, Optional, Tuple

from fairseq import utils
from fairseq.logging import metrics

from sld_user_dir.losses.measure_scale import SCALE
from sld_user_dir.losses.term import Measure

logger = logging.getLogger(__name__)


def logging_output(measures: Iterable[Measure]) -> Dict[str, Any]:
    """Sums by name."""
    found: Dict[str, Any] = {}
    for one in measures:
        key = f"{one.kind}:{one.name}"
        found[f"{key}:total"], found[f"{key}:count"] = one.total, one.cases
    return found


def measured(logging_outputs: Iterable[Dict[str, Any]], name: str) -> Tuple[float, float]:
    """Total and count of a measure, summed over logging outputs; (0, 0) where nobody took it."""
    total = count = 0.0
    for output in logging_outputs:
        for key in (f"{kind}:{name}" for kind in SCALE):
            total += float(output.get(f"{key}:total", 0))
            count += float(output.get(f"{key}:count", 0))
    return total, count


def log_measures(logging_outputs: List[Dict[str, Any]]) -> None:
    """Log every measure, perplexities beside bits, and `loss`, the sum of all `loss_…`.

    A validation that is not a number would be fairseq's best for ever: `min(nan, x)` is nan, and nothing is below it.
    """
    keys = [key.rsplit(":", 1)[0] for key in logging_outputs[0] if key.endswith(":total")]
    for key in keys:
        kind, name = key.split(":", 1)
        total, count = (
            sum(float(log.get(f"{key}:{part}", 0)) for log in logging_outputs) for part in ("total", "count")
        )
        if math.isnan(total):
            logger.warning("%s is not a number: logged as infinite, so that no checkpoint is best by it", name)
            total = math.inf
        metrics.log_scalar(name, SCALE[kind] * total / max(count, 1), weight=count, round=3)
        if kind == "perplexity":
            metrics.log_derived(f"{name}_ppl", lambda meters, n=name: _perplexity(meters[n].avg))
    losses = [key.split(":", 1)[1] for key in keys if key.startswith("bits:loss_")]
    metrics.log_derived("loss", lambda meters: round(sum(float(meters[name].avg) for name in losses), 3))


def _perplexity(bits: Optional[float]) -> Optional[float]:
    """None after a reset of meters, where fairseq's own would be 0."""
    return None if bits is None else utils.get_perplexity(bits)
