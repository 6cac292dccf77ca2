"""What an encoder is, and the table of all of them.

An encoder turns waveforms into frames. Its file in `features/encoders/` is found by itself: it says which names of
`--features` belong to it and how to load it. docs/guides/add_an_encoder.md shows how to write one.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Callable, Dict, List, NamedTuple, Optional, Protocol

from sld_user_dir.arrays import FloatArray
from sld_user_dir.errors import InputError
from sld_user_dir.features.feature_config import FeatureConfig

LAZY_SOURCES = {".pt": "sld_user_dir.models.fairseq_encoders"}
"""Modules that register a source once a name with this ending is asked for: they bring a framework with them."""


class EncoderError(InputError):
    """An encoder that cannot be loaded or used; the message tells why and what to do."""


class FrameEncoder(Protocol):
    """Waveforms to frames; `encoder` names whatever changes the result, weights included."""

    sample_rate_hz: int
    frame_rate_hz: float
    dim: int
    layer: Optional[int]
    encoder: str
    model_name: str

    def n_frames(self, n_samples: int) -> int:
        """Frames of a waveform of that many samples."""

    def working_bytes(self) -> int:
        """Upper estimate of the memory that encoding takes, beside audio and frames."""

    def encode_batch(self, waves: List[FloatArray]) -> List[FloatArray]:
        """Frames (T, dim) of each waveform, as if it had come alone."""


class EncoderSource(NamedTuple):
    """A kind of encoders, and how to load one."""

    name: str
    claims: Callable[[str], bool]
    """Whether a value of `--features` is its."""
    load: Callable[[FeatureConfig, str, float], FrameEncoder]
    """Of a description, a device and the seconds of audio that a neural encoder takes at a time."""
    has_layers: bool
    takes_the_rest: bool


_SOURCES: Dict[str, EncoderSource] = {}


def register_encoder(
    name: str, claims: Callable[[str], bool], has_layers: bool = True, takes_the_rest: bool = False
) -> Callable[[Callable[..., FrameEncoder]], Callable[..., FrameEncoder]]:
    """Decorator of a function that loads an encoder.

    Args:
        claims: which values of `--features` are its.
        has_layers: `--layer` must be given; else it must not.
        takes_the_rest: it is asked only where no other source claims a name.
    """

    def register(load: Callable[..., FrameEncoder]) -> Callable[..., FrameEncoder]:
        _SOURCES[name] = EncoderSource(name, claims, load, has_layers, takes_the_rest)
        return load

    return register


def encoder_sources() -> List[EncoderSource]:
    """All registered sources, those that take the rest last."""
    from sld_user_dir.features import encoders

    for module in sorted(found.name for found in pkgutil.iter_modules(encoders.__path__)):
        importlib.import_module(f"{encoders.__name__}.{module}")
    return sorted(_SOURCES.values(), key=lambda source: source.takes_the_rest)


def source_of(features: str) -> EncoderSource:
    """The source that claims a value of `--features`.

    Raises:
        EncoderError: there is none.
    """
    found = _claiming(features)
    if found is None or found.takes_the_rest:
        for ending, module in LAZY_SOURCES.items():
            if features.endswith(ending):
                importlib.import_module(module)
        found = _claiming(features)
    if found is None:
        known = ", ".join(source.name for source in encoder_sources())
        raise EncoderError(f"--features {features}", "no such encoder", f"there are {known}")
    return found


def _claiming(features: str) -> Optional[EncoderSource]:
    return next((source for source in encoder_sources() if source.claims(features)), None)


def load_encoder(config: FeatureConfig, device: str = "auto", batch_seconds: float = 60.0) -> FrameEncoder:
    """The encoder of a description.

    Args:
        device: for neural encoders; see `sld_user_dir.devices`.
        batch_seconds: audio that a neural encoder takes at a time.

    Raises:
        EncoderError: it cannot be loaded, or has no such layer.
    """
    source = source_of(config.features)
    if source.has_layers and config.layer is None:
        raise EncoderError(f"--features {config.features}", "it has layers", "say which to take, for example --layer 9")
    if not source.has_layers and config.layer is not None:
        raise EncoderError(
            f"--features {config.features} --layer {config.layer}", "it has no layers", "leave --layer out"
        )
    return source.load(config, device, batch_seconds)
