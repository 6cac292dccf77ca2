"""The stages from recordings to scored hypotheses on a few seconds of sound, as commands, for killing them."""

import shlex
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from support.miniature import ROOT, TRAIN_OPTIONS

WORDS = ["zero", "one", "two", "three", "four"]
RATE_HZ = 8000
WARMED_UP = (
    "fairseq",
    *(f"sld_user_dir.commands.{name}" for name in ("audio", "kmeans", "units", "subwords", "vocab", "limit")),
    *(f"sld_user_dir.commands.{name}" for name in ("import_", "export", "score", "transcribe")),
)
"""What the process that forks has imported, so that the time of a stage is that of its work."""


class KillStage(NamedTuple):
    """A command, in the folder in which all stages work."""

    name: str
    command: str


def make_recordings(folder: Path, count: int = 14) -> None:
    """Tones in noise, a pitch a word, each with its transcript beside it; one recording is broken."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for i in range(count):
        words = rng.integers(0, len(WORDS), size=rng.integers(2, 5))
        time = np.arange(RATE_HZ // 10) / RATE_HZ
        tones = [np.sin(2 * np.pi * 200 * (1 + w) * time) for w in words]
        wave = 0.3 * np.concatenate(tones) + 0.02 * rng.standard_normal(len(words) * len(time))
        soundfile.write(folder / f"r{i:02}.wav", wave, RATE_HZ)
        (folder / f"r{i:02}.txt").write_text(" ".join(WORDS[w] for w in words) + "\n")
    (folder / "r03.wav").write_bytes(b"broken")


FEATURES = "--sample-rate-hz 8000 --num-units 12 --max-iterations 5"
PIECES = "--train data/all.tsv --model units.model --num-pieces 20"
UNIT_LM = f"--user-dir {shlex.quote(str(ROOT / 'sld_user_dir'))} --task speech_unit_lm"
TRAINING = f"""{shlex.join(TRAIN_OPTIONS)} {UNIT_LM} --criterion sld --batch-size 4 --max-update 14
    --save-interval-updates 4 --keep-interval-updates 1 --dropout 0.1 --save-dir checkpoints"""
DECODING = f"{UNIT_LM} --path checkpoints/checkpoint_last.pt --gen-subset valid --beam 2 --batch-size 4"
STAGES = [
    KillStage("audio", "sld audio --root wav --out audio.tsv --shards 3 --workers 2 --write-fairseq"),
    KillStage("kmeans", f"sld kmeans --audio audio.tsv --out km.npz {FEATURES} --shards 2 --device cpu"),
    KillStage("units", "sld units --audio audio.tsv --kmeans km.npz --out data/all.tsv --shards 3 --device cpu"),
    KillStage("export", "sld export --manifest data/all.tsv --format textless --out exported/all"),
    KillStage("import", "sld import --units exported/all.units --audio audio.tsv --num-units 12 --out imported.tsv"),
    KillStage("subwords", f"sld subwords {PIECES} --encode data/all.tsv --out-dir subwords"),
    KillStage("vocab", "sld vocab --data data --split all --text-tokenizer sentencepiece --text-vocab-size 18"),
    KillStage("limit, train", "sld limit --data data --split all --out train --max-text-tokens 60"),
    KillStage("limit, valid", "sld limit --data data --split all --out valid --max-text-tokens 12"),
    KillStage("memory map, training", f"fairseq-train data {TRAINING}"),
    KillStage("decoding", f"fairseq-generate data {DECODING} --results-path results"),
    KillStage("score", "sld score results/generate-valid.txt --manifest data/valid.tsv --json report.json"),
]
