"""How a checkpoint turns recordings to text: the options that `sld transcribe`, `sld listen` and `sld view` share."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from sld_user_dir.errors import InputError
from sld_user_dir.hub.loading import load

if TYPE_CHECKING:
    from sld_user_dir.hub.model import Model


@dataclass
class RecogniserOptions:
    """What makes the units of audio, and how text is searched."""

    data: Optional[Path] = None
    """data directory of the training; by default where it lay then"""
    kmeans: Optional[Path] = None
    """k-means file; by default kmeans.npz in the data directory"""
    tokenizer: Optional[str] = None
    """tokenizer of a model that was trained on a tokenizer's own codes, as sld units --tokenizer names it"""
    features: Optional[str] = None
    """where the encoder lies now, if not where it lay when the k-means was trained"""
    beam: int = 5
    """beam size"""
    ctc_weight: Optional[float] = None
    """share of the model's CTC in the score, from 0 to 1; by default that of its training's --decode-ctc-weight"""
    max_len_b: int = 200
    """most tokens of a transcript, or of a segment's"""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, or one card as `cuda:1`"""

    def __post_init__(self) -> None:
        if self.beam < 1 or self.max_len_b < 1:  # said before anything is loaded
            where = f"--beam {self.beam} --max-len-b {self.max_len_b}"
            raise InputError(where, "nothing to search", "choose both above 0")

    def load(self, checkpoint: str) -> "Model":
        """The model of a checkpoint, or of several joined by `:`."""
        return load(
            checkpoint,
            self.data,
            kmeans=self.kmeans,
            tokenizer=self.tokenizer,
            features=self.features,
            device=self.device,
            ctc_weight=self.ctc_weight,
        )

    @property
    def generation(self) -> dict[str, Any]:
        """Options of the search."""
        return {"beam": self.beam, "max_len_b": self.max_len_b}
