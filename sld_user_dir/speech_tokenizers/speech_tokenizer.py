"""What a speech tokenizer is, and what is checked of one: what it says of itself, and the codes that it gives."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, List, Protocol, Sequence, Union

import numpy as np
import numpy.typing as npt

from sld_user_dir.arrays import FloatArray, UnitArray
from sld_user_dir.errors import InputError
from sld_user_dir.manifests.provenance import OWN_CODES, UnitProvenance

RATE_TOLERANCE = 0.01
"""Share by which the codes of an hour may differ from `frame_rate_hz`."""
CORRECT_IT = "correct its file"


class TokenizerError(InputError):
    """A speech tokenizer that cannot be loaded, or breaks its promise; the message tells what to do."""


class SpeechTokenizer(Protocol):
    """Waveforms to codes 0 … num_units - 1, about `frame_rate_hz` of them a second.

    Attributes:
        name: what people call it; no white space.
        fingerprint: changes whenever the codes do, by `fingerprint_of` over weights and settings.
        sample_rate_hz: audio is brought to this rate before it is encoded.
        num_units: K.
    """

    name: str
    fingerprint: str
    sample_rate_hz: int
    frame_rate_hz: float
    num_units: int

    def n_codes(self, n_samples: int) -> int:
        """Codes of a waveform of that many samples; 0 where it is too short."""

    def encode_batch(self, waves: List[FloatArray]) -> Sequence[npt.NDArray[Any]]:
        """Codes (n_codes,) of each waveform (n_samples,), as if it had come alone."""


def check_tokenizer(tokenizer: Any, where: str) -> SpeechTokenizer:
    """The tokenizer itself, if what it says of itself can be.

    Args:
        where: how the user named it, for messages.

    Raises:
        TokenizerError: an attribute or method is missing or has no sense, or `n_codes` counts at another rate than
            `frame_rate_hz`.
    """
    wanted = ("name", "fingerprint", "sample_rate_hz", "frame_rate_hz", "num_units", "n_codes", "encode_batch")
    missing = [one for one in wanted if not hasattr(tokenizer, one)]
    if missing:
        problem = f"{type(tokenizer).__name__} is no speech tokenizer: it has no {', '.join(missing)}"
        raise TokenizerError(where, problem, "write it as docs/guides/add_a_tokenizer.md shows")
    for attribute in ("name", "fingerprint"):
        value = getattr(tokenizer, attribute)
        if not isinstance(value, str) or not value or value.split() != [value]:
            raise TokenizerError(where, f"its {attribute} is {value!r}, not one word", CORRECT_IT)
    for attribute in ("sample_rate_hz", "num_units"):
        value = getattr(tokenizer, attribute)
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
            raise TokenizerError(where, f"its {attribute} is {value!r}, no whole number above 0", CORRECT_IT)
    _check_rate(tokenizer, where)
    checked: SpeechTokenizer = tokenizer
    return checked


def _check_rate(tokenizer: SpeechTokenizer, where: str) -> None:
    stated = float(tokenizer.frame_rate_hz)
    counted = tokenizer.n_codes(3600 * int(tokenizer.sample_rate_hz)) / 3600
    if not math.isfinite(stated) or stated <= 0 or abs(counted - stated) > RATE_TOLERANCE * stated:
        raise TokenizerError(
            where,
            f"it states {stated:g} codes a second, but its n_codes counts {counted:g} at {tokenizer.sample_rate_hz} Hz",
            "correct frame_rate_hz, sample_rate_hz or n_codes in its file",
        )


def checked_codes(tokenizer: SpeechTokenizer, codes: Any, n_samples: int, path: Union[str, Path]) -> UnitArray:
    """Codes of one recording as int32 (n_codes,).

    Args:
        codes: what `encode_batch` gave for it.
        n_samples: length of its waveform at the tokenizer's rate.
        path: the recording, for messages.

    Raises:
        TokenizerError: names the recording: no whole numbers, another number of them than `n_codes` says, or one
            outside 0 … num_units - 1.
    """
    array = np.asarray(codes)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TokenizerError(
            path,
            f"{tokenizer.name} gave {array.dtype} of shape {array.shape}, not whole numbers of shape (n_codes,)",
            "return one array of integers for each waveform from encode_batch: one stream of a codec",
        )
    expected = tokenizer.n_codes(n_samples)
    if len(array) != expected:
        raise TokenizerError(
            path,
            f"{tokenizer.name} gave {len(array)} codes for {n_samples} samples at {tokenizer.sample_rate_hz} Hz, "
            f"but its n_codes says {expected}",
            "cut off what belongs to padding in encode_batch, or correct n_codes",
        )
    outside = array[(array < 0) | (array >= tokenizer.num_units)]
    if len(outside):
        raise TokenizerError(
            path,
            f"{tokenizer.name} gave code {outside[0]}, outside its 0 … {tokenizer.num_units - 1}",
            "correct num_units, or let encode_batch give codes without an offset and without special tokens",
        )
    return array.astype(np.int32)


def provenance_of(tokenizer: SpeechTokenizer, deduplicated: bool = False) -> UnitProvenance:
    """What a manifest says of units that are this tokenizer's codes."""
    return UnitProvenance(
        encoder=f"{tokenizer.name}@{tokenizer.fingerprint}:{tokenizer.sample_rate_hz}Hz",
        layer=None,
        frame_rate_hz=float(tokenizer.frame_rate_hz),
        kmeans=OWN_CODES,
        num_units=int(tokenizer.num_units),
        deduplicated=deduplicated,
    )
