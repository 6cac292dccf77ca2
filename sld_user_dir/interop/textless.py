"""textless-lib as a companion: its encoders make our units, our k-means serves as its quantizer.

Nothing here imports textless-lib before it is asked for: any object that behaves like its
`SpeechEncoder` will do. What that means is written down in `SpeechEncoderLike`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Protocol

import numpy as np
import numpy.typing as npt

from sld_user_dir.arrays import FloatArray
from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.devices import torch_device
from sld_user_dir.interop.records import InteropError
from sld_user_dir.interop.sklearn_kmeans import import_sklearn
from sld_user_dir.manifests.provenance import UNKNOWN, UnitProvenance

if TYPE_CHECKING:
    from torch import Tensor

INSTALL = "textless-lib is not on PyPI; docs/interop.md says how to install it"


class SpeechEncoderLike(Protocol):
    """What is used of `textless.data.speech_encoder.SpeechEncoder`."""

    deduplicate: bool

    @property
    def vocab_size(self) -> int:
        """K; bos is K, eos K + 1, padding K + 2."""

    @property
    def expected_sample_rate(self) -> int:
        """In Hz."""

    @property
    def code_hop_size(self) -> int:
        """Samples from one unit to the next, before de-duplication."""

    def __call__(self, waveform: Tensor) -> dict[str, Tensor]:
        """float32 (n,) → `units` (N,), `durations` (N,), `dense` (T, D); durations add up to T."""


@dataclass(frozen=True)
class Encoded:
    """Units int32 (N,) from 0 to K - 1, and frames of each, int64 (N,)."""

    units: npt.NDArray[np.int32]
    durations: npt.NDArray[np.int64]


def encode(encoder: SpeechEncoderLike, wave: FloatArray) -> Encoded:
    """Units of a waveform (n,) at the encoder's sample rate, checked.

    Raises:
        InteropError: what comes back is not what `SpeechEncoderLike` promises.
    """
    import torch

    device = getattr(encoder, "device", "cpu")
    with torch.inference_mode():
        out = encoder(torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32)).to(device))
    units, durations = (_integers(out, name) for name in ("units", "durations"))
    if len(units) != len(durations):
        raise InteropError(
            None, f"the encoder gave {len(units)} units and {len(durations)} durations", "they belong together"
        )
    if units.size and not 0 <= units.min() <= units.max() < encoder.vocab_size:
        raise InteropError(
            None,
            f"the encoder gave unit {units.max()}, outside 0 … {encoder.vocab_size - 1}: bos, eos or padding?",
            "build it with add_bos_eos=False",
        )
    dense = out.get("dense")
    if dense is not None and len(dense) != durations.sum():
        raise InteropError(
            None,
            f"the durations add up to {durations.sum()} frames, `dense` has {len(dense)}",
            "they belong together: look at the encoder",
        )
    return Encoded(units.astype(np.int32), durations)


def _integers(out: dict[str, Tensor], name: str) -> npt.NDArray[np.int64]:
    if name not in out:
        raise InteropError(None, f"the encoder gave no {name!r}, only {sorted(out)}", "it is no SpeechEncoder")
    import torch

    values = torch.as_tensor(out[name]).cpu()
    if values.ndim != 1 or values.is_floating_point():
        raise InteropError(
            None, f"{name} of type {values.dtype} and shape {tuple(values.shape)}", "wanted whole numbers (N,)"
        )
    return np.asarray(values.numpy(), dtype=np.int64)


def encoder_provenance(encoder: SpeechEncoderLike, name: str, layer: Optional[int] = None) -> UnitProvenance:
    """Provenance of an encoder's units; the k-means is identified by its centroids where they can be seen."""
    quantizer = getattr(getattr(encoder, "quantizer_model", None), "kmeans_model", None)
    centroids = getattr(quantizer, "cluster_centers_", None)
    return UnitProvenance(
        encoder=name,
        layer=layer,
        frame_rate_hz=encoder.expected_sample_rate / encoder.code_hop_size,
        kmeans=UNKNOWN if centroids is None else KMeans(np.asarray(centroids, np.float32)).sha256,
        num_units=encoder.vocab_size,
        deduplicated=bool(encoder.deduplicate),
    )


