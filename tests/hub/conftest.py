"""A model of recordings, which tests of audio share."""

import shutil

import numpy as np
import pytest
import soundfile
from support.miniature import train


@pytest.fixture(scope="session")
def spoken(tmp_path_factory):
    """A model of MFCC units of noise bursts, its k-means and three recordings, made by our own commands' parts."""
    from sld_user_dir.clustering.kmeans import KMeans
    from sld_user_dir.features.feature_config import FeatureConfig
    from sld_user_dir.features.front_end import build_front_end
    from sld_user_dir.manifests.audio_manifest import Recording
    from sld_user_dir.pipeline.extraction import extract_units
    from sld_user_dir.vocabulary.building import build_vocabulary

    folder = tmp_path_factory.mktemp("spoken")
    rng = np.random.default_rng(0)
    config = FeatureConfig(sample_rate_hz=8000, normalise="speaker", stack=2)
    front_end = build_front_end(config)
    frames = rng.normal(size=(8, front_end.dim)).astype(np.float32)
    kmeans = KMeans(frames, {"features": config.to_dict(), "encoder": front_end.encoder})
    data = folder / "data"
    data.mkdir()
    kmeans.save(data / "kmeans.npz")
    recordings = []
    for i in range(3):
        path = folder / f"{i}.wav"
        soundfile.write(path, rng.normal(size=4000 + 800 * i) * 0.1, 8000)
        recordings.append(Recording(str(i), path, text="one two", speaker="s"))
    extract_units(recordings, front_end, kmeans, data / "train.tsv")
    shutil.copy(data / "train.tsv", data / "valid.tsv")
    build_vocabulary(data, "word")
    train(data, folder / "save", updates=2)
    return folder, recordings
