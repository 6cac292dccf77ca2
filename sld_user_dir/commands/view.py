"""Look at what a model makes of recordings: one page with waveform, units, surprise, words, hypotheses and sound.

    sld view checkpoint_best.pt a.wav b.wav --data manifests/digits
    sld view checkpoint_best.pt a.wav --data manifests/digits --out a.html

Serves the page on this machine alone until it is interrupted; with `--out` it writes one HTML file instead, which needs
neither server nor network.
"""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional

from simple_parsing import field

from sld_user_dir.files import atomic_path
from sld_user_dir.hub.recogniser_options import RecogniserOptions
from sld_user_dir.view.page import page
from sld_user_dir.view.page_server import LOOPBACK, page_server


@dataclass
class ViewConfig:
    """Recordings to a page."""

    checkpoint: str = field(positional=True, metavar="CHECKPOINT")
    """checkpoint, or several joined by `:` for an ensemble"""
    audio: List[Path] = field(positional=True, nargs="+", metavar="RECORDING")  # noqa: RUF009
    """recordings that the model holds whole"""
    out: Optional[Path] = None
    """write this HTML file, and serve nothing"""
    port: int = 0
    """of the server; 0: any that is free"""


CONFIGS = {"config": ViewConfig, "recogniser": RecogniserOptions}
SHOWS_PROGRESS = False


def run(options: Namespace) -> int:
    """Run the command."""
    from sld_user_dir.hub.viewing import view_recordings  # it brings fairseq, which help does not need

    config: ViewConfig = options.config
    recogniser: RecogniserOptions = options.recogniser
    views = view_recordings(recogniser.load(config.checkpoint), config.audio, recogniser.beam, recogniser.max_len_b)
    html = page(views, Path(config.checkpoint).name)
    if config.out is not None:
        with atomic_path(config.out) as aside:
            aside.write_text(html, encoding="utf-8")
        return 0
    with page_server(html, config.port) as server:
        print(f"http://{LOOPBACK}:{server.server_port}/ until Ctrl-C", flush=True)
        server.serve_forever()
    return 0
