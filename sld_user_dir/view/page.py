"""The page of recordings: one HTML file that needs nothing else, sound included."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Sequence

import numpy as np
import soundfile

from sld_user_dir.view.recording_view import RecordingView
from sld_user_dir.view.strips import strips

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222 }
.strips { overflow-x: auto; border: 1px solid #ddd; padding: 8px } svg { display: block; cursor: pointer }
.wave path { stroke: #356; fill: none } .surprise rect { fill: #c60 } .guess { stroke: #555; stroke-dasharray: 4 4 }
.words text { text-anchor: middle; font-size: 14px } .words rect { stroke: #999 }
.axis text { font-size: 11px; fill: #666 }
.cursor { stroke: #d00; stroke-width: 1.5 } audio { width: 100%; margin: 8px 0 }
table { border-collapse: collapse } td, th { padding: 2px 12px 2px 0; text-align: left } td.number { text-align: right }
.note { color: #666 }
"""
SCRIPT = """
for (const section of document.querySelectorAll("section")) {
  const audio = section.querySelector("audio"), svg = section.querySelector("svg");
  const cursor = svg.querySelector(".cursor"), scale = Number(svg.dataset.scale);
  const show = () => {
    const x = audio.currentTime * scale;
    cursor.setAttribute("x1", x); cursor.setAttribute("x2", x);
    if (!audio.paused) requestAnimationFrame(show);
  };
  for (const name of ["play", "seeked", "timeupdate"]) audio.addEventListener(name, show);
  svg.addEventListener("click", (event) => {
    audio.currentTime = (event.clientX - svg.getBoundingClientRect().left) / scale; show();
  });
}
"""
STRIPS_NOTE = (
    "From above: the waveform; the units, a colour each; by how many bits each unit surprised the model, where the "
    "dashed line is a guess among all units; the words, from red to green by their confidence where it is known. "
    "Point at a unit or a word to see its figures; click to play from there."
)
NOT_TRAINED = "This model was trained without a loss on speech: what it says of units means nothing."


def page(views: Sequence[RecordingView], model: str) -> str:
    """The HTML of some recordings.

    Args:
        model: its name, for the title.
    """
    title = f"sld view: {escape(model)}"
    body = "".join(map(_section, views))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>{title}</h1><p class=note>{STRIPS_NOTE}</p>\n{body}"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _section(view: RecordingView) -> str:
    sure = "" if view.confidence is None else f" <span class=note>right with {view.confidence:.1%}</span>"
    note = "" if view.predicts_units else f"<p class=note>{NOT_TRAINED}</p>"
    text = escape(view.hypotheses[0].text) if view.hypotheses else ""
    return (
        f"<section><h2>{escape(view.name)}</h2><p><strong>{text}</strong>{sure}</p>"
        f'<audio controls src="data:audio/wav;base64,{_sound(view)}"></audio>'
        f"<div class=strips>{strips(view)}</div>{note}{_table(view)}</section>\n"
    )


def _table(view: RecordingView) -> str:
    rows = "".join(
        f"<tr><td class=number>{rank}</td><td class=number>{one.score:.2f}</td>"
        f"<td class=number>{one.log_prob:.2f}</td><td>{escape(one.text)}</td></tr>"
        for rank, one in enumerate(view.hypotheses, 1)
    )
    return f"<table><tr><th>#</th><th>score</th><th>log-probability</th><th>hypothesis</th></tr>{rows}</table>"


def _sound(view: RecordingView) -> str:
    """The waveform as WAV of 16 bits, in base64."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(view.wave, -1, 1), view.sample_rate_hz, format="WAV", subtype="PCM_16")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
