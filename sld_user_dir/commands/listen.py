"""Text while the speech still comes: a recording, or raw samples on standard input, heard as if live.

    sld listen checkpoint_best.pt talk.wav --data manifests/digits
    arecord -q -t raw -f S16_LE -r 16000 | sld listen checkpoint_best.pt - --rate 16000 --json

Prints a line for each chunk that changes something: seconds heard, `partial` or `final`, the settled words, and the
words that may still change. A pause ends a segment, whose final text is that of `sld transcribe` on its audio.
"""

import json
import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

from simple_parsing import field

from sld_user_dir.errors import InputError
from sld_user_dir.features.signal_faults import SilentShare
from sld_user_dir.features.waveform import audio_blocks
from sld_user_dir.hub.recogniser_options import RecogniserOptions
from sld_user_dir.streaming.heard_audio import ListenOptions
from sld_user_dir.streaming.pcm_input import paced, pcm_blocks


@dataclass
class ListenConfig:
    """A stream to text."""

    checkpoint: str = field(positional=True, metavar="CHECKPOINT")
    """checkpoint, or several joined by `:` for an ensemble"""
    audio: Path = field(positional=True, metavar="FILE")  # noqa: RUF009
    """recording, or `-`: raw mono samples of 16 bits, low byte first, on standard input"""
    rate: int = 16000
    """samples a second on standard input"""
    pace: float = 0.0
    """play a recording so many times as fast as it was spoken, 1 as if live; 0: at once"""
    json: bool = False
    """print a JSON object a line, for every chunk, with what it took to compute"""


CONFIGS = {"config": ListenConfig, "recogniser": RecogniserOptions, "listen": ListenOptions}
SHOWS_PROGRESS = False


def run(options: Namespace) -> int:
    """Run the command."""
    config: ListenConfig = options.config
    if not config.pace >= 0:
        raise InputError(f"--pace {config.pace:g}", "time does not run backwards", "take 1, or 0 for no waiting")
    recogniser: RecogniserOptions = options.recogniser
    listener = recogniser.load(config.checkpoint).listener(options.listen, **recogniser.generation)
    compute, heard, shown, silence = 0.0, 0.0, None, SilentShare()
    name = "standard input" if str(config.audio) == "-" else str(config.audio)
    for one in listener(silence.of_blocks(_blocks(config, listener.sample_rate_hz)), name):
        compute, heard = compute + one.compute_seconds, one.heard_seconds
        line = json.dumps(one.to_dict(), ensure_ascii=False) if config.json else _line(one)
        if config.json or one.partial.is_final or one.partial != shown:
            print(line, flush=True)
        shown = one.partial
    if silence.is_silent:
        problem = "digital silence for half of its length or more: look at what recorded or cut it"
        print(f"sld listen: {name}: {problem}", file=sys.stderr)
    if heard:
        told = f"heard {heard:.2f} s; {compute / heard:.3f} s of computing a second of speech"
        latency = f"a word settles within {options.listen.latency_seconds:.2f} s where hypotheses agree at once"
        print(f"sld listen: {told}; {latency}", file=sys.stderr)
    return 0


def _blocks(config: ListenConfig, rate_hz: int) -> Iterator[Any]:
    if str(config.audio) == "-":
        return pcm_blocks(sys.stdin.buffer, config.rate, rate_hz)
    return paced(audio_blocks(config.audio, rate_hz), rate_hz, config.pace)


def _line(one: Any) -> str:
    kind = "final" if one.partial.is_final else "partial"
    words = " ".join(one.partial.settled), " ".join(one.partial.tentative)
    return "\t".join([f"{one.heard_seconds:.2f}", kind, *words]).rstrip("\t")
