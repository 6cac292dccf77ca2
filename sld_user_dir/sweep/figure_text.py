"""Figures of the report as text."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

from sld_user_dir.sweep.uncertainty import Estimate


def interval(estimate: Estimate, sign: str = "") -> str:
    """`low to high`, in brackets where it is over speakers alone."""
    if estimate.interval is None:
        half = 1.96 * estimate.utterance_error
        return f"({estimate.value - half:{sign}.2f} to {estimate.value + half:{sign}.2f})"
    return f"{estimate.interval[0]:{sign}.2f} to {estimate.interval[1]:{sign}.2f}"


def p_value(value: Optional[float]) -> str:
    """A p value as text."""
    return "one training" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def share(errors: float, words: float) -> str:
    """Errors in percent of words."""
    return f"{100.0 * errors / words:.1f}" if words else ""


def number(value: Optional[float], form: str, change: Callable[[float], float] = float) -> str:
    """A figure, changed and formatted; nothing where there is none."""
    return "" if value is None else f"{change(value):{form}}"


def option_list(options: Mapping[str, Any]) -> str:
    """Options of an objective, as code."""
    return ", ".join(f"`{k}={v}`" for k, v in options.items())


def one_line(text: str) -> str:
    """The last line of a text, at most 300 characters."""
    return text.strip().split("\n")[-1][:300]
