"""What fairseq-train logged with ``--log-format json``, as numbers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sld_user_dir.files import read_log

_LINE = re.compile(r"\| (train_inner|valid) \| (\{\"epoch\".*\})\s*$")


@dataclass
class Curves:
    """Points of a training: one dict of floats a line, keys without fairseq's prefix."""

    train: list[dict[str, float]] = field(default_factory=list)
    valid: list[dict[str, float]] = field(default_factory=list)

    @property
    def updates(self) -> int:
        """Updates done so far."""
        return int(max([p["num_updates"] for p in self.train + self.valid], default=0))

    def last(self, key: str) -> float | None:
        """The newest training value of ``key``."""
        return next((p[key] for p in reversed(self.train) if key in p), None)

    def best(self, key: str) -> float | None:
        """The lowest validation value of ``key``."""
        return min((p[key] for p in self.valid if key in p), default=None)


def read_curves(path: Path) -> Curves:
    """Parse a training log; a missing file gives empty curves.

    A resumed run logs some updates twice: the later line counts.
    """
    train: dict[int, dict[str, float]] = {}
    valid: dict[int, dict[str, float]] = {}
    for line in read_log(path):
        match = _LINE.search(line)
        if not match:
            continue
        kind, values = match[1], json.loads(match[2])
        prefix = "" if kind == "train_inner" else f"{kind}_"
        point = {k.removeprefix(prefix): n for k, v in values.items() if (n := _number(v)) is not None}
        if "num_updates" not in point:
            continue
        if kind == "train_inner":
            train[int(point["num_updates"])] = point
        else:
            valid[int(point["num_updates"])] = point
    return Curves([train[k] for k in sorted(train)], [valid[k] for k in sorted(valid)])


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
