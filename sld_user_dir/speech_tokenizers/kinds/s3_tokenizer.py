"""The S3 tokenizers of CosyVoice by the package `s3tokenizer` (`pip install s3tokenizer`, 0.3.0).

`--tokenizer s3:/models/speech_tokenizer_v2_25hz.onnx`: the name of the file tells the package which model it is, v1
(50 or 25 codes a second, K = 4,096) or, by FSQ, v2 and v3 (25, K = 6,561). A name of the package's own, such as
`s3:speech_tokenizer_v2_25hz`, lets it fetch the file. Recordings of more than 30 seconds go in pieces of 26 seconds
that see 2 seconds on either side: the package's own windows lose up to 2 seconds at the end of some lengths.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Iterator, List, Tuple

import numpy as np

from sld_user_dir.arrays import FloatArray, UnitArray
from sld_user_dir.files import refuse_lfs_pointer
from sld_user_dir.speech_tokenizers.speech_tokenizer import SpeechTokenizer, TokenizerError
from sld_user_dir.speech_tokenizers.tokenizer_fingerprint import fingerprint_of
from sld_user_dir.speech_tokenizers.tokenizer_lookup import register_tokenizer

SAMPLE_RATE_HZ = 16000
MEL_HOP = 160  # samples from one frame of the log-mel spectrogram to the next
PIECE_FRAMES, CONTEXT_FRAMES = 2600, 200
PIECES_AT_A_TIME = 8
OF_25_HZ = "speech_tokenizer_v1_25hz"


class S3Codes:
    """Waveform (n_samples,) at 16 kHz to one code each 2 (v1 of 50 Hz) or 4 frames of 10 ms."""

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self, model: Any, name: str, device: Any) -> None:
        self._model, self._device = model.to(device).eval(), device
        strides = (model.encoder.conv1.stride, model.encoder.conv2.stride)
        self._frames_a_code = math.prod(stride[0] if isinstance(stride, tuple) else stride for stride in strides)
        self.name = name
        self.fingerprint = fingerprint_of(model, [PIECE_FRAMES, CONTEXT_FRAMES])
        self.num_units = int(model.config.n_codebook_size)
        self.frame_rate_hz = SAMPLE_RATE_HZ / MEL_HOP / self._frames_a_code

    def n_codes(self, n_samples: int) -> int:
        """Convolutions over whole frames of the spectrogram, padded at its end."""
        return -(-(n_samples // MEL_HOP) // self._frames_a_code)

    def encode_batch(self, waves: List[FloatArray]) -> List[UnitArray]:
        """Padded batches of pieces; the package masks the padding."""
        import s3tokenizer
        import torch

        found: List[List[UnitArray]] = [[] for _ in waves]
        pieces = []
        for i, wave in enumerate(waves):
            mel = s3tokenizer.log_mel_spectrogram(torch.from_numpy(wave), n_mels=self._model.config.n_mels)
            pieces += [(i, mel[:, left:right], first - left, last - first) for left, first, last, right in _spans(mel)]
        for start in range(0, len(pieces), PIECES_AT_A_TIME):
            batch = pieces[start : start + PIECES_AT_A_TIME]
            padded, lengths = s3tokenizer.padding([mel for _, mel, _, _ in batch])
            codes, _ = self._model.quantize(padded.to(self._device), lengths.to(self._device))
            for (i, _, skip, n_frames), row in zip(batch, codes.cpu().numpy()):
                skipped = skip // self._frames_a_code
                found[i].append(row[skipped : skipped - (-n_frames // self._frames_a_code)].astype(np.int32))
        return [np.concatenate(of_one) if of_one else np.zeros(0, np.int32) for of_one in found]


def _spans(mel: Any) -> Iterator[Tuple[int, int, int, int]]:
    """Of each piece of a spectrogram (n_mels, T): where it begins with and without context, and where it ends."""
    n_frames = mel.shape[1]
    length = n_frames if n_frames <= PIECE_FRAMES + 2 * CONTEXT_FRAMES else PIECE_FRAMES
    for first in range(0, n_frames, max(1, length)):
        last = min(n_frames, first + length)
        yield max(0, first - CONTEXT_FRAMES), first, last, min(n_frames, last + CONTEXT_FRAMES)


@register_tokenizer("s3")
def load(argument: str, device: str) -> SpeechTokenizer:
    """An .onnx file of CosyVoice, or a name that the package knows."""
    from sld_user_dir.devices import torch_device

    where = f"--tokenizer s3:{argument}"
    refuse_lfs_pointer(argument, TokenizerError)
    try:
        import s3tokenizer
    except ImportError as error:
        problem = f"s3tokenizer cannot be imported ({error})"
        raise TokenizerError(where, problem, "pip install s3tokenizer, with the torchaudio of your torch") from error
    if Path(argument).stem == OF_25_HZ != argument:  # by a path, the package takes it for the one of 50 Hz
        raise TokenizerError(where, "the package knows this model by its name only", f"write s3:{OF_25_HZ}")
    try:
        model = s3tokenizer.load_model(argument)
    except (RuntimeError, OSError) as error:
        remedy = "give the .onnx file of CosyVoice; its name must hold v1, v2 or v3, as the published ones do"
        raise TokenizerError(where, f"s3tokenizer cannot load it ({error})", remedy) from error
    return S3Codes(model, Path(argument).stem, torch_device(device))
