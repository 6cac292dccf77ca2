"""SpidR and DinoSR (Poli et al. 2025, "SpidR: Learning fast and stable linguistic units"), by the package `spidr`.

Self-supervised, 50 Hz, 16 kHz. `--features` is a checkpoint ending in `.pt`, with the `config.json` of its training
beside it unless its settings are the published ones, or the name of a published checkpoint. Package and published
weights have the licence CC BY-NC 4.0; the package asks for Python 3.12.

**Layers**: L is what `get_intermediate_outputs` gives for block L, the output of its feed-forward layer before the
residual is added: what the authors cluster (layer 6). 0 is the first block's input.
"""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Sequence

from sld_user_dir.errors import reason_of
from sld_user_dir.features.checkpoint_file import checkpoint_contents
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError, FrameEncoder, check_layer, register_encoder
from sld_user_dir.features.frame_geometry import ConvolutionGeometry, EncoderTraits
from sld_user_dir.features.hidden_states import hidden_states
from sld_user_dir.features.waveform_backend import WaveformBackend
from sld_user_dir.files import read_json, refuse_lfs_pointer

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE_HZ = 16000
WAVE_NORM_EPS = 1e-5  # torch's layer_norm, by which the package normalises waveforms
SIGN = "student.layers.0.attention.qkv.weight"
PUBLISHED_AT = "https://dl.fbaipublicfiles.com/shared/devai/assets/models"
PUBLISHED = ("spidr_base", "dinosr_base_reproduced")
PICKLED = "dinosr_base_original"
"""a name of the package, too, whose checkpoint holds other objects than weights"""


class SpidrBackend(WaveformBackend):
    """The student's convolutions and blocks."""

    def __init__(self, name: str, layer: int) -> None:
        from torch import nn

        path = _published(name) if name in PUBLISHED else Path(name)
        model_type = _model_type(path)
        student_and_teacher = _load(path, model_type)
        student: Any = student_and_teacher.student
        check_layer(name, layer, len(student.layers))
        self.model = nn.ModuleDict(
            {
                "feature_extractor": student_and_teacher.feature_extractor,
                "feature_projection": student_and_teacher.feature_projection,
                "student": student,
            }
        )
        student.layers = student.layers[:layer] if layer else nn.ModuleList([_first_blocks_input()])
        if not student.layer_norm_first:
            student.layer_norm = nn.Identity()  # after the last block, which nothing here reads
        convolutions = student_and_teacher.feature_extractor.conv_layers
        geometry = ConvolutionGeometry(
            tuple(int(one.kernel_size) for one in convolutions), tuple(int(one.stride) for one in convolutions)
        )
        dim = int(student.pos_conv_embed.embed_dim)
        self.traits = EncoderTraits(model_type, SAMPLE_RATE_HZ, dim, geometry, WAVE_NORM_EPS)

    def embed(self, wave: Tensor, peak: Optional[float] = None) -> Tensor:
        """(1, n_samples) -> projected features of the convolutions, (1, T, D)."""
        wave = self.in_model_precision(wave)
        projected: Tensor = self.model["feature_projection"](self.model["feature_extractor"](wave))
        return projected

    def contextualise(self, embedded: Tensor, padding: Tensor) -> Tensor:
        """(B, T, D), padding (B, T) -> the last block that is kept, before its residual, (B, T, D)."""
        mask = ~padding[:, None, None] if padding.any() else None  # (B, 1, 1, T), True where there is a frame
        student: Any = self.model["student"]
        out: Tensor = student.get_intermediate_outputs(embedded, mask)[-1]
        return out

    def hidden_states(self, embedded: Tensor, padding: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Of `contextualise`, several layers, (B, T, D) each."""
        student: Any = self.model["student"]
        return hidden_states(lambda: self.contextualise(embedded, padding), student.layers, layers, _before_residual)


def _before_residual(value: Any) -> Any:
    """Of a block's input, or of its output with and before the residual."""
    return value[1] if isinstance(value, tuple) else value


def _first_blocks_input() -> Any:
    """A block that does nothing, whose "output before the residual" is its input."""
    from torch import nn

    class Unchanged(nn.Module):
        def forward(self, x: Tensor, attention_mask: Optional[Tensor] = None) -> tuple[Tensor, Tensor]:
            return x, x

    return Unchanged()


def _load(path: Path, model_type: str) -> Any:
    """The model, without running pickled objects: the package reads `.pt` files by torch's `weights_only`."""
    build_model = importlib.import_module("spidr.models").build_model
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # without config.json: the published settings, as this module's text says
            return build_model(model_type=model_type, checkpoint=path).eval()
    except Exception as error:  # torch and the package raise several kinds
        refuse_lfs_pointer(path, EncoderError)
        reason = reason_of(error)
        remedy = "put the config.json of its training beside it"
        raise EncoderError(path, f"spidr cannot load it ({reason})", remedy) from error


def _model_type(path: Path) -> str:
    """`spidr` or `dinosr`, by the config.json beside a checkpoint or else by the checkpoint's name.

    Raises:
        EncoderError: there is such a file, and it cannot be read.
    """
    config = path.parent / "config.json"
    stated: Any = read_json(config, EncoderError) if config.exists() else {}
    try:
        return str(stated["run"]["model_type"])
    except (KeyError, TypeError):
        return "dinosr" if "dinosr" in path.name.lower() else "spidr"


def _published(name: str) -> Path:
    """The file of a published checkpoint, in torch's cache, fetched where it is not there yet.

    Raises:
        EncoderError: it cannot be reached.
    """
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / f"{name}.pt"
    if not path.is_file():
        url = f"{PUBLISHED_AT}/{name}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except OSError as error:  # URLError is one
            raise EncoderError(
                name,
                f"{url} cannot be reached ({error})",
                f"fetch that file where there is a network, and give its path: --features DIRECTORY/{name}.pt",
            ) from error
    return path


def is_spidr(features: str) -> bool:
    """A `.pt` file with a student of SpidR or DinoSR, or the name of a published checkpoint."""
    contents = checkpoint_contents(features)
    if contents is not None:
        return bool({SIGN, f"module.{SIGN}"} & contents.weights)
    return features in (*PUBLISHED, PICKLED)


@register_encoder("a checkpoint of SpidR or DinoSR ending in .pt", claims=is_spidr, sums_layers=True)
def load(config: FeatureConfig, device: str, batch_seconds: float) -> FrameEncoder:
    """SpidR or DinoSR by the package of its authors."""
    from sld_user_dir.features.chunked_encoder import load_chunked_encoder

    if config.features == PICKLED:
        raise EncoderError(
            PICKLED,
            "its checkpoint holds pickled objects, which could run code",
            'if you trust it, save {"model": spidr.models.dinosr_base_original().state_dict()} as dinosr.pt, beside a '
            'config.json of {"model": {"encoder_qkv_bias": true}}',
        )
    try:
        importlib.import_module("spidr.models")
    except ImportError as error:
        problem = f"the package spidr, which loads it, cannot be imported ({error})"
        raise EncoderError(f"--features {config.features}", problem, "pip install spidr (Python 3.12)") from error
    return load_chunked_encoder(SpidrBackend, config, device, batch_seconds)
