"""Recordings to a word error rate: fetch, split, k-means, units, vocabulary, training, decoding, table.

    python scripts/demo_audio.py                       # Asterisk's prompts, fetched by apt-get
    python scripts/demo_audio.py --audio LibriSpeech/dev-clean --sample-rate-hz 16000
    python scripts/demo_audio.py --audio fsdd --split-by recording \\
        --pattern '(?P<text>\\d)_(?P<speaker>\\w+)_(?P<take>\\d+)'

Each stage is one of the commands that any corpus goes through, and is shown before it runs. A second
call goes on where the first was interrupted. Results stand in OUT: results.json, curves.png.
"""

import contextlib
import io
import os
import shlex
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant

from sld_user_dir.commands import main as main_of_sld
from sld_user_dir.corpora import asterisk_prompts
from sld_user_dir.corpora.joined import join_utterances
from sld_user_dir.corpora.splits import describe_split, split_recordings
from sld_user_dir.experiment.baselines import dealt_out_wer
from sld_user_dir.experiment.fairseq_commands import Plan, System, choose
from sld_user_dir.experiment.results import collect, evaluate, format_table, plot_curves, write_json
from sld_user_dir.experiment.runner import ExperimentError, decode_all, train_all
from sld_user_dir.manifests.audio_manifest import read_audio_manifest, with_speeds, write_audio_manifest
from sld_user_dir.manifests.unit_manifest import read_manifest, write_manifest
from sld_user_dir.pipeline.shards import file_sha256, fingerprint

ROOT = Path(__file__).resolve().parents[1]
SETS = ("train", "valid", "test")
SYSTEMS = [
    System("masked_ce", "cross-entropy on text only", {"criterion": "masked_ce"}),
    System("sld", "cross-entropy on text and speech, KL to smoothed labels", {"criterion": "sld"}),
]
TRAIN: Dict[str, Any] = {
    "arch": "joint_lm_tiny", "activation_fn": "relu", "dropout": 0.2, "attention_dropout": 0.0,
    "max_tokens": 2000, "max_tokens_valid": 16000, "input_mask_prob": 0.3, "curriculum": 1, "num_workers": 0,
    "optimizer": "adam", "adam_betas": "(0.9, 0.98)", "weight_decay": 0.01, "clip_norm": 1.0, "lr": 1.5e-3,
    "lr_scheduler": "polynomial_decay", "warmup_updates": 100, "eval_wer": True, "eval_wer_max_len": 100,
    "best_checkpoint_metric": "wer",
    "no_epoch_checkpoints": True, "keep_interval_updates": 1, "log_interval": 50,
}  # fmt: skip


@dataclass
class DemoAudioConfig:
    """From recordings to a word error rate."""

    audio: Optional[Path] = None
    """folder of recordings with transcripts (without it: Asterisk's prompts, by apt-get)"""
    table: Optional[Path] = None
    """.tsv or .csv with columns path and text, for --audio"""
    pattern: Optional[str] = None
    """regular expression on file names, for --audio; see `sld audio`"""
    out: Path = ROOT / "runs" / "demo-audio"
    """where everything goes"""
    split_by: str = "text"
    """what training, validation and test do not share: `text`, `recording` or `speaker`"""
    max_seconds: float = 35.0
    """longer recordings are left out, and named"""
    sample_rate_hz: int = 8000
    """rate that MFCC are computed at"""
    normalise: str = "none"
    """mean and variance of the features: `none`, `utterance` or `speaker`"""
    stack: int = 4
    """MFCC frames of 10 ms to a unit"""
    num_units: int = 100
    """K of the k-means"""
    speeds: str = "0.9,1.0,1.1"
    """speed perturbation: every training recording once at each of these"""
    joins: int = 3000
    """strings of 2 to 5 training recordings, joined at random, that are trained on besides"""
    text_tokenizer: str = "300"
    """`char`, `word`, or a number of SentencePiece pieces"""
    criteria: str = "sld"
    """comma-separated: masked_ce, sld"""
    max_update: int = 1500
    """training updates"""
    seed: int = 1
    """seed of initialisation, batches and masking"""


def run(command: str, *arguments: object) -> None:
    """Run one of `sld`'s commands in this process, and show it.

    Raises:
        ExperimentError: it failed; it has said why.
    """
    print("$ sld", command, shlex.join(map(str, arguments)), flush=True)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = main_of_sld([command, *map(str, arguments)])
    if code != 0:
        raise ExperimentError(f"sld {command}", "failed, see above")
    # what is indented or in braces is a report in JSON
    print("\n".join(line for line in said.getvalue().split("\n") if line[:1] not in "{} "), flush=True)


def list_audio(config: DemoAudioConfig) -> Path:
    """The audio manifest of everything that is usable."""
    root, table = config.audio, config.table
    if root is None:
        prompts = asterisk_prompts.read_prompts(asterisk_prompts.fetch(config.out / "asterisk"))
        root, table = prompts.root, config.out / "prompts.tsv"
        asterisk_prompts.write_table(prompts, table)
        for what, names in (("not speech", prompts.not_speech), ("no such file", prompts.missing)):
            print(f"{len(names)} entries left out, {what}: {' '.join(names)}")
    options: List[object] = ["--table", table] if table else []
    options += ["--pattern", config.pattern] if config.pattern else []
    manifest = config.out / "all.audio.tsv"
    run("audio", "--root", root, "--out", manifest, "--max-seconds", config.max_seconds, *options)
    return manifest


