"""The first stream of a neural codec that Hugging Face transformers knows: Mimi, EnCodec, DAC.

`--tokenizer codec:kyutai/mimi` (12.5 codes a second, K = 2,048; its first stream was taught by WavLM),
`codec:facebook/encodec_24khz` (75, K = 1,024), `codec:descript/dac_16khz` (50, K = 1,024), or a directory of
`save_pretrained`. A recording is padded with zeros to a whole number of frames and encoded by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List

import numpy as np

from sld_user_dir.arrays import FloatArray, UnitArray
from sld_user_dir.errors import reason_of
from sld_user_dir.files import refuse_lfs_pointer
from sld_user_dir.pretrained_files import refuse_unreadable_files
from sld_user_dir.speech_tokenizers.speech_tokenizer import SpeechTokenizer, TokenizerError
from sld_user_dir.speech_tokenizers.tokenizer_fingerprint import fingerprint_of
from sld_user_dir.speech_tokenizers.tokenizer_lookup import register_tokenizer

if TYPE_CHECKING:
    from torch import Tensor

KNOWN = ("mimi", "encodec", "dac")
DECODER_PARTS = ("decoder", "upsample", "decoder_transformer")
"""Modules that codes do not depend on."""


class CodecFirstStream:
    """Waveform (n_samples,) at the codec's rate to ceil(n_samples / hop) codes of its first quantizer."""

    def __init__(self, model: Any, where: str, device: Any) -> None:
        config = model.config
        if config.model_type not in KNOWN:
            raise TokenizerError(where, f"{config.model_type} is no codec known here", f"take {', '.join(KNOWN)}")
        if getattr(config, "audio_channels", 1) not in (None, 1) or getattr(config, "normalize", False):
            raise TokenizerError(where, "it codes stereo, or audio of normalised loudness", "take a mono codec")
        for part in DECODER_PARTS:
            if hasattr(model, part):
                delattr(model, part)
        self._model, self._kind, self._device = model.to(device).eval(), config.model_type, device
        self.name = f"{config.model_type}-stream0"
        self.fingerprint = fingerprint_of(model)
        self.sample_rate_hz = int(config.sampling_rate)
        self._hop = int(config.frame_size if config.model_type == "mimi" else config.hop_length)
        self.frame_rate_hz = self.sample_rate_hz / self._hop
        self.num_units = int(config.codebook_size)

    def n_codes(self, n_samples: int) -> int:
        """One for each hop that has begun."""
        return -(-n_samples // self._hop)

    def encode_batch(self, waves: List[FloatArray]) -> List[UnitArray]:
        """One after the other: convolutions would see the padding of a batch."""
        return [self._encode(wave) for wave in waves]

    def _encode(self, wave: FloatArray) -> UnitArray:
        import torch

        padded = np.zeros(self.n_codes(len(wave)) * self._hop, dtype=np.float32)
        padded[: len(wave)] = wave
        with torch.inference_mode():
            codes = self._first_stream(torch.from_numpy(padded)[None, None].to(self._device))
        return codes.cpu().numpy().astype(np.int32)

    def _first_stream(self, wave: Tensor) -> Tensor:
        """(1, 1, n_samples) -> codes (T,)."""
        if self._kind == "mimi":
            codes = self._model.encode(wave, num_quantizers=1).audio_codes  # (B, Q, T)
        elif self._kind == "encodec":
            bandwidth = min(self._model.config.target_bandwidths)
            codes = self._model.encode(wave, bandwidth=bandwidth).audio_codes[0]  # (chunks, B, Q, T)
        else:
            codes = self._model.encode(wave, n_quantizers=1).audio_codes  # (B, Q, T)
        first: Tensor = codes[0, 0]
        return first


@register_tokenizer("codec")
def load(argument: str, device: str) -> SpeechTokenizer:
    """A codec of transformers: a local directory or hub name."""
    from sld_user_dir.devices import torch_device

    where = f"--tokenizer codec:{argument}"
    if not argument:
        raise TokenizerError(where, "no codec is named", "write codec:DIRECTORY, or codec:NAME of the hub")
    refuse_lfs_pointer(argument, TokenizerError)
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError as error:
        problem = f"transformers, which loads it, cannot be imported ({error})"
        raise TokenizerError(where, problem, "pip install 'transformers>=5'") from error
    try:
        kind = AutoConfig.from_pretrained(argument).model_type
        if kind not in KNOWN:
            raise TokenizerError(where, f"{kind} is no codec known here", f"take {', '.join(KNOWN)}")
        model = AutoModel.from_pretrained(argument)
    except TokenizerError:
        raise
    except Exception as error:  # transformers, its hub and safetensors raise many kinds
        refuse_unreadable_files(argument, TokenizerError)
        reason = reason_of(error)
        raise TokenizerError(
            where,
            f"transformers cannot load it ({reason})",
            "give a directory with config.json and the weights, as save_pretrained writes it, or fetch the name once "
            "where there is a network",
        ) from error
    return CodecFirstStream(model, where, torch_device(device))