@dataclass(frozen=True)
class EncoderSpec:
    """Which encoder to build: by textless-lib's names, or by a function of yours."""

    dense_model: str = "hubert-base-ls960"
    """textless-lib's name of the model, or how to call yours in the provenance"""
    quantizer: str = "kmeans"
    """textless-lib's name of the quantizer"""
    num_units: int = 100
    """units of its quantizer, K"""
    layer: Optional[int] = None
    """layer for the provenance; textless-lib's models tell theirs"""
    deduplicate: bool = False
    """collapse runs of a unit, and write their durations"""
    factory: Optional[str] = None
    """`module:function` that returns an object like SpeechEncoder, instead of textless-lib"""
    own_kmeans: Optional[Path] = None
    """joblib file of sld export-kmeans: take this quantizer instead of textless-lib's"""

    def build(self) -> tuple[SpeechEncoderLike, UnitProvenance]:
        """The encoder, and what its units will be.

        Raises:
            InteropError: it cannot be imported, or has another K or de-duplication than was asked for.
        """
        encoder = self._from_factory() if self.factory else self._by_name()
        if encoder.vocab_size != self.num_units:
            raise InteropError(
                None,
                f"the quantizer has {encoder.vocab_size} units, --num-units is {self.num_units}",
                "correct one of the two",
            )
        if bool(encoder.deduplicate) != self.deduplicate:
            raise InteropError(
                None,
                f"the encoder has deduplicate={encoder.deduplicate}, asked for was {self.deduplicate}",
                "correct --deduplicate, or the factory",
            )
        name = self.dense_model if self.factory else f"textless:{self.dense_model}"
        return encoder, encoder_provenance(encoder, name, self.layer if self.factory else self._layer())

    def _from_factory(self) -> SpeechEncoderLike:
        module, _, function = str(self.factory).partition(":")
        try:
            made: SpeechEncoderLike = getattr(importlib.import_module(module), function)()
        except (ImportError, AttributeError, ValueError) as error:
            raise InteropError(f"--factory {self.factory}", str(error), "name it as module:function") from error
        return made

    def _by_name(self) -> SpeechEncoderLike:
        textless = _textless("textless.data.speech_encoder")
        if self.own_kmeans is not None:
            register_quantizer(self.own_kmeans, self.dense_model, self.num_units)
        encoder = textless.SpeechEncoder.by_name(
            dense_model_name=self.dense_model,
            quantizer_model_name=self.quantizer,
            vocab_size=self.num_units,
            deduplicate=self.deduplicate,
            need_f0=False,
        )
        made: SpeechEncoderLike = encoder.to(torch_device("auto"))
        return made

    def _layer(self) -> Optional[int]:
        known = _textless("textless").DENSE_MODELS.get(self.dense_model)
        return self.layer if known is None else int(known[2])


def _textless(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InteropError(None, str(error), INSTALL) from error


def register_quantizer(path: Path, dense_model: str, num_units: int) -> str:
    """Make an exported k-means known to textless-lib, as its `kmeans` quantizer of K units.

    Returns:
        the name under which `SpeechEncoder.by_name(dense_model, "kmeans", num_units, …)` finds it.

    Raises:
        InteropError: the file holds no k-means, or one of another K.
    """
    found = import_sklearn(Path(path), trust_pickle=True)  # as textless-lib itself will load it
    if found.num_units != num_units:
        raise InteropError(
            path,
            f"a quantizer of K={found.num_units}, asked for is K={num_units}",
            "correct --num-units, or name the quantizer of that K",
        )
    manager = _textless("textless.checkpoint_manager")
    name = f"{dense_model}-kmeans-{num_units}"
    # an absolute name stays as it is when textless-lib joins it to its folder
    checkpoint = manager.Checkpoint(name, "", str(Path(path).resolve()), "")
    manager.CHECKPOINT_MANAGER.storage.pop(name, None)
    manager.CHECKPOINT_MANAGER.add_checkpoint(checkpoint)
    return name
