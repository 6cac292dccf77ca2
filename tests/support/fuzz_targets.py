"""Every reader of a file, text or not, with a file that it reads, to be tried with others."""

import io
import json
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np

from support.audio_files import FORMATS, encoded, noisy_tone
from support.text_readers import READERS, TextReader


class BinaryReader(TextReader):
    """A reader of files that are no text: `files` holds their bytes as Latin-1."""

    def __repr__(self) -> str:
        return self.name

    def as_bytes(self, text: str) -> bytes:
        return text.encode("latin-1")


def binary(name: str, file: str, files: Dict[str, bytes], read: Callable[[Path], Any]) -> BinaryReader:
    return BinaryReader(name, file, {key: value.decode("latin-1") for key, value in files.items()}, read)


def kmeans(folder: Path) -> Any:
    from sld_user_dir.clustering.kmeans_file import Centroids

    return Centroids.load(folder / "k.npz").values


def sample(folder: Path) -> Any:
    from sld_user_dir.clustering.sample import FrameSample, merge_file

    return merge_file(folder / "s.npz", train=FrameSample(8, 3, 0))


def dumped(folder: Path) -> Any:
    from sld_user_dir.clustering.kmeans import KMeans
    from sld_user_dir.interop.simple_kmeans import read_features

    KMeans(np.eye(3, dtype=np.float32)).save(folder / "k.npz")
    return list(read_features(folder / "dev_0_1.npy", str(folder / "k.npz")).records)


def subwords(folder: Path) -> Any:
    from sld_user_dir.clustering.subwords import UnitSubwords

    model = UnitSubwords.load(folder / "m.model")
    return model.decode(model.encode(np.array([1, 2, 3], dtype=np.int32)))


def mapped(folder: Path) -> Any:
    from sld_user_dir.manifests.memory_map import open_manifest

    manifest = open_manifest(folder / "m.tsv")
    return [(one.id, one.units.tolist(), one.text) for one in manifest]


def checkpoint(folder: Path) -> Any:
    from sld_user_dir.stored_checkpoint import damage_of, read_stored

    damage_of(folder / "c.pt")
    return {name: str(value) for name, value in read_stored(folder / "c.pt").items()}


def recording(folder: Path) -> Any:
    from sld_user_dir.features.waveform import probe, read_audio

    return probe(folder / "a"), read_audio(folder / "a")


def plan(folder: Path) -> Any:
    from sld_user_dir.sweep.plan_file import read_plan

    return read_plan(folder / "plan.yaml")


def rows(folder: Path) -> Any:
    from sld_user_dir.sweep.rows import read_rows

    return read_rows(folder / "rows.jsonl")


def confidence(folder: Path) -> Any:
    from sld_user_dir.confidence.confidence_map import ConfidenceMap

    return ConfidenceMap.load(folder / "c.json")


def times(folder: Path) -> Any:
    from sld_user_dir.manifests.ctm import read_ctm

    return read_ctm(folder / "w.ctm")


PLAN = """title: t
tuning: none
train: {lr: 0.1}
conditions:
  digits: {description: d, data: data, test_sets: [test]}
objectives:
  sld: {description: s, options: {criterion: sld}}
  ce: {description: s, options: {criterion: masked_ce}}
cells:
  - {conditions: [digits], objectives: [sld, ce], seeds: [1, 2]}
comparisons:
  - {objective: sld, baseline: ce}
"""
ROWS = '{"cell": "digits/sld/1", "fingerprint": "a", "status": "done", "test_set": "test", "word_errors": [1]}\n'


def _npz(**arrays: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def _npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def _checkpoint() -> bytes:
    import torch

    content = io.BytesIO()
    torch.save({"model": {"w": torch.arange(8.0)}, "cfg": {"task": {"data": "x"}}, "task_state": {"v": "x"}}, content)
    return content.getvalue()


def _subword_model() -> bytes:
    from sld_user_dir.clustering.subwords import UnitSubwords

    rng = np.random.default_rng(0)
    return UnitSubwords.train([rng.integers(0, 6, 40).astype(np.int32) for _ in range(30)], 6, 12)._model


def _memory_map() -> Dict[str, bytes]:
    import tempfile

    from sld_user_dir.manifests.memory_map import open_manifest
    from support.text_readers import UNIT_MANIFEST

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "m.tsv").write_text(UNIT_MANIFEST)
        open_manifest(Path(folder) / "m.tsv")
        return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def binary_readers() -> List[BinaryReader]:
    """Those of files that are no text, or that no table of text readers has."""
    metadata = np.array(json.dumps({"format": "speech-unit-kmeans/1", "features": {}}))
    eye = np.eye(3, dtype=np.float32)
    drawn = {f"train_{name}": value for name, value in _sample_arrays(eye).items()}
    maps = _memory_map()
    wave = noisy_tone(0.05)
    evidence = {"w.ctm": b"a 1 0.0 0.5 x 0.9\na 1 0.5 0.5 y\n"}
    return [
        binary("k-means file", "k.npz", {"k.npz": _npz(centroids=eye, metadata=metadata)}, kmeans),
        binary("sample of frames", "s.npz", {"s.npz": _npz(**drawn)}, sample),
        binary(
            "dumped features",
            "dev_0_1.npy",
            {"dev_0_1.npy": _npy(eye), "dev_0_1.len": b"2\n1\n", "dev.tsv": b"/c\na.wav\t960\nb.wav\t960\n"},
            dumped,
        ),
        binary("subword model", "m.model", {"m.model": _subword_model()}, subwords),
        *(binary(f"memory map, {Path(name).name}", name, maps, mapped) for name in maps if name != "m.tsv"),
        binary("checkpoint", "c.pt", {"c.pt": _checkpoint()}, checkpoint),
        *(binary(f"audio, {kind}", "a", {"a": encoded(kind, wave)}, recording) for kind in FORMATS),
        binary("sweep plan", "plan.yaml", {"plan.yaml": PLAN.encode()}, plan),
        binary("sweep rows", "rows.jsonl", {"rows.jsonl": ROWS.encode() * 2}, rows),
        binary("word times", "w.ctm", evidence, times),
    ]


def _sample_arrays(frames: np.ndarray) -> Dict[str, np.ndarray]:
    return {"keys": np.arange(len(frames), dtype=np.float64), "frames": frames, "seen": np.array(3)}


def all_readers() -> List[TextReader]:
    return [*READERS, *binary_readers()]
