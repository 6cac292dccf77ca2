"""Our features as a torch module, such as textless-lib wants for its dense models."""

from __future__ import annotations

import torch
from torch import Tensor

from sld_user_dir.features.frame_encoder import EncoderError
from sld_user_dir.features.front_end import FrontEnd


class DenseFrontEnd(torch.nn.Module):
    """A front end as a dense model of textless-lib: `SpeechEncoder(DenseFrontEnd(…), KMeansQuantizer(path), …)`.

    With the k-means that `sld export-kmeans` wrote, the encoder gives the units of `sld units`. Features normalised by
    speaker are refused: a dense model sees one recording.
    """

    def __init__(self, front_end: FrontEnd):
        super().__init__()
        if front_end.wants_speakers:
            raise EncoderError(
                "--normalise speaker", "it needs all recordings of a speaker", "use --normalise utterance"
            )
        self.front_end = front_end
        self.expected_sample_rate = front_end.sample_rate_hz
        self.code_hop_size = round(front_end.sample_rate_hz / front_end.frame_rate_hz)

    def forward(self, waveform: Tensor) -> Tensor:
        """float32 (n,) to frames (T, D)."""
        return torch.from_numpy(self.front_end(waveform.cpu().numpy()))
