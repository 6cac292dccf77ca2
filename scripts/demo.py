"""Train, decode and score three criteria on connected digits, and report.

    python scripts/demo.py --preset quick      # about ten minutes on two cores
    python scripts/demo.py --preset full       # within an hour

Results stand in OUT: results.json, curves.png, report.html; runs in OUT/PRESET. A second call
goes on where the first was interrupted, and repeats nothing that is done.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant, choice

from sld_user_dir.experiment.fairseq_commands import Plan, System, choose
from sld_user_dir.experiment.html_report import write_html
from sld_user_dir.experiment.results import (
    Evaluation,
    collect,
    comparisons,
    evaluate,
    format_table,
    plot_curves,
    write_json,
)
from sld_user_dir.experiment.runner import ExperimentError, decode_all, train_all

ROOT = Path(__file__).resolve().parents[1]
SYSTEMS = [
    System("masked_ce", "cross-entropy on text only (Loss Masking)", {"criterion": "masked_ce"}),
    System("multimodal_ce", "cross-entropy on text and speech", {"criterion": "sld", "kl_weight": 0}),
    System("sld", "cross-entropy on text and speech, KL to smoothed labels on speech", {"criterion": "sld"}),
]
STANDARD = ",".join(system.name for system in SYSTEMS)
SYSTEMS += [  # by --criteria only; docs/losses.md
    System("ce_within_units", "multimodal_ce, speech normalised over the units alone",
           {"criterion": "sld", "kl_weight": 0, "speech_within_units": True}),
    System("sld_within_units", "sld, speech normalised over the units alone",
           {"criterion": "sld", "speech_within_units": True}),
    System("sld_official", "the KL that the authors' program computes", {"criterion": "sld", "kl_variant": "official"}),
    # 3.2 / 44.55 predicted units an utterance: as hard as 0.008 pulls on utterances of 400 units
    System("sld_official_strong", "the same, weighted as for utterances of 400 units",
           {"criterion": "sld", "kl_variant": "official", "kl_weight": 0.0718}),
    System("smoothed_speech", "multimodal_ce, weighted and smoothed to act like sld_official_strong",
           {"criterion": "sld", "kl_weight": 0, "speech_weight": 4.2, "speech_label_smoothing": 0.751}),
    System("sld_ctc", "sld, and CTC on the speech positions", {"criterion": "sld", "ctc_weight": 0.3}),
]  # fmt: skip
BASE: Dict[str, Any] = {
    "arch": "joint_lm_tiny", "tokens_per_sample": 256, "max_tokens": 1200, "input_mask_prob": 0.2,
    "optimizer": "adam", "adam_betas": "(0.9, 0.98)", "weight_decay": 0.01, "clip_norm": 1.0,
    "lr_scheduler": "polynomial_decay", "warmup_updates": 100, "curriculum": 1, "num_workers": 0,
    "eval_wer": True, "eval_wer_max_len": 20, "best_checkpoint_metric": "wer", "log_interval": 50,
    "no_epoch_checkpoints": True, "keep_interval_updates": 1,
}  # fmt: skip
THREADS = 2  # a model of this size gains nothing from more
PRESETS: Dict[str, Dict[str, Any]] = {
    "quick": {"max_update": 3000, "lr": 1.5e-3, "dropout": 0.0, "attention_dropout": 0.0, "save_interval_updates": 500},
    "full": {"max_update": 9000, "lr": 1.5e-3, "dropout": 0.1, "attention_dropout": 0.0, "save_interval_updates": 1000},
}


@dataclass
class DemoConfig:
    """The demo."""

    preset: str = choice("quick", "full", default="quick")
    """how long to train"""
    data: Path = ROOT / "manifests" / "digits"
    """data directory with unit manifests, dict.txt and vocab.json"""
    test_sets: str = "test,test_unseen"
    """comma-separated names of the test manifests"""
    criteria: str = STANDARD
    """comma-separated names of the systems to train; the first is what the others are compared with"""
    out: Path = ROOT / "runs" / "demo"
    """where runs and report go"""
    seed: int = 1
    """seed of initialisation, batches and masking"""
    max_update: Optional[int] = None
    """train for so many updates instead of the preset's"""
    task_mix: Optional[str] = None
    """train for a mixture of tasks, such as asr=1,tts=0.5,slm=0.2; needs a vocabulary with task tokens"""


def build_plan(config: DemoConfig, systems: Sequence[System]) -> Plan:
    """Options of all systems; the machine's cores are shared among their trainings."""
    updates = config.max_update or PRESETS[config.preset]["max_update"]
    preset = {**PRESETS[config.preset], "max_update": updates, "total_num_update": updates, "seed": config.seed}
    if config.task_mix:
        preset["task_mix"] = config.task_mix
    return Plan(
        data=config.data,
        out=config.out / config.preset,
        test_sets=config.test_sets.split(","),
        train_options={**BASE, **preset},
        generate_options={"beam": 5, "max_len_a": 0, "max_len_b": 20, "batch_size": 50},
        threads=max(1, min(THREADS, (os.cpu_count() or 1) // len(systems))),
        extra={"preset": config.preset, **({"task_mix": config.task_mix} if config.task_mix else {})},
    )


def report(
    config: DemoConfig,
    plan: Plan,
    systems: Sequence[System],
    evaluation: Evaluation,
    rows: Sequence[Dict[str, Any]],
    minutes: float,
) -> None:
    """Write results.json, curves.png and report.html."""
    write_json(config.out / "results.json", rows)
    curves = config.out / "curves.png"
    plot_curves(plan, systems, curves)
    worst = {
        ", ".join(key): [f"{u['id']}\n{u['alignment']}" for u in scored["worst"]]
        for key, scored in evaluation.reports.items()
    }
    manifest = evaluation.manifests[plan.test_sets[0]]
    introduction = [
        "A decoder-only Transformer reads speech as discrete units and writes the transcript. "
        "Compared are " + "; ".join(f"{s.name}: {s.description}" for s in systems) + ".",
        f"Data: {config.data.name}, {manifest.header.get('attribution', 'no attribution stated')} "
        f"({manifest.header.get('license', 'no license stated')}). Units: {manifest.provenance.describe()}.",
        f"Preset {config.preset}, seed {config.seed}: one run of each system, {minutes:.1f} minutes in all in this "
        "call. Differences within the intervals below are not findings.",
    ]
    write_html(
        config.out / "report.html", "Decoder-only speech recognition on discrete units", introduction,
        rows, comparisons(systems, evaluation), worst, [curves],
    )  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(DemoConfig, dest="config")
    config: DemoConfig = parser.parse_args(argv).config
    started = time.time()
    try:
        systems = choose(SYSTEMS, config.criteria)
        plan = build_plan(config, systems)
        print(f"training {len(systems)} systems side by side, {plan.threads} thread(s) each", flush=True)
        train_all(plan, systems, jobs=len(systems))
        decode_seconds = decode_all(plan, systems, jobs=max(1, (os.cpu_count() or 1) // plan.threads))
        evaluation = evaluate(plan, systems)
        rows = collect(plan, systems, evaluation, decode_seconds)
    except (ExperimentError, ValueError, OSError) as error:
        print(f"demo.py: {error}", file=sys.stderr)
        return 1
    report(config, plan, systems, evaluation, rows, (time.time() - started) / 60)
    print("\n" + format_table(rows) + "\n")
    print(f"{config.out}: results.json, curves.png, report.html ({(time.time() - started) / 60:.1f} minutes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
