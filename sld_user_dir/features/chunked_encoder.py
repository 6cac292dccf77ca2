"""Frames of a Transformer encoder over waveforms, in batches and in pieces, whichever library its model is from.

**Layers** count from 1: layer L is the output of the L-th transformer block, before any final
layer norm; 0 is the first block's input. This is `output_layer=L` of fairseq and
`hidden_states[L]` of transformers 5 (version 4 normalised the last layer of pre-norm models). Blocks
above L are not even loaded to the device.

**No padding leaks**: what comes before the transformer, such as convolutions whose group norm averages
over time, runs recording by recording; only the transformer is batched, with a mask.

**Long recordings** go in pieces with context on both sides; the frames of the pieces join to
exactly `n_frames(n_samples)`. What is measured on a waveform as a whole, its mean and variance or the peak of its
spectrogram, is measured on the recording, not on its pieces.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import Callable, Optional, Protocol, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sld_user_dir.arrays import FloatArray
from sld_user_dir.devices import torch_device
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError
from sld_user_dir.features.frame_geometry import EncoderTraits

logger = logging.getLogger(__name__)
DEFAULT_CHUNK_SECONDS = 30.0


class EncoderBackend(Protocol):
    """One library's model, cut off after the wanted layer."""

    traits: EncoderTraits
    model: nn.ModuleDict
    """all weights that are used, and no others: its digest stands in the encoder's name"""

    def embed(self, wave: Tensor, peak: Optional[float] = None) -> Tensor:
        """(1, n_samples) in float32 -> what the transformer reads, (1, T, D).

        Convolutions over the waveform, or a spectrogram and convolutions over it. T is
        `traits.geometry.n_frames(n_samples)`, or more where the model fills up with silence.

        Args:
            peak: of the recording that `wave` is a piece of, by `peak`; None: `wave` is all of it.
        """

    def peak(self, wave: Tensor) -> Optional[float]:
        """What `embed` wants to know of a whole recording, (1, n_samples), for each of its pieces; None: nothing."""

    def contextualise(self, embedded: Tensor, padding: Tensor) -> Tensor:
        """(B, T, D), padding (B, T) True where there is none of a recording -> the layer's output, (B, T, D)."""

    def hidden_states(self, embedded: Tensor, padding: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Of `contextualise`, the outputs of several layers; see `sld_user_dir.features.hidden_states`."""


@dataclass(frozen=True)
class _Piece:
    """Frames `first` to `last` (exclusive) of a recording, computed on a wider stretch."""

    recording: int
    wave: FloatArray
    skip: int  # frames of left context
    n_frames: int
    peak: Optional[float] = None  # of the recording, where it is in several pieces


class ChunkedEncoder:
    """Waveforms -> frames of one layer, or of several side by side; a `FrameEncoder`."""

    def __init__(
        self, backend: EncoderBackend, config: FeatureConfig, device: torch.device, batch_seconds: float
    ) -> None:
        self._backend, self._config, self._device = backend, config, device
        traits = backend.traits
        self._geometry = traits.geometry
        self.layer: Optional[int] = config.layer
        self.sample_rate_hz, self.dim = traits.sample_rate_hz, traits.dim * len(config.layer_numbers)
        self.frame_rate_hz = traits.sample_rate_hz / self._geometry.hop
        self.model_name = config.features
        self.on_gpu = device.type == "cuda"
        self._batch_frames = max(1, int(batch_seconds * self.frame_rate_hz))
        self._chunk_seconds = _chunk_seconds(config, traits)
        self.encoder = (
            f"{traits.model_type}@{weights_digest(backend.model)}:{traits.sample_rate_hz}Hz"
            f"{':wavenorm' if traits.wave_norm_eps is not None else ''}{':fp16' if config.fp16 else ''}"
            f":chunk{self._chunk_seconds:g}+{config.context_seconds:g}s"
            f"{f':pad{config.pad_to_seconds:g}s' if config.pad_to_seconds is not None else ''}"
        )
        self._dtype = torch.float16 if config.fp16 else torch.float32
        backend.model.to(device=device, dtype=self._dtype).eval()

    def n_frames(self, n_samples: int) -> int:
        """Frames of a waveform of that many samples."""
        return self._geometry.n_frames(n_samples)

    def working_bytes(self) -> int:
        """Upper estimate of what encoding takes: the largest intermediate result in float32, four times."""
        seconds = self._chunk_seconds + 2 * self._config.context_seconds
        return int(4 * 4 * self._geometry.peak_values(seconds * self.sample_rate_hz))

    @torch.inference_mode()
    def encode_batch(self, waves: list[FloatArray]) -> list[FloatArray]:
        """Frames (T, dim) of each waveform, batched by length, as if each had come alone."""
        frames = [np.empty((self.n_frames(len(wave)), self.dim), np.float32) for wave in waves]
        pieces = [p for i, wave in enumerate(waves) for p in self._pieces(i, wave)]
        written = [0] * len(waves)
        place = {}
        for i, piece in enumerate(pieces):  # pieces of a recording come in order
            place[i] = written[piece.recording]
            written[piece.recording] += piece.n_frames
        order = sorted(range(len(pieces)), key=lambda i: -len(pieces[i].wave))
        while order:
            longest = max(1, self.n_frames(len(pieces[order[0]].wave)), self._backend.traits.padded_frames)
            size = max(1, self._batch_frames // longest)
            batch, order = order[:size], order[size:]
            for i, out in zip(batch, self._run([pieces[i] for i in batch])):
                frames[pieces[i].recording][place[i] : place[i] + pieces[i].n_frames] = out
        return frames

    @property
    def model(self) -> nn.ModuleDict:
        """All weights that are used."""
        return self._backend.model

    def differentiable_frames(self, waves: list[FloatArray]) -> list[Tensor]:
        """As `encode_batch`, in one batch, where the model is, with the gradient of its weights."""
        self._device = next(self.model.parameters()).device
        pieces = [p for i, wave in enumerate(waves) for p in self._pieces(i, wave)]
        frames: list[list[Tensor]] = [[] for _ in waves]
        for piece, out in zip(pieces, self._forward(pieces) if pieces else ()):
            frames[piece.recording].append(out[piece.skip : piece.skip + piece.n_frames])
        return [torch.cat(some) if some else torch.zeros(0, self.dim, device=self._device) for some in frames]

    def _pieces(self, recording: int, wave: FloatArray) -> list[_Piece]:
        eps, total = self._backend.traits.wave_norm_eps, self.n_frames(len(wave))
        if eps is not None and total:
            wave = (wave - wave.mean()) / np.sqrt(wave.var() + eps)
        length = max(1, int(self._chunk_seconds * self.frame_rate_hz))
        context = int(self._config.context_seconds * self.frame_rate_hz)
        if total <= length + 2 * context:
            return [_Piece(recording, wave, 0, total)] if total else []
        pieces, peak = [], self._backend.peak(self._tensor(wave))
        for first in range(0, total, length):
            last = min(first + length, total)
            left, right = max(0, first - context), min(total, last + context)
            start, end = self._geometry.span(left, right, len(wave))
            pieces.append(_Piece(recording, wave[start:end], first - left, last - first, peak))
        return pieces

    def _run(self, pieces: list[_Piece]) -> list[FloatArray]:
        out = self._forward(pieces).cpu().numpy()
        return [out[i, p.skip : p.skip + p.n_frames] for i, p in enumerate(pieces)]

    def _forward(self, pieces: list[_Piece]) -> Tensor:
        """(B, T, dim), with their context."""
        embedded = [self._backend.embed(self._tensor(piece.wave), piece.peak)[0] for piece in pieces]
        lengths = torch.tensor([len(one) for one in embedded], device=self._device)
        padded = nn.utils.rnn.pad_sequence(embedded, batch_first=True)  # (B, T, D)
        padding = torch.arange(padded.shape[1], device=self._device)[None] >= lengths[:, None]
        return self._states(padded, padding).float()

    def _states(self, padded: Tensor, padding: Tensor) -> Tensor:
        """(B, T, dim)."""
        if self._config.layers is None:
            return self._backend.contextualise(padded, padding)
        return torch.cat(self._backend.hidden_states(padded, padding, self._config.layer_numbers), dim=2)

    def _tensor(self, wave: FloatArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(wave, np.float32)).to(self._device)[None]


def _chunk_seconds(config: FeatureConfig, traits: EncoderTraits) -> float:
    """Length of a piece without its context.

    Raises:
        EncoderError: with its context it is longer than the model can take.
    """
    if traits.max_frames is None:
        return DEFAULT_CHUNK_SECONDS if config.chunk_seconds is None else config.chunk_seconds
    limit = traits.max_frames * traits.geometry.hop / traits.sample_rate_hz
    left = round(limit - 2 * config.context_seconds, 6)  # 30 - 2 * 0.1 is 29.8
    if left <= 0 or (config.chunk_seconds or 0) > left:
        chunk = "" if config.chunk_seconds is None else f"--chunk-seconds {config.chunk_seconds:g} "
        raise EncoderError(
            f"{chunk}--context-seconds {config.context_seconds:g}",
            f"{config.features} takes {limit:g} seconds at a time, a piece and its context on both sides together",
            f"take --chunk-seconds {left:g}, or less" if left > 0 else f"take a context below {limit / 2:g} seconds",
        )
    return left if config.chunk_seconds is None else config.chunk_seconds


def load_chunked_encoder(
    build: Callable[[str, int], EncoderBackend], config: FeatureConfig, device: str, batch_seconds: float
) -> ChunkedEncoder:
    """The encoder over a library's model.

    Args:
        build: makes the backend of a name, cut off after a layer.

    Raises:
        EncoderError: cannot be loaded, no such layer, or another sample rate.
        DeviceError: no GPU where one is asked for.
    """
    where = torch_device(device)
    if config.fp16 and where.type == "cpu":
        raise EncoderError("--fp16", "half precision is for GPUs", "take --nofp16 or --device cuda")
    if config.layer is not None and config.layer < 0:
        raise EncoderError(f"--layer {config.layer}", "layers count from 0, the first block's input", "take 0 or more")
    backend = build(config.features, max(config.layer_numbers))
    rate = backend.traits.sample_rate_hz
    if config.sample_rate_hz != rate:
        raise EncoderError(config.features, f"it wants {rate} Hz", f"take --sample-rate-hz {rate} (audio is resampled)")
    logger.info("%s, layer %s, on %s", config.features, ",".join(map(str, config.layer_numbers)), where)
    return ChunkedEncoder(backend, config, where, batch_seconds)


def weights_digest(model: nn.Module) -> str:
    """12 hex characters over all weights that are used, by name; independent of the file's form."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
