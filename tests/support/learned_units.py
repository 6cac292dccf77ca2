"""A corpus of noises whose manifests hold the units of a k-means over their MFCC, for units that are learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Tuple

import numpy as np
import soundfile
import torch

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.front_end import build_front_end
from sld_user_dir.features.waveform import load_audio
from sld_user_dir.manifests.audio_manifest import Recording, write_audio_manifest
from sld_user_dir.pipeline.extraction import extract_units
from sld_user_dir.vocabulary.joint import JointVocabulary
from sld_user_dir.vocabulary.tokenizers import WordTokenizer
from support.tasks import batches, setup

Parts = Tuple[Any, Any, Any, Dict[str, Any]]
RATE = 8000
LEARNED_K = 8
SPLITS = {"train": 9, "valid": 3, "test": 2}
FEATURES = FeatureConfig("mfcc", RATE, normalise="utterance", stack=4)


def noise_corpus(root: Path, num_units: int = LEARNED_K, features: FeatureConfig = FEATURES) -> Path:
    """A data directory: manifests, audio manifests, vocabulary, recordings, and the `kmeans.npz` of the units."""
    rng, front_end = np.random.default_rng(0), build_front_end(features, "cpu")
    recordings = {
        split: [_record(root, split, i, rng, features.sample_rate_hz) for i in range(n)] for split, n in SPLITS.items()
    }
    frames = [front_end(load_audio(one.path, features.sample_rate_hz)) for one in recordings["train"]]
    about = {"features": features.to_dict(), "encoder": front_end.encoder}
    kmeans = KMeans.fit(np.concatenate(frames), num_units, metadata=about, device="cpu")
    kmeans.save(root / "kmeans.npz")
    for split, some in recordings.items():
        write_audio_manifest(root / f"{split}.audio.tsv", some, root)
        extract_units(some, front_end, kmeans, root / f"{split}.tsv")
    JointVocabulary.build(["low high"], num_units, WordTokenizer()).save(root)
    return root


def prepare(corpus: Path, *options: Any) -> Parts:
    """Task, model, criterion and a training batch."""
    config, task = setup(corpus, *options)
    torch.manual_seed(0)
    model = task.build_model(config.model)
    criterion = task.build_criterion(config.criterion)
    task.load_dataset("train")
    return task, model, criterion, batches(task, "train", max_tokens=200)[0]


class Backward:
    """In place of fairseq's optimizer."""

    def backward(self, loss: Any) -> None:
        loss.backward()


def _record(root: Path, split: str, number: int, rng: np.random.Generator, rate: int) -> Recording:
    """Two words of noise, each coloured its way."""
    words = rng.integers(0, 2, size=2)
    waves = []
    for word in words:
        noise = rng.normal(size=int(rng.integers(2000, 4000)))
        waves.append(np.diff(noise, prepend=0) if word else np.convolve(noise, np.ones(8) / 8, "same"))
    path = root / "wavs" / f"{split}{number}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.concatenate(waves), rate)
    text = " ".join(("low", "high")[word] for word in words)
    return Recording(f"{split}{number}", path, sum(map(len, waves)), rate, text, "s0")
