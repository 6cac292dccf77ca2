"""The worked example of docs/interop.md: its own lines, run in order, with a stand-in for textless-lib's encoder.

What the stand-in is: `test_textless.StandInEncoder` (a `SpeechEncoder` without weights). Options at the end of some
lines make the training short; nothing else is changed.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.commands import sld
from support.miniature import ROOT, WORDS

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("joblib")
pytest.importorskip("sklearn")

from test_textless import StandInDense, StandInEncoder  # noqa: E402

from sld_user_dir.clustering.kmeans import KMeans  # noqa: E402
from sld_user_dir.interop.sklearn_kmeans import export_sklearn  # noqa: E402

K, RATE = 100, 16_000
SHORT = {
    "textless": ["--factory", "worked_example_encoder:make"],
    "fairseq-train": ["--arch", "joint_lm_tiny", "--max-update", "3", "--num-workers", "0", "--no-epoch-checkpoints"],
    "fairseq-generate": ["--max-len-b", "8"],
}


def example(language: str) -> str:
    """The code of a language between the markers in the documentation."""
    text = (ROOT / "docs" / "interop.md").read_text(encoding="utf-8")
    (part,) = re.findall(r"<!-- worked example -->\n(.*?)<!-- /worked example -->", text, re.S)
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", part, re.M | re.S)
    return code.replace("\\\n", " ")


def speak(text: str, random: np.random.Generator) -> np.ndarray:
    """A word is a tone of 0.15 s."""
    tones = [np.sin(np.arange(2400) * (0.1 + 0.3 * WORDS.index(word))) for word in text.split()]
    wave = np.concatenate(tones)
    return (0.3 * wave + 0.01 * random.normal(size=len(wave))).astype(np.float32)


@pytest.fixture
def corpus(tmp_path, monkeypatch) -> Path:
    """LibriSpeech's layout, with five utterances of tones in each set, and the encoder's factory."""
    random = np.random.default_rng(0)
    for number, name in enumerate(("train-clean-100", "dev-clean", "test-clean")):
        folder = tmp_path / "LibriSpeech" / name / f"{number}" / "7"
        folder.mkdir(parents=True)
        lines = []
        for i in range(5):
            text = " ".join(random.choice(WORDS, size=random.integers(2, 6)))
            soundfile.write(folder / f"{number}-7-{i:04d}.flac", speak(text, random), RATE)
            lines.append(f"{number}-7-{i:04d} {text.upper()}\n")
        (folder / f"{number}-7.trans.txt").write_text("".join(lines))
    frames = StandInDense()(torch.from_numpy(speak(" ".join(WORDS * 2), random))).numpy()
    export_sklearn(KMeans(frames[:K] + random.normal(size=(K, frames.shape[1])).astype(np.float32)), tmp_path / "k.bin")
    made = SimpleNamespace(make=lambda: StandInEncoder(tmp_path / "k.bin", deduplicate=True))
    monkeypatch.setitem(sys.modules, "worked_example_encoder", made)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line: str) -> None:
    """One line of the example: a command of ours in this process, a fairseq command in its own."""
    words = shlex.split(line)
    if words[0] == "sld":
        assert sld(*words[1:], *SHORT.get(words[1], [])) == 0, line
        return
    program = str(Path(sys.executable).with_name(words[0]))
    words = [str(ROOT / w) if w == "sld_user_dir" else w for w in words[1:]]
    done = subprocess.run(
        [program, *words, *SHORT[Path(program).name]],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_every_line_of_the_worked_example_runs(corpus, capsys):
    lines = example("sh").splitlines()
    assert [shlex.split(line)[1] for line in lines if line.startswith("sld")][-1] == "model-card"
    for line in lines:
        run(line)
    card = (corpus / "runs" / "hubert" / "README.md").read_text(encoding="utf-8")
    assert "`hubert-base-ls960`" in card and "| `test` | " in card
    namespace: dict = {}
    exec(example("python"), namespace)
    given = namespace["given"]
    assert given.units.dtype == torch.int64 and given.units.ndim == 1 and given.options == {}
    assert 0 <= int(given.units.min()) <= int(given.units.max()) < K
    assert bool((given.units[1:] != given.units[:-1]).all())  # Tacotron's units follow each other but once
