"""One description of the features (`FeatureConfig`), and the object that computes them.

The k-means file stores the description, so units are always extracted by the features that
the centroids were trained on, and the unit manifest's provenance is composed from it.
"""

from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Optional, Protocol

from sld_user_dir.features.cmvn import CmvnStats, normalise
from sld_user_dir.features.mfcc import MfccExtractor
from sld_user_dir.features.stacking import stack_frames, stacked_length
from sld_user_dir.features.waveform import FloatArray

NORMALISATIONS = ("none", "utterance", "speaker")


@dataclass(frozen=True)
class FeatureConfig:
    """Everything that changes the features; devices and batch sizes do not belong here."""

    features: str = "mfcc"
    """`mfcc`, or a HuBERT, WavLM or wav2vec 2.0 model: a local directory or hub name in
    Hugging Face's form, or a fairseq checkpoint ending in .pt"""

    sample_rate_hz: int = 16000
    """audio is resampled to this rate; 8000 suits telephone speech with MFCC"""

    layer: Optional[int] = None
    """transformer block whose output is taken, counted from 1; 0 is the first block's input"""

    normalise: str = "none"
    """mean and variance of each dimension: `none`, `utterance`, or `speaker` (all the
    recordings that the audio manifest gives a speaker)"""

    stack: int = 1
    """frames put side by side: 4 makes 40 ms units of MFCC, 2 of HuBERT's 20 ms frames"""

    fp16: bool = False
    """run a neural encoder in half precision (GPU only)"""

    chunk_seconds: float = 30.0
    """longer recordings go through a neural encoder in pieces of this length"""

    context_seconds: float = 2.0
    """speech that a piece sees on either side of itself"""

    def __post_init__(self) -> None:
        if self.normalise not in NORMALISATIONS:
            raise ValueError(f"normalise is one of {', '.join(NORMALISATIONS)}, not {self.normalise!r}")
        if self.stack < 1:
            raise ValueError(f"stack is at least 1, not {self.stack}")
        if self.features == "mfcc" and self.layer is not None:
            raise ValueError("mfcc has no layers: leave `layer` out")
        if self.features != "mfcc" and self.layer is None:
            raise ValueError(f"say which layer of {self.features} to take, for example `layer` 9")

    def to_dict(self) -> Dict[str, Any]:
        return asdict(self)


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


class FrontEnd:
    """Encoder, normalisation and stacking: waveforms -> the frames that are clustered."""

    def __init__(self, encoder: FrameEncoder, config: FeatureConfig) -> None:
        self._encoder = encoder
        self.config = config
        self.sample_rate_hz = encoder.sample_rate_hz
        self.layer = encoder.layer
        self.model_name = encoder.model_name
        self.dim = encoder.dim * config.stack
        self.frame_rate_hz = encoder.frame_rate_hz / config.stack

    @property
    def encoder(self) -> str:
        """Names all that changes the features, for provenance: `mfcc-39:8000Hz:mel23+cmvn-speaker+stack4`."""
        name = self._encoder.encoder
        if self.config.normalise != "none":
            name += f"+cmvn-{self.config.normalise}"
        return name + (f"+stack{self.config.stack}" if self.config.stack > 1 else "")

    @property
    def on_gpu(self) -> bool:
        """Whether the encoder runs on a GPU."""
        return getattr(self._encoder, "on_gpu", False)

    @property
    def wants_speakers(self) -> bool:
        """Statistics of each speaker must be gathered before frames can be made."""
        return self.config.normalise == "speaker"

    def n_frames(self, n_samples: int) -> int:
        """Frames of a waveform of that many samples (at `sample_rate_hz`)."""
        return stacked_length(self._encoder.n_frames(n_samples), self.config.stack)

    def __call__(self, wave: FloatArray, speaker: Optional[CmvnStats] = None) -> FloatArray:
        """Frames (T, dim) of one waveform at `sample_rate_hz`."""
        return self.encode_batch([wave], [speaker])[0]

    def encode_batch(
        self, waves: List[FloatArray], speakers: Optional[List[Optional[CmvnStats]]] = None
    ) -> List[FloatArray]:
        """Frames of each waveform, with its speaker's statistics where they are wanted."""
        batch = self._encoder.encode_batch(waves)
        return [self._finish(frames, speakers[i] if speakers else None) for i, frames in enumerate(batch)]

    def working_bytes(self) -> int:
        """Upper estimate of the memory that encoding takes, beside audio and frames."""
        return self._encoder.working_bytes()

    def add_speaker_stats(self, wave: FloatArray, stats: CmvnStats) -> None:
        """Take a waveform into its speaker's statistics (before stacking, as they are used)."""
        stats.add(self._encoder.encode_batch([wave])[0])

    def new_stats(self) -> CmvnStats:
        """Empty statistics for one speaker."""
        return CmvnStats(self._encoder.dim)

    def _finish(self, frames: FloatArray, speaker: Optional[CmvnStats]) -> FloatArray:
        if self.config.normalise == "speaker" and speaker is None:
            raise ValueError("normalise 'speaker' wants the speaker's statistics")
        if self.config.normalise != "none":
            frames = normalise(frames, speaker)
        return stack_frames(frames, self.config.stack)


def build_front_end(config: FeatureConfig, device: str = "auto", batch_seconds: float = 60.0) -> FrontEnd:
    """The front end of a description.

    Args:
        device: `auto`, `cpu` or `gpu`, for neural encoders.
        batch_seconds: audio that a neural encoder takes at a time.
    """
    if config.features == "mfcc":
        return FrontEnd(MfccExtractor(config.sample_rate_hz), config)
    from sld_user_dir.features.ssl_encoder import load_ssl_encoder  # torch only where it is needed

    return FrontEnd(load_ssl_encoder(config, device, batch_seconds), config)
