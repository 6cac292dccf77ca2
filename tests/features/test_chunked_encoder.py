"""The engine of neural encoders on a front of another kind: a spectrogram, centred frames, no wave norm."""

import numpy as np
import pytest
import torch
from support.encoders import noise

from sld_user_dir.features.chunked_encoder import load_chunked_encoder
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError, check_layer
from sld_user_dir.features.frame_geometry import ConvolutionGeometry, EncoderTraits
from sld_user_dir.features.front_end import FrontEnd

HOP, WINDOW, DIM = 160, 400, 8


class CentredFrames:
    """A frame for every whole hop, as of a spectrogram that pads its ends."""

    hop = HOP

    def n_frames(self, n_samples):
        return n_samples // HOP

    def span(self, first, last, n_samples):
        return first * HOP, n_samples if last == self.n_frames(n_samples) else last * HOP

    def peak_values(self, n_samples):
        return n_samples / HOP * WINDOW


class SpectrogramBackend:
    """Magnitudes projected to 8 values, and one attention block."""

    def __init__(self, name, layer):
        check_layer(name, layer, 1)
        torch.manual_seed(0)
        self.traits = EncoderTraits("spectrogram", 16000, DIM, CentredFrames())
        self.model = torch.nn.ModuleDict(
            {
                "project": torch.nn.Linear(WINDOW // 2 + 1, DIM),
                "block": torch.nn.TransformerEncoderLayer(DIM, 2, 16, batch_first=True),
            }
        )
        self._layer = layer

    def peak(self, wave):
        return None

    def embed(self, wave, peak=None):
        spectrum = torch.stft(wave, WINDOW, HOP, window=torch.hann_window(WINDOW), return_complex=True)
        return self.model["project"](spectrum.abs()[..., : wave.shape[1] // HOP].transpose(1, 2))

    def contextualise(self, embedded, padding):
        return self.model["block"](embedded, src_key_padding_mask=padding) if self._layer else embedded


def front_end(layer, **options):
    config = FeatureConfig(features="spectrogram", layer=layer, **options)
    return FrontEnd(load_chunked_encoder(SpectrogramBackend, config, "cpu", 5.0), config)


def test_frames_rate_and_name_follow_the_traits():
    front = front_end(1, chunk_seconds=5.0)
    assert (front.frame_rate_hz, front.dim, front.n_frames(1000)) == (100, DIM, 6)
    assert front(noise(1000)).shape == (6, DIM)
    kind, _, settings = front.encoder.partition("@")
    assert kind == "spectrogram" and settings[12:] == ":16000Hz:chunk5+2s"  # 12 characters of the weights' digest
    assert front.working_bytes() == 16 * int(9.0 * 16000 / HOP * WINDOW)


def test_batches_do_not_leak_padding():
    front = front_end(1)
    waves = [noise(n, n) for n in (9000, 320, 4001, 159, 7777)]
    for wave, frames in zip(waves, front.encode_batch(waves)):
        assert len(frames) == len(wave) // HOP
        if len(frames):
            np.testing.assert_allclose(frames, front(wave), atol=1e-5)


@pytest.mark.parametrize("n_samples", [320, 16000, 33333, 64123])
def test_pieces_join_to_the_frames_of_the_whole(n_samples):
    """Layer 0 sees the window alone, which the context holds."""
    wave = noise(n_samples)
    whole = front_end(0)(wave)
    pieces = front_end(0, chunk_seconds=0.5, context_seconds=0.05)(wave)
    assert len(pieces) == len(whole) == n_samples // HOP
    np.testing.assert_allclose(pieces, whole, atol=1e-5)


def test_a_layer_that_is_not_there():
    with pytest.raises(EncoderError, match="--layer 2: spectrogram has layers 0 to 1; take one of them"):
        front_end(2)


@pytest.mark.parametrize("n_samples", [399, 400, 719, 720, 16000])
def test_convolutions_give_the_frames_that_torch_gives(n_samples):
    geometry = ConvolutionGeometry((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2))
    assert (geometry.hop, geometry.receptive_field) == (320, 400)
    length = n_samples
    for kernel, stride in zip(geometry.kernels, geometry.strides):
        length = max(0, (length - kernel) // stride + 1)
    assert geometry.n_frames(n_samples) == length
    start, end = geometry.span(3, 7, 16000)
    assert (start, geometry.n_frames(end - start)) == (3 * 320, 4)
