"""Train, decode and score three criteria on connected digits, on neural and on spectral units, and report.

    python scripts/demo.py --preset quick      # 9 to 15 minutes on two idle cores
    python scripts/demo.py --preset full       # longer: see docs/measurements.md

At the end the best model of each kind of units transcribes recordings of people whom no training set has. Results
stand in OUT: results.json, curves.png, report.html, strangers.json (ten such recordings with the transcript of
every model); runs in OUT/PRESET. A second call goes on where the first was interrupted, and repeats nothing that
is done.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant, choice

from sld_user_dir.corpora.connected_digits import WARPED
from sld_user_dir.errors import InputError
from sld_user_dir.experiment.fairseq_commands import LOG_FILE, Plan, System, choose
from sld_user_dir.experiment.html_report import write_html
from sld_user_dir.experiment.results import (
    Evaluation,
    ResultRow,
    collect,
    comparisons,
    evaluate,
    format_table,
    kind_of_units,
    save_curves,
    worst_utterances,
    write_json,
)
from sld_user_dir.experiment.runner import ExperimentError, decode_all, train_all
from sld_user_dir.experiment.strangers import hear_audio, hear_units, line_of_transcripts, listener
from sld_user_dir.experiment.training_log import read_curves
from sld_user_dir.experiment.transcript_samples import sample_transcripts
from sld_user_dir.manifests.unit_manifest import Manifest, read_manifest

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
]  # fmt: skip
DECODE_CTC = 0.5  # share of the CTC in decoding
BASE: Dict[str, Any] = {
    "arch": "joint_lm_tiny", "tokens_per_sample": 256, "max_tokens": 1200, "input_mask_prob": 0.2,
    "optimizer": "adam", "adam_betas": "(0.9, 0.98)", "weight_decay": 0.01, "clip_norm": 1.0,
    "lr_scheduler": "polynomial_decay", "warmup_updates": 100, "curriculum": 1, "num_workers": 0,
    "eval_wer": True, "eval_wer_max_len": 20, "best_checkpoint_metric": "wer", "log_interval": 50,
    "no_epoch_checkpoints": True, "keep_interval_updates": 1,
}  # fmt: skip
THREADS = 2  # a model of this size gains nothing from more
SPECTRAL = "mfcc"  # the kind of units that carry the voice beside the words, and so need more of all
PRESETS: Dict[str, Dict[str, Any]] = {
    # two layers of the architecture's four, and on a CPU ReLU takes less time than its GELU: more updates in the time
    "quick": {"max_update": 800, "lr": 3e-3, "dropout": 0.0, "attention_dropout": 0.0, "save_interval_updates": 400,
              "activation_fn": "relu", "decoder_layers": 2, "required_batch_size_multiple": 1},
    "full": {"max_update": 6000, "lr": 1.5e-3, "dropout": 0.1, "attention_dropout": 0.0, "save_interval_updates": 1000},
}  # fmt: skip
SPECTRAL_PRESETS: Dict[str, Dict[str, Any]] = {  # the training set with other vocal tracts; units of like sounds
    "quick": {"max_update": 2800, "train_subset": WARPED, "unit_substitution_prob": 0.15},
    "full": {"max_update": 9000},
}
LARGE = {"test_voices"}  # two minutes of decoding more, which `quick` leaves out
STRANGERS = {"test_asterisk": 10, "test_unseen": 5}  # test set to recordings that are transcribed at the end
SHOWN = {"test_asterisk": 3, "test_unseen": 7}  # test set to recordings of strangers.json, spread over the set


@dataclass
class DemoConfig:
    """The demo."""

    preset: str = choice("quick", "full", default="quick")
    """how long to train"""
    data: str = ",".join(str(ROOT / "manifests" / name) for name in ("digits-whisper", "digits-mfcc"))
    """comma-separated data directories, one a kind of units, each with unit manifests, dict.txt and vocab.json"""
    test_sets: Optional[str] = None
    """comma-separated names of the test manifests; by default test*.tsv, of which quick leaves out test_voices"""
    criteria: str = STANDARD
    """comma-separated names of the systems to train; the first is what the others are compared with"""
    out: Path = ROOT / "runs" / "demo"
    """where runs and report go"""
    seed: int = 1
    """seed of initialisation, batches and masking"""
    max_update: Optional[int] = None
    """train for so many updates instead of the preset's"""
    speech_conv_kernel: int = 5
    """units that a convolution over the embeddings of units sees, which start from the centroids; 0: neither"""
    ctc_weight: float = 0.3
    """weight of a CTC beside each objective; 0: none"""
    task_mix: Optional[str] = None
    """train for a mixture of tasks, such as asr=1,tts=0.5,slm=0.2; needs a vocabulary with task tokens"""
    recordings: Optional[str] = None
    """comma-separated audio files of one speaker, which the models transcribe at the end"""
    encoder: Optional[Path] = None
    """directory of the encoder of neural units (openai/whisper-tiny.en), for --recordings"""

    @property
    def directories(self) -> List[Path]:
        """The data directories."""
        return [Path(name) for name in self.data.split(",")]


