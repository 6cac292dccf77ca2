"""What an encoder is, and the table of all of them.

An encoder turns waveforms into frames. Its file in `features/encoders/` is found by itself: it says which names of
`--features` belong to it and how to load it. docs/guides/add_an_encoder.md shows how to write one.

All of these files are imported when a name is looked up, so that MFCC would pay for what the others need. So a file
imports torch, transformers and the like where it loads its encoder, not at its top.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Callable, Dict, List, NamedTuple, Optional, Protocol, Tuple

from sld_user_dir.arrays import FloatArray
from sld_user_dir.devices import check_device
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
    pads: bool
    """Whether `--pad-to-seconds` is for it."""
    sums_layers: bool
    """Whether `--layers` is for it."""
    trains: bool
    """Whether its weights can be trained: it is loaded as `trained_encoder` saves it."""


_SOURCES: Dict[str, EncoderSource] = {}


def register_encoder(
    name: str,
    claims: Callable[[str], bool],
    has_layers: bool = True,
    takes_the_rest: bool = False,
    pads: bool = False,
    sums_layers: bool = False,
    trains: bool = False,
) -> Callable[[Callable[..., FrameEncoder]], Callable[..., FrameEncoder]]:
    """Decorator of a function that loads an encoder.

    Args:
        claims: which values of `--features` are its.
        has_layers: `--layer` must be given; else it must not.
        takes_the_rest: it is asked only where no other source claims a name.
        pads: it can fill recordings up with silence, `--pad-to-seconds`.
        sums_layers: for `--layers` it gives the states of all of them side by side, (T, L * D).
        trains: it is a `ChunkedEncoder` over a model of transformers, which can be saved with other weights.
    """

    def register(load: Callable[..., FrameEncoder]) -> Callable[..., FrameEncoder]:
        _SOURCES[name] = EncoderSource(name, claims, load, has_layers, takes_the_rest, pads, sums_layers, trains)
        return load

    return register


def encoder_sources() -> List[EncoderSource]:
    """All registered sources, those that take the rest last."""
    from sld_user_dir.features import encoders

    for module in sorted(found.name for found in pkgutil.iter_modules(encoders.__path__)):
        importlib.import_module(f"{encoders.__name__}.{module}")
    return sorted(_SOURCES.values(), key=_generality)


def _generality(source: EncoderSource) -> Tuple[bool, bool]:
    """Small for those that are asked first: before sources of another framework, which claim whole endings."""
    return source.takes_the_rest, source.load.__module__ in LAZY_SOURCES.values()


def source_of(features: str) -> EncoderSource:
    """The source that claims a value of `--features`.

    Raises:
        EncoderError: there is none, or its framework is not installed.
    """
    found = _claiming(features)
    if found is None or found.takes_the_rest:
        _import_lazy_source(features)
        found = _claiming(features)
    if found is None:
        known = ", ".join(source.name for source in encoder_sources())
        raise EncoderError(f"--features {features}", "no such encoder", f"there are {known}")
    return found


def _import_lazy_source(features: str) -> None:
    for ending, module in LAZY_SOURCES.items():
        if features.endswith(ending):
            try:
                importlib.import_module(module)
            except ImportError as error:
                problem = f"what loads {ending} files cannot be imported ({error})"
                raise EncoderError(
                    f"--features {features}", problem, "install requirements.txt (make setup)"
                ) from error


def _claiming(features: str) -> Optional[EncoderSource]:
    return next((source for source in encoder_sources() if source.claims(features)), None)


def load_encoder(config: FeatureConfig, device: str = "auto", batch_seconds: float = 60.0) -> FrameEncoder:
    """The encoder of a description.

    Args:
        device: for neural encoders; see `sld_user_dir.devices`.
        batch_seconds: audio that a neural encoder takes at a time.

    Raises:
        EncoderError: it cannot be loaded, or has no such layer.
        DeviceError: no such device.
    """
    check_device(device)  # for MFCC, too, which takes none
    source = source_of(config.features)
    check_options(source, config)
    return source.load(config, device, batch_seconds)


def check_options(source: EncoderSource, config: FeatureConfig) -> None:
    """Whether a description is one of an encoder of this kind.

    Raises:
        EncoderError: it has an option that the kind lacks, or lacks one that it needs.
    """
    _check_layers(source, config)
    if config.pad_to_seconds is not None and not source.pads:
        raise EncoderError(
            f"--features {config.features} --pad-to-seconds {config.pad_to_seconds:g}",
            "only Whisper was trained on recordings filled up with silence",
            "leave --pad-to-seconds out",
        )


def _check_layers(source: EncoderSource, config: FeatureConfig) -> None:
    """Whether the layers that are asked for fit the source."""
    if source.has_layers and not config.layer_numbers:
        raise EncoderError(f"--features {config.features}", "it has layers", "say which to take, for example --layer 9")
    if not source.has_layers and config.layer is not None:
        raise EncoderError(
            f"--features {config.features} --layer {config.layer}", "it has no layers", "leave --layer out"
        )
    if config.layers is not None and not source.sums_layers:
        problem, remedy = "it has no layers", "leave --layers out"
        if source.has_layers:
            problem, remedy = "it gives one layer at a time", "take one by --layer"
        raise EncoderError(f"--features {config.features} --layers {config.layers}", problem, remedy)


def check_layer(name: str, layer: int, n_layers: int) -> None:
    """Whether a model has a layer; 0, the first block's input, is one.

    Raises:
        EncoderError: it has not.
    """
    if layer > n_layers:
        raise EncoderError(
            f"--layer {layer}", f"{name} has layers 0 to {n_layers}", "take one of them, or the model that was meant"
        )
