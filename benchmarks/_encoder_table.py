"""One row of `encoders.py` for each encoder, and all of them as a table in Markdown."""

from dataclasses import dataclass
from typing import Callable, Optional, Sequence, Tuple

KINDS: Tuple[Tuple[str, str, str], ...] = (
    ("mfcc", "no", "none needed"),
    ("whisper", "**yes**", "MIT"),
    ("hubert", "no", "Apache-2.0"),
    ("wavlm", "no", "MIT"),
    ("spidr", "no", "CC BY-NC 4.0"),
    ("dinosr", "no", "CC BY-NC 4.0"),
)
"""Part of an encoder's name, whether it learnt from transcribed speech, and the licence of its published weights."""


@dataclass(frozen=True)
class EncoderRow:
    """What was measured of an encoder; None where nothing was."""

    encoder: str
    layer: Optional[int]
    dim: Optional[int]
    frame_rate_hz: float
    num_units: Optional[int] = None
    label_purity: Optional[float] = None
    cluster_purity: Optional[float] = None
    pnmi: Optional[float] = None
    bits_per_second: Optional[float] = None
    bits_per_second_deduplicated: Optional[float] = None
    audio_seconds_per_cpu_second: Optional[float] = None
    same_units_unpadded: Optional[float] = None
    """of a case filled up with silence: share of frames whose unit the recording alone gives, too, by its k-means"""
    random_weights: bool = False
    utterances: int = 0
    audio_seconds: float = 0.0

    @property
    def kind(self) -> Tuple[str, str, str]:
        """Its entry of `KINDS`."""
        return next((kind for kind in KINDS if kind[0] in self.encoder.lower()), ("", "?", "?"))

    @property
    def name(self) -> str:
        """Encoder and state."""
        return self.encoder if self.layer is None or self.random_weights else f"{self.encoder}, state {self.layer}"

    @property
    def purity(self) -> str:
        """Phone purity, or why there is none."""
        return "not measured: no weights at hand" if self.random_weights else shown(self.label_purity, ".3f")


def shown(value: Optional[float], form: str) -> str:
    """A figure, or what stands for none."""
    return "–" if value is None else f"{value:{form}}"


COLUMNS: Tuple[Tuple[str, str, Callable[[EncoderRow], str]], ...] = (  # title, alignment, cell
    ("encoder", "---", lambda row: row.name),
    ("supervised", "---", lambda row: row.kind[1]),
    ("licence", "---", lambda row: row.kind[2]),
    ("dim", "---:", lambda row: shown(row.dim, "d")),
    ("frames a second", "---:", lambda row: f"{row.frame_rate_hz:g}"),
    ("K", "---:", lambda row: shown(row.num_units, "d")),
    ("phone purity", "---:", lambda row: row.purity),
    ("cluster purity", "---:", lambda row: shown(row.cluster_purity, ".3f")),
    ("PNMI", "---:", lambda row: shown(row.pnmi, ".3f")),
    ("bits a second", "---:", lambda row: shown(row.bits_per_second, ".0f")),
    ("de-duplicated", "---:", lambda row: shown(row.bits_per_second_deduplicated, ".0f")),
    ("same units without filling up", "---:", lambda row: shown(row.same_units_unpadded, ".1%")),
    ("audio seconds a CPU second", "---:", lambda row: shown(row.audio_seconds_per_cpu_second, ".3g")),
)


def markdown_table(rows: Sequence[EncoderRow]) -> str:
    """All rows; columns in which no row has anything are left out."""
    columns = [(title, rule, [cell(row) for row in rows]) for title, rule, cell in COLUMNS]
    columns = [column for column in columns if set(column[2]) != {"–"}]
    lines = zip(*([title, rule, *cells] for title, rule, cells in columns))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
