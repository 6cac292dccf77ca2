"""Train, decode and score on LibriSpeech in the small: train-clean-5 to the whole of test-clean, on two CPU cores.

    python scripts/librispeech_mini.py                              # standard preset, one objective
    python scripts/librispeech_mini.py --preset long --criteria sld,masked_ce --units mfcc

Results stand in OUT: results.json, learning_curve.png, errors.md (by length and by speaker), report.html; runs in
OUT/UNITS-PRESET. A second call goes on where the first was interrupted, and repeats nothing that is done.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant, choice

from sld_user_dir.errors import InputError
from sld_user_dir.experiment.backbone_data import absolute, backbone_data
from sld_user_dir.experiment.fairseq_commands import Plan, System, choose
from sld_user_dir.experiment.html_report import write_html
from sld_user_dir.experiment.results import (
    collect,
    comparisons,
    evaluate,
    format_table,
    plot_curves,
    worst_utterances,
    write_json,
)
from sld_user_dir.experiment.runner import ExperimentError, decode_all, train_all
from sld_user_dir.files import atomic_path
from sld_user_dir.scoring.rates import format_report

ROOT = Path(__file__).resolve().parents[1]
SYSTEMS = [
    System("multimodal_ce", "cross-entropy on text and speech, CTC", {"criterion": "sld", "kl_weight": 0}),
    System("sld", "cross-entropy on text and speech, KL to smoothed labels on speech, CTC", {"criterion": "sld"}),
    System("masked_ce", "cross-entropy on text only (Loss Masking), CTC", {"criterion": "masked_ce"}),
    System("sld_official", "the KL that the authors' program computes, CTC",
           {"criterion": "sld", "kl_variant": "official"}),
]  # fmt: skip
BASE: Dict[str, Any] = {
    # 2.4 M parameters; sinusoidal positions, since test-clean has utterances longer than any in training
    "arch": "joint_lm_tiny", "decoder_layers": 5, "decoder_embed_dim": 192, "decoder_ffn_embed_dim": 768,
    "decoder_attention_heads": 4, "activation_fn": "relu", "dropout": 0.1, "attention_dropout": 0.0,
    "tokens_per_sample": 2048, "max_tokens": 3000, "required_batch_size_multiple": 1, "speech_conv_kernel": 5,
    "ctc_weight": 1.0, "input_mask_prob": 0.2, "optimizer": "adam", "adam_betas": "(0.9, 0.98)", "weight_decay": 0.01,
    "clip_norm": 1.0, "lr": 2e-3, "lr_scheduler": "polynomial_decay", "warmup_updates": 200, "curriculum": 1,
    "num_workers": 0, "eval_wer": True, "eval_wer_max_len": 400, "decode_ctc_weight": 0.8,
    "best_checkpoint_metric": "wer", "validate_interval": 1000, "save_interval": 1000, "save_interval_updates": 500,
    "log_interval": 50, "no_epoch_checkpoints": True,
    "keep_interval_updates": 1,
}  # fmt: skip
PRESETS: Dict[str, Dict[str, Any]] = {
    "trial": {"max_update": 500},
    "standard": {"max_update": 2000},
    # enough for the decoder to hear for itself, so that CTC may count for less
    "long": {"max_update": 5000, "max_tokens": 8000, "dropout": 0.2, "decode_ctc_weight": 0.5},
}

OF_OWN_MODEL = (
    "decoder_layers", "decoder_embed_dim", "decoder_ffn_embed_dim", "decoder_attention_heads", "activation_fn",
    "dropout", "attention_dropout", "speech_conv_kernel", "ctc_weight", "decode_ctc_weight",
)  # fmt: skip
"""options of BASE and PRESETS that a backbone has no use for; CTC over its many text symbols would cost more than it"""
BACKBONE: Dict[str, Any] = {"arch": "joint_hf", "lr": 5e-4, "eval_wer_max_len": 150}


@dataclass
class LibriSpeechMiniConfig:
    """LibriSpeech in the small."""

    preset: str = choice(*PRESETS, default="standard")
    """how long to train"""
    units: str = choice("whisper", "mfcc", default="whisper")
    """which units: of Whisper tiny.en's encoder (which was trained on transcribed speech), or MFCC"""
    data: Path = ROOT / "manifests" / "librispeech-mini"
    """folder with a data directory for each kind of units"""
    backbone: Optional[str] = None
    """a pretrained language model of Hugging Face in place of the small model: a directory, or a name on the hub"""
    lora_rank: int = 16
    """with a backbone: rank of its adapters; 0 trains everything"""
    criteria: str = "multimodal_ce"
    """comma-separated names of the systems to train; the first is what the others are compared with"""
    jobs: int = 2
    """trainings and decodings side by side; one training alone takes `threads`"""
    threads: int = 2
    """threads of each"""
    out: Path = ROOT / "runs" / "librispeech-mini"
    """where runs and report go"""
    seed: int = 1
    """seed of initialisation, batches and masking"""
    max_update: Optional[int] = None
    """train for so many updates instead of the preset's"""


