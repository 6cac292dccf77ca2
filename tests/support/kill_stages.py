"""Every command that writes, from recordings to scored hypotheses, on a few seconds of sound, for killing it."""

import shlex
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Tuple

from support.kill_inputs import make_backbone, make_decoded, make_gpt2, make_plan, make_word_times
from support.miniature import ROOT, TRAIN_OPTIONS

WARMED_UP = (
    "fairseq",
    "stand_in_encoder",  # beside the program that forks
    *(f"sld_user_dir.commands.{name}" for name in ("audio", "kmeans", "units", "subwords", "vocab", "limit")),
    *(f"sld_user_dir.commands.{name}" for name in ("import_", "export", "score", "transcribe")),
)
"""What the process that forks has imported, so that the time of a stage is that of its work."""
PRETRAINED = (
    "fairseq",
    "sld_user_dir.commands.model_card",
    *(f"transformers.models.{m}.modeling_{m}" for m in ("gpt2", "llama")),
)
"""The same for what reads and writes models of Hugging Face."""


class KillStage(NamedTuple):
    """A command, in the folder in which all stages work."""

    name: str
    command: str
    make: Optional[Callable[[Path], None]] = None
    """makes there what the command reads and no stage before it writes"""
    imported: Tuple[str, ...] = WARMED_UP
    every: int = 1
    """in a soak it is killed in every so manieth round"""

    @property
    def sld_command(self) -> str:
        """`audio` of `sld audio …`; of fairseq's commands their whole name."""
        program, *words = shlex.split(self.command)
        return words[0] if program == "sld" else program


FEATURES = "--sample-rate-hz 8000 --num-units 12 --max-iterations 5"
PIECES = "--train data/all.tsv --model units.model --num-pieces 20"
UNIT_LM = f"--user-dir {shlex.quote(str(ROOT / 'sld_user_dir'))} --task speech_unit_lm"
TRAINING = f"""{shlex.join(TRAIN_OPTIONS)} {UNIT_LM} --criterion sld --batch-size 4 --max-update 14
    --save-interval-updates 4 --keep-interval-updates 1 --dropout 0.1
    --decoder-learned-pos --no-scale-embedding --save-dir checkpoints"""
DECODING = f"{UNIT_LM} --path checkpoints/checkpoint_last.pt --gen-subset valid --beam 2 --nbest 2 --batch-size 4"
ENCODER = "--factory stand_in_encoder:LoudnessEncoder --dense-model loudness --num-units 12 --deduplicate"
CHECKPOINT = "checkpoints/checkpoint_last.pt"
MODEL = "--data data --kmeans km.npz --beam 2 --device cpu"
STAGES = [
    KillStage("audio", "sld audio --root wav --out audio.tsv --shards 3 --workers 2 --write-fairseq"),
    KillStage("kmeans", f"sld kmeans --audio audio.tsv --out km.npz {FEATURES} --shards 2 --device cpu"),
    KillStage("units", "sld units --audio audio.tsv --kmeans km.npz --out data/all.tsv --shards 3 --device cpu"),
    KillStage("textless", f"sld textless --audio audio.tsv --out textless.tsv --shards 2 {ENCODER}"),
    KillStage("export-kmeans", "sld export-kmeans --kmeans km.npz --out km.bin"),
    KillStage("export", "sld export --manifest data/all.tsv --format textless --out exported/all"),
    KillStage("import", "sld import --units exported/all.units --audio audio.tsv --num-units 12 --out imported.tsv"),
    KillStage("subwords", f"sld subwords {PIECES} --encode data/all.tsv --out-dir subwords"),
    KillStage("vocab", "sld vocab --data data --split all --text-tokenizer sentencepiece --text-vocab-size 18"),
    KillStage("limit, train", "sld limit --data data --split all --out train --max-text-tokens 60"),
    KillStage("limit, valid", "sld limit --data data --split all --out valid --max-text-tokens 12"),
    KillStage("memory map, training", f"fairseq-train data {TRAINING}"),
    KillStage("decoding", f"fairseq-generate data {DECODING} --results-path results"),
    KillStage("score", "sld score results/generate-valid.txt --manifest data/valid.tsv --json report.json"),
    KillStage("ledger", "sld ledger . --json chain.json"),
    KillStage(
        "confidence",
        f"sld confidence decoded.txt --manifest data/valid.tsv --checkpoint {CHECKPOINT} --out confidence.json",
        make_decoded,
    ),
    KillStage("word-times", "sld word-times found.ctm --references true.ctm --json times.json", make_word_times),
    KillStage(
        "transcribe",
        f"sld transcribe wav/r00.wav wav/r01.wav wav/r02.wav --checkpoint {CHECKPOINT} {MODEL} "
        "--json transcripts.json --srt --vtt --word-times",
    ),
    KillStage("view", f"sld view {CHECKPOINT} wav/r00.wav {MODEL} --out view.html"),
    KillStage("model-card", f"sld model-card --checkpoint {CHECKPOINT} --data data --out card/README.md"),
    KillStage(
        "export-gpt2", f"sld export-gpt2 --checkpoint {CHECKPOINT} --data data --out exported_gpt2", imported=PRETRAINED
    ),
    KillStage("import-gpt2", "sld import-gpt2 --gpt2 gpt2 --data words --out gpt2.pt", make_gpt2, PRETRAINED),
    KillStage(
        "import-hf",
        "sld import-hf --hf-model reads_units --data backbone_data --out backbone",
        make_backbone,
        PRETRAINED,
    ),
    KillStage(
        "export-hf",
        "sld export-hf --checkpoint backbone/checkpoint.pt --data backbone_data --out exported_hf",
        imported=PRETRAINED,
    ),
    KillStage("cell of a sweep", "sld_user_dir.sweep.cell_run:main plan.yaml tones/sld/1 cell 1", make_plan, every=3),
    KillStage("sweep", "sld sweep plan.yaml --out sweep --jobs 2", every=3),
]
WRITES_NOTHING = {
    "report": "prints JSON on standard output",
    "listen": "prints lines on standard output as the speech comes",
}
"""Commands without a stage here, and why a kill can leave nothing half done."""