def test_sets_of(config: DemoConfig, data: Path) -> List[str]:
    """Names of the test manifests, the shortest first."""
    if config.test_sets is not None:
        return config.test_sets.split(",")
    names = [path.stem for path in data.glob("test*.tsv") if "." not in path.stem]  # X.rejected.tsv is none
    wanted = [name for name in names if config.preset != "quick" or name not in LARGE]
    return sorted(wanted, key=lambda name: (name != "test", -len(name), name))


def build_plan(config: DemoConfig, systems: Sequence[System], data: Path) -> Plan:
    """Options of all systems on one kind of units; the machine's cores are shared among their trainings."""
    test_sets = test_sets_of(config, data)
    spectral = bool(test_sets) and kind_of_units(read_manifest(data / f"{test_sets[0]}.tsv")) == SPECTRAL
    preset = {**PRESETS[config.preset], **(SPECTRAL_PRESETS[config.preset] if spectral else {}), "seed": config.seed}
    preset["max_update"] = preset["total_num_update"] = config.max_update or preset["max_update"]
    kmeans = data / "kmeans.npz" if (data / "kmeans.npz").exists() else None
    if "train_subset" in preset and not (data / f"{preset['train_subset']}.tsv").exists():
        del preset["train_subset"]
    if "unit_substitution_prob" in preset:
        preset["unit_substitution_kmeans"] = kmeans
    if config.speech_conv_kernel:
        preset["speech_conv_kernel"] = config.speech_conv_kernel
        preset["init_unit_embeddings"] = kmeans
    generate: Dict[str, Any] = {"beam": 5, "max_len_a": 0, "max_len_b": 20, "batch_size": 50}
    if config.ctc_weight:
        preset["ctc_weight"] = config.ctc_weight
        generate["decode_ctc_weight"] = preset["decode_ctc_weight"] = DECODE_CTC
    if config.task_mix:
        preset["task_mix"] = config.task_mix
    return Plan(
        data=data,
        out=config.out / config.preset / data.name,
        test_sets=test_sets,
        train_options={**BASE, **preset},
        generate_options=generate,
        threads=max(1, min(THREADS, (os.cpu_count() or 1) // len(systems))),
        extra={"preset": config.preset, **({"task_mix": config.task_mix} if config.task_mix else {})},
    )


def build_plans(config: DemoConfig, systems: Sequence[System]) -> List[Plan]:
    """A plan a data directory.

    Raises:
        InputError: two directories of one name, or one without test manifests.
    """
    plans = [build_plan(config, systems, data) for data in config.directories]
    for plan in plans:
        if not plan.test_sets:
            raise InputError(plan.data, "no test*.tsv", "name data directories that have one")
    if len({plan.out for plan in plans}) < len(plans):
        raise InputError("--data", "two directories have the same name", "rename one: runs are kept by that name")
    return plans


def run_plan(plan: Plan, systems: Sequence[System]) -> "tuple[Evaluation, List[ResultRow]]":
    """Train, decode and score on one kind of units."""
    manifest = read_manifest(plan.data / f"{plan.test_sets[0]}.tsv")
    print(
        f"{kind_of_units(manifest)} units ({plan.data.name}): training {len(systems)} systems side by side, "
        f"{plan.threads} thread(s) each, {plan.train_options['max_update']} updates",
        flush=True,
    )
    train_all(plan, systems, jobs=len(systems))
    seconds = decode_all(plan, systems, jobs=max(1, (os.cpu_count() or 1) // plan.threads))
    evaluation = evaluate(plan, systems)
    rows = collect(plan, systems, evaluation, seconds)
    print("\n" + format_table(rows) + "\n", flush=True)
    return evaluation, rows


def describe(manifest: Manifest) -> str:
    """What the units are of and what made them."""
    header = manifest.header
    return (
        f"{kind_of_units(manifest)}: {header.get('attribution', 'no attribution stated')} "
        f"({header.get('license', 'no license stated')}); {manifest.provenance.describe()}."
    )


def report(
    config: DemoConfig,
    plans: Sequence[Plan],
    systems: Sequence[System],
    evaluations: Sequence[Evaluation],
    rows: Sequence[Dict[str, Any]],
    minutes: float,
) -> None:
    """Write results.json, strangers.json, curves.png and report.html."""
    write_json(config.out / "results.json", rows)
    write_json(config.out / "strangers.json", sample_transcripts(evaluations, SHOWN))
    curves, worst = {}, {}
    kinds = [kind_of_units(next(iter(evaluation.manifests.values()))) for evaluation in evaluations]
    for kind, plan, evaluation in zip(kinds, plans, evaluations):
        curves.update({f"{s.name}, {kind}": read_curves(plan.directory(s) / LOG_FILE) for s in systems})
        worst.update(worst_utterances(evaluation, kind))
    save_curves(curves, config.out / "curves.png")
    introduction = [
        "A decoder-only Transformer reads speech as discrete units and writes the transcript. "
        "Compared are " + "; ".join(f"{s.name}: {s.description}" for s in systems) + ".",
        *(describe(evaluation.manifests[plan.test_sets[0]]) for plan, evaluation in zip(plans, evaluations)),
        f"Preset {config.preset}, seed {config.seed}: one run of each system, {minutes:.1f} minutes in all in this "
        "call. Differences within the intervals below are not findings.",
    ]
    compared = [row for evaluation in evaluations for row in comparisons(systems, evaluation)]
    write_html(
        config.out / "report.html", "Decoder-only speech recognition on discrete units", introduction,
        rows, compared, worst, [config.out / "curves.png"],
    )  # fmt: skip


def transcribe_strangers(config: DemoConfig, plans: Sequence[Plan], systems: Sequence[System]) -> None:
    """Recordings of people whom no training set has, transcribed one by one by the best model of each kind of units."""
    if not any((plan.data / f"{test_set}.tsv").exists() for plan in plans for test_set in STRANGERS):
        return
    listeners = [listener(plan, systems) for plan in plans]
    chosen = ", ".join(f"{one.system} on {one.kind}" for one in listeners)
    print(f"voices that no training set has, by the systems best in validation ({chosen}):", flush=True)
    for heard in hear_units(listeners, STRANGERS):
        print(line_of_transcripts(heard), flush=True)
    if config.recordings:
        files = [Path(name) for name in config.recordings.split(",")]
        able = [one for one in listeners if one.kind == "mfcc" or config.encoder is not None]
        for heard in hear_audio(able, files, config.encoder):
            print(line_of_transcripts(heard), flush=True)


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(DemoConfig, dest="config")
    config: DemoConfig = parser.parse_args(argv).config
    started = time.time()
    try:
        systems = choose(SYSTEMS, config.criteria)
        plans = build_plans(config, systems)
        done = [run_plan(plan, systems) for plan in plans]
        rows = [row for _, of_plan in done for row in of_plan]
        report(config, plans, systems, [evaluation for evaluation, _ in done], rows, (time.time() - started) / 60)
        print(format_table(rows) + "\n", flush=True)
        transcribe_strangers(config, plans, systems)
    except (ExperimentError, ValueError, OSError) as error:
        print(f"demo.py: {error}", file=sys.stderr)
        return 1
    print(f"\n{config.out}: results.json, curves.png, report.html ({(time.time() - started) / 60:.1f} minutes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