def build_plan(config: LibriSpeechMiniConfig) -> Plan:
    """Options of all systems."""
    data, name = config.data / config.units, f"{config.units}-{config.preset}"
    options = {**BASE, **PRESETS[config.preset]}
    if config.backbone is not None:
        name = f"{name}-{Path(config.backbone).name}"
        data = backbone_data(data, config.backbone, config.out / f"data-{name}")
        own = {"hf_model": absolute(config.backbone), "lora_rank": config.lora_rank}
        options = {key: value for key, value in {**options, **BACKBONE, **own}.items() if key not in OF_OWN_MODEL}
    updates = config.max_update or options["max_update"]
    return Plan(
        data=data,
        out=config.out / name,
        test_sets=["test"],
        train_options={
            **options,
            "init_unit_embeddings": data / "kmeans.npz",
            "max_update": updates,
            "total_num_update": updates,
            "seed": config.seed,
        },
        generate_options={
            "beam": 5, "decode_ctc_weight": options.get("decode_ctc_weight"), "max_len_a": 0.8, "max_len_b": 20,
            "max_tokens": 12000,
        },
        threads=config.threads,
        extra={"preset": config.preset},
    )  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(LibriSpeechMiniConfig, dest="config")
    config: LibriSpeechMiniConfig = parser.parse_args(argv).config
    started = time.time()
    try:
        systems = choose(SYSTEMS, config.criteria)
        plan = build_plan(config)
        train_all(plan, systems, config.jobs)
        seconds = decode_all(plan, systems, config.jobs)
        evaluation = evaluate(plan, systems, by=["speaker"])
        rows = collect(plan, systems, evaluation, seconds)
    except (ExperimentError, InputError, OSError) as error:
        print(f"librispeech_mini.py: {error}", file=sys.stderr)
        return 1
    write_json(config.out / "results.json", rows)
    curves = config.out / "learning_curve.png"
    plot_curves(plan, systems, curves)
    groups = "\n\n".join(
        f"## {name} on {test_set}\n\n```text\n{format_report({**report, 'worst': []})}\n```"
        for (name, test_set), report in evaluation.reports.items()
    )
    with atomic_path(config.out / "errors.md") as aside:
        aside.write_text(f"# Errors by length and by speaker\n\n{groups}\n", encoding="utf-8")
    manifest = evaluation.manifests["test"]
    introduction = [
        "A decoder-only Transformer reads speech as discrete units and writes the transcript, trained on five hours "
        f"of LibriSpeech. Units: {manifest.provenance.describe()}.",
        f"{manifest.header.get('attribution', 'No attribution')}: {manifest.header.get('license', 'no license')}.",
        f"Preset {config.preset}, seed {config.seed}, {(time.time() - started) / 60:.1f} minutes in this call.",
    ]
    write_html(
        config.out / "report.html", "LibriSpeech in the small", introduction, rows,
        comparisons(systems, evaluation), worst_utterances(evaluation), [curves],
    )  # fmt: skip
    print("\n" + format_table(rows) + "\n")
    print(f"{config.out}: results.json, learning_curve.png, errors.md, report.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
