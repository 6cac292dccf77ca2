"""README and mixture.md run as they stand, from recordings to transcripts and to exported units, in one miniature.

Only what `SHORTER` says is added at the end of a program's words. The Python code of these pages, and that of "From
Python" in interop.md, runs on the models that they train.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
from support.command_rules import CHAINS
from support.documents import cut
from support.miniature import ROOT, WORDS

SHORTER = {
    "fairseq-train": ["--max-update", "3", "--num-workers", "0", "--no-epoch-checkpoints", "--cpu"],
    "fairseq-generate": ["--max-len-b", "6", "--cpu"],
    "fairseq-interactive": ["--max-len-b", "6", "--cpu"],
    "fairseq-eval-lm": ["--num-workers", "0", "--cpu"],
}
"""What the miniature adds at the end of a program's words."""


def make_recordings(folder: Path) -> None:
    """A minute of tones, one a word, with transcripts beside them, and one more recording."""
    rng = np.random.default_rng(0)
    (folder / "recordings").mkdir()
    for i in range(40):
        words = [WORDS[k] for k in rng.integers(len(WORDS), size=rng.integers(4, 7))]
        tones = [np.sin(2 * np.pi * 250 * 1.5 ** WORDS.index(word) * np.arange(6400) / 16000) for word in words]
        noise = rng.normal(scale=0.02, size=6400 * len(words))
        soundfile.write(folder / "recordings" / f"r{i}.wav", 0.3 * np.concatenate(tones) + noise, 16000)
        (folder / "recordings" / f"r{i}.txt").write_text(" ".join(words) + "\n")
    soundfile.write(folder / "a.wav", 0.1 * rng.normal(size=12000), 8000)


def make_digits(folder: Path) -> None:
    """manifests/digits, with a few rows a split."""
    digits = folder / "manifests" / "digits"
    digits.mkdir(parents=True)
    for path in (ROOT / "manifests" / "digits").iterdir():
        if path.is_file() and path.suffix != ".tsv":
            (digits / path.name).write_bytes(path.read_bytes())
        if path.suffix != ".tsv":
            continue
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        header = [line for line in lines if line.startswith("# ")]
        rows = lines[len(header) : len(header) + (60 if path.stem == "train" else 8)]
        (digits / path.name).write_text("".join(header + rows), encoding="utf-8")


def steps_of(page: str, calls: list) -> list:
    """A page's blocks in order: programs that take part, and Python code."""
    steps = []
    for block in cut(ROOT / page).blocks:
        if block.language == "python":
            steps.append({"code": block.code})
        for call in (call for call in calls if call.block == block and call.program in CHAINS[page]):
            steps.append({"words": [*call.words, *SHORTER.get(call.program, [])], "stdin": call.stdin + "\n"})
    return steps


def from_python() -> dict:
    """The block of interop.md that shows a model's methods."""
    text = (ROOT / "docs" / "interop.md").read_text(encoding="utf-8").split("## From Python")[1]
    return {"code": re.search(r"```python\n(.*?)```", text, re.S)[1]}


def test_the_chain_of_readme_and_mixture_runs(calls, tmp_path):
    """From recordings to transcripts, and a mixture of tasks, in the words of the pages."""
    make_recordings(tmp_path)
    make_digits(tmp_path)
    (tmp_path / "sld_user_dir").symlink_to(ROOT / "sld_user_dir")
    copy = "import shutil, glob; shutil.copy('checkpoints/checkpoint_best.pt', 'checkpoint_best.pt')"
    copy += "\nimport os; os.makedirs('runs/mixture_data')"
    copy += "\nfor path in glob.glob('manifests/digits/*.tsv'): shutil.copy(path, 'runs/mixture_data')"
    readme, mixture = steps_of("README.md", calls), steps_of("docs/mixture.md", calls)
    assert len(readme) == 10 and len(mixture) >= 9
    steps = [*readme, {"code": copy}, from_python(), *mixture]
    (tmp_path / "steps.json").write_text(json.dumps(steps))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "support" / "session.py"), "steps.json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.stdout.count("=== ") == len(steps)
    for made in ("data/train.tsv", "data/dict.txt", "kmeans.npz", "results/generate-test.txt", "spoken.tsv"):
        assert (tmp_path / made).stat().st_size > 0, made
    assert re.search(r"^a\.wav\t", done.stdout, re.M), "sld transcribe printed nothing"
    assert "WER" in done.stdout
