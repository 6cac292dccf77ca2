"""Recordings in every container that the package reads, and as they are after an accident."""

import io
from typing import Dict, Tuple

import numpy as np
import soundfile

RATE_HZ = 16_000
FORMATS: Dict[str, Tuple[str, str]] = {
    "wav": ("WAV", "PCM_16"),
    "wav 24 bit": ("WAV", "PCM_24"),
    "wav float": ("WAV", "FLOAT"),
    "wav mu-law": ("WAV", "ULAW"),
    "wav ADPCM": ("WAV", "IMA_ADPCM"),
    "wav GSM": ("WAV", "GSM610"),
    "wavex": ("WAVEX", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg vorbis": ("OGG", "VORBIS"),
    "ogg opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "aifc": ("AIFF", "ULAW"),
    "au": ("AU", "PCM_16"),
    "au little-endian": ("AU", "PCM_16"),
    "au G.721": ("AU", "G721_32"),
    "sph": ("NIST", "PCM_16"),
    "sph mu-law": ("NIST", "ULAW"),
    "caf": ("CAF", "PCM_16"),
    "8svx": ("SVX", "PCM_16"),
    "htk": ("HTK", "PCM_16"),
}
"""Container and coding by name, as libsndfile calls them."""
ID3 = b"ID3\x04\0\0\0\0\x02\x10" + b"\xff\xfb" * 136
"""A tag of 272 bytes, that look like frames of MP3"""


def length_field(kind: str) -> Tuple[bytes, int, str]:
    """Where a kind of FORMATS states the bytes of its samples: what stands so many bytes before, and the layout."""
    return {
        "au": (b".snd", 8, ">I"),
        "au little-endian": (b"dns.", 8, "<I"),
        "aiff": (b"SSND", 4, ">I"),
        "8svx": (b"BODY", 4, ">I"),
        "caf": (b"data", 4, ">Q"),
        "rf64": (b"ds64", 16, "<Q"),
        "w64": (b"data\xf3\xac\xd3\x11", 16, "<Q"),
    }.get(kind, (b"data", 4, "<I"))


def noisy_tone(seconds: float = 2.0, rate_hz: int = RATE_HZ, seed: int = 0) -> np.ndarray:
    """A tone in noise: every codec spends bytes on all of it."""
    n = int(seconds * rate_hz)
    noise = 0.05 * np.random.default_rng(seed).standard_normal(n)
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(n) / rate_hz) + noise).astype(np.float32)


def encoded(kind: str, wave: np.ndarray, rate_hz: int = RATE_HZ) -> bytes:
    """A file of one of FORMATS."""
    container, coding = FORMATS[kind]
    buffer = io.BytesIO()
    endian = "LITTLE" if kind.endswith("little-endian") else "FILE"
    soundfile.write(buffer, wave, rate_hz, format=container, subtype=coding, endian=endian)
    return buffer.getvalue()


def mp3_of_constant_bit_rate(seconds: float = 2.0, rate_hz: int = RATE_HZ, stated: bool = True) -> bytes:
    """With the frame that states their number or without it."""
    buffer = io.BytesIO()
    coding = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT"}
    soundfile.write(buffer, noisy_tone(seconds, rate_hz), rate_hz, compression_level=0.5, **coding)
    content = buffer.getvalue()
    return content if stated else content[content.index(content[:2], 4) :]