def split(config: DemoAudioConfig, manifest: Path) -> str:
    """Write the audio manifests of the sets; what there is to say about them."""
    sets = split_recordings(read_audio_manifest(manifest), config.split_by)
    said = describe_split(sets, config.split_by)
    root = os.path.commonpath([one.path.parent for members in sets.values() for one in members])
    sets["train"] = with_speeds(sets["train"], map(float, config.speeds.split(",")))
    for name, members in sets.items():
        write_audio_manifest(config.out / f"{name}.audio.tsv", members, root)
    return said


def make_data(config: DemoAudioConfig) -> Path:
    """k-means on the training set, units of every set, joined strings, vocabulary: a data directory.

    It is named by all that decides its content: other settings never meet what these have trained.
    """
    audio = {name: config.out / f"{name}.audio.tsv" for name in SETS}
    settings = {k: v for k, v in asdict(config).items() if k not in ("out", "criteria", "max_update", "seed")}
    work = config.out / fingerprint(**settings, **{name: file_sha256(path) for name, path in audio.items()})
    data, kmeans = work / "data", work / "data" / "kmeans.npz"
    run("kmeans", "--audio", audio["train"], "--out", kmeans, "--sample-rate-hz", config.sample_rate_hz,
        "--normalise", config.normalise, "--stack", config.stack, "--num-units", config.num_units)  # fmt: skip
    header = [f"license={asterisk_prompts.LICENSE}", f"attribution={asterisk_prompts.ATTRIBUTION}"]
    for name in SETS:
        out = work / "train.plain.tsv" if name == "train" else data / f"{name}.tsv"
        run("units", "--audio", audio[name], "--kmeans", kmeans, "--out", out,
            *(["--header", *header] if config.audio is None else []))  # fmt: skip
    plain = read_manifest(work / "train.plain.tsv")
    longest = int(max(len(one.units) for one in plain))
    joined = join_utterances(list(plain), config.joins, longest)
    write_manifest(data / "train.tsv", [*plain, *joined], plain.provenance, plain.header)
    pieces = ["--text-vocab-size", config.text_tokenizer] if config.text_tokenizer.isdecimal() else []
    kind = "sentencepiece" if pieces else config.text_tokenizer
    try:
        run("vocab", "--data", data, "--text-tokenizer", kind, *pieces)
    except ExperimentError as error:
        raise ExperimentError(None, str(error), "little text wants --text-tokenizer char, or fewer pieces") from error
    return data


def build_plan(config: DemoAudioConfig, data: Path, systems: Sequence[System]) -> Plan:
    """Options of all systems; the machine's cores are shared among their trainings."""
    longest = max(len(one.units) + len(one.text) + 2 for name in SETS for one in read_manifest(data / f"{name}.tsv"))
    every = max(1, config.max_update // 6)
    changed = {
        "tokens_per_sample": longest, "max_tokens": max(longest, TRAIN["max_tokens"]), "seed": config.seed,
        "max_update": config.max_update, "total_num_update": config.max_update,
        "save_interval_updates": every, "validate_interval": config.max_update, "validate_interval_updates": every,
    }  # fmt: skip
    return Plan(
        data=data,
        out=data.parent / "systems",
        test_sets=["test"],
        train_options={**TRAIN, **changed},
        # nobody says more than one symbol a unit
        generate_options={"beam": 5, "max_len_a": 1, "max_len_b": 10, "max_tokens": 16000},
        threads=max(1, min(2, (os.cpu_count() or 1) // len(systems))),
    )


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(DemoAudioConfig, dest="config")
    config: DemoAudioConfig = parser.parse_args(argv).config
    started = time.time()
    try:
        systems = choose(SYSTEMS, config.criteria)
        said = split(config, list_audio(config))
        plan = build_plan(config, make_data(config), systems)
        train_all(plan, systems, jobs=len(systems))
        seconds = decode_all(plan, systems, jobs=len(systems))
        evaluation = evaluate(plan, systems)
        rows = collect(plan, systems, evaluation, seconds)
    except (ExperimentError, asterisk_prompts.CorpusError, ValueError, OSError) as error:
        print(f"demo_audio.py: {error}", file=sys.stderr)
        return 1
    for row in rows:
        row["dealt_out_wer"] = round(dealt_out_wer(evaluation.records[row["criterion"], row["test_set"]]), 3)
    write_json(config.out / "results.json", rows)
    plot_curves(plan, systems, config.out / "curves.png")
    print(f"\n{format_table(rows)}\n\n{said}")
    for row in rows:
        print(f"{row['criterion']}: the same outputs dealt to recordings at random: {row['dealt_out_wer']:.2f} % WER")
    print("saying nothing at all: 100.00 % WER")
    print(f"{config.out}: results.json, curves.png ({(time.time() - started) / 60:.1f} minutes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
