"""The strips of a recording as SVG on one time axis: waveform, units, surprise, words."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import Callable, Optional

import numpy as np

from sld_user_dir.view.recording_view import RecordingView

PIXELS_A_SECOND = 220
WAVE_HEIGHT, UNIT_HEIGHT, SURPRISE_HEIGHT, WORD_HEIGHT, AXIS_HEIGHT, GAP = 90, 26, 60, 30, 18, 10
HUE_STEP = 137.508
"""Degrees between the colours of neighbouring units: the golden angle, so that all are far apart."""


def strips(view: RecordingView) -> str:
    """An `svg` element."""
    parts, top = [], 0
    rows: tuple[tuple[str, int, Callable[[RecordingView, int], str]], ...] = (
        ("wave", WAVE_HEIGHT, _wave),
        ("units", UNIT_HEIGHT, _units),
        ("surprise", SURPRISE_HEIGHT, _surprise),
        ("words", WORD_HEIGHT, _words),
        ("axis", AXIS_HEIGHT, _axis),
    )
    for name, height, draw in rows:
        parts.append(f'<g class="{name}" transform="translate(0 {top})">{draw(view, height)}</g>')
        top += height + GAP
    width = max(1, round(view.seconds * PIXELS_A_SECOND))
    cursor = f'<line class="cursor" x1="0" x2="0" y1="0" y2="{top}"/>'
    return f'<svg width="{width}" height="{top}" data-scale="{PIXELS_A_SECOND}">{"".join(parts)}{cursor}</svg>'


def unit_colour(unit: int) -> str:
    """The colour of a unit."""
    return f"hsl({unit * HUE_STEP % 360:.0f} 60% {45 + 12 * (unit % 3)}%)"


def confidence_colour(confidence: Optional[float]) -> str:
    """From red, wrong, over yellow to green, right; grey where it is not known."""
    return "#ddd" if confidence is None else f"hsl({120 * confidence**2:.0f} 70% 78%)"


def _x(seconds: float) -> str:
    return f"{seconds * PIXELS_A_SECOND:.1f}"


def _wave(view: RecordingView, height: int) -> str:
    columns = max(1, round(view.seconds * PIXELS_A_SECOND))
    bounds = np.linspace(0, len(view.wave), columns + 1).astype(int)
    loudest = float(np.abs(view.wave).max(initial=0.0)) or 1.0
    lines = []
    for x, (start, end) in enumerate(pairwise(bounds)):
        piece = view.wave[start:end] / loudest
        low, high = (float(piece.min()), float(piece.max())) if len(piece) else (0.0, 0.0)
        lines.append(f"M{x} {height / 2 * (1 - high):.1f}V{height / 2 * (1 - low) + 0.5:.1f}")
    return f'<path d="{"".join(lines)}"/>'


def _units(view: RecordingView, height: int) -> str:
    return "".join(
        f'<rect x="{_x(start)}" width="{_x(end - start)}" height="{height}" fill="{unit_colour(unit)}">'
        f"<title>{escape(_of_unit(unit, start, end, bits))}</title></rect>"
        for unit, start, end, bits in zip(view.units, view.edges[:-1], view.edges[1:], view.bits)
    )


def _of_unit(unit: int, start: float, end: float, bits: Optional[float]) -> str:
    times = f"unit {unit}, {start:.2f} to {end:.2f} s"
    return times if bits is None else f"{times}, {bits:.1f} bits: probability {2**-bits:.3f}"


def _surprise(view: RecordingView, height: int) -> str:
    most = max(float(np.log2(max(view.num_units, 2))), max((b for b in view.bits if b is not None), default=0.0))
    bars = [
        f'<rect x="{_x(start)}" width="{_x(end - start)}" y="{height * (1 - bits / most):.1f}" '
        f'height="{height * bits / most:.1f}"><title>{escape(_of_unit(unit, start, end, bits))}</title></rect>'
        for unit, start, end, bits in zip(view.units, view.edges[:-1], view.edges[1:], view.bits)
        if bits is not None
    ]
    level = height * (1 - float(np.log2(max(view.num_units, 2))) / most)
    return "".join(bars) + f'<line class="guess" x1="0" x2="{_x(view.seconds)}" y1="{level:.1f}" y2="{level:.1f}"/>'


def _words(view: RecordingView, height: int) -> str:
    parts = []
    for one in view.words:
        start, end = one.start_seconds, one.end_seconds
        sure = "" if one.confidence is None else f", right with {one.confidence:.1%}"
        middle = _x((start + end) / 2)
        parts.append(
            f'<g class="word"><title>{escape(one.word)}, {start:.2f} to {end:.2f} s{sure}</title>'
            f'<rect x="{_x(start)}" width="{_x(end - start)}" height="{height}" '
            f'fill="{confidence_colour(one.confidence)}"/>'
            f'<text x="{middle}" y="{height * 0.68:.0f}">{escape(one.word)}</text></g>'
        )
    return "".join(parts)


def _axis(view: RecordingView, height: int) -> str:
    ticks = np.arange(0, view.seconds, 0.5)
    return "".join(f'<text x="{_x(tick)}" y="{height - 5}">{tick:.1f} s</text>' for tick in ticks.tolist())
