"""The sections of a model card that state facts, as Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sld_user_dir.experiment.card_facts import Facts, Split
from sld_user_dir.experiment.card_options import CardOptions
from sld_user_dir.experiment.markdown import options_table, table
from sld_user_dir.losses.stored_options import predicts_units

SHAPE = (
    "decoder_layers",
    "decoder_embed_dim",
    "decoder_ffn_embed_dim",
    "decoder_attention_heads",
    "activation_fn",
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "decoder_learned_pos",
    "no_token_positional_embeddings",
    "share_decoder_input_output_embed",
    "new_symbols",
    "text_embeddings",
    "lora_rank",
    "lora_alpha",
    "lora_targets",
)
OF_THIS_MACHINE = {"data", "save_dir", "restore_file", "continue_once", "finetune_from_model", "checkpoint_suffix"}
SHOWN_ELSEWHERE = {
    "_name",
    "tpu",
    "lr",
    "pad",
    "eos",
    "unk",
    "update_freq",
    "tokens_per_sample",
    "max_target_positions",
}
"""options that stand elsewhere in the card, or say nothing of the model"""


def evaluation(facts: Facts) -> str:
    """Error rates of the decoded test sets, or that there are none."""
    if not facts.results:
        return "Not evaluated: no decoded test set was given when this card was written."
    rows = []
    for r in facts.results:
        low, high = r.report["wer"]["interval_95"]
        rate = f"{r.report['wer']['rate']:.2f} ({low:.2f} to {high:.2f})"
        cer, wrong = f"{r.report['cer']['rate']:.2f}", f"{r.report['sentence_error_rate']:.1f}"
        beam = "not recorded" if r.beam is None else str(r.beam)
        rows.append([f"`{r.test_set}`", rate, cer, wrong, r.report["utterances"], beam, f"`{r.file}`, {r.sha256[:12]}"])
    titles = ["test set", "WER % (95 % interval)", "CER %", "wrong sentences %", "utterances", "beam", "decoded file"]
    normalised = ", ".join(f"{k}={v}" for k, v in facts.results[0].report["normalization"].items())
    return (
        table(titles, rows) + "\n\n"
        "By `sld score`; the interval is a bootstrap over utterances; normalisation of both sides: "
        f"{normalised}. The decoded files hold the units of these manifests; that this checkpoint wrote them is "
        "stated by who wrote the card."
    )


def units(facts: Facts) -> str:
    """What made the units."""
    made_by = facts.model.provenance
    if made_by is None:
        return "The checkpoint does not tell what made its units."
    rate = f"{made_by.frame_rate_hz:g} Hz" if made_by.frame_rate_hz > 0 else "unknown"
    rows: list[list[Any]] = [
        ["encoder", f"`{made_by.encoder}`"],
        ["layer", "none" if made_by.layer is None else made_by.layer],
        ["rate before de-duplication", rate],
        ["units, K", made_by.num_units],
        ["k-means", f"`{made_by.kmeans}`"],
        ["de-duplicated", "yes" if made_by.deduplicated else "no"],
        ["subword model over units", "none" if made_by.subword is None else f"`{made_by.subword}`"],
        *[[key, f"`{json.dumps(value, ensure_ascii=False)}`"] for key, value in sorted(made_by.extra.items())],
        ["fingerprint of all this", f"`{made_by.fingerprint}`"],
    ]
    return (
        table(["", ""], rows) + "\n\nUnits of another fingerprint mean nothing to this model; the commands refuse them."
    )


def data(facts: Facts, options: CardOptions) -> str:
    """The manifests, and under what terms they and the weights may be used."""
    titles = ["manifest", "role", "utterances", "hours", "units", "words", "speakers", "SHA-256"]
    parts = [table(titles, [_split_row(split) for split in facts.splits])] if facts.splits else []
    for name in facts.missing:
        parts.append(f"`{name}.tsv` of the training was not at hand when this card was written.")
    for what in ("license", "attribution"):
        stated = {str(getattr(s, what) or "not stated") for s in facts.splits}
        each = [
            f"{v} ({', '.join(f'`{s.name}`' for s in facts.splits if str(getattr(s, what) or 'not stated') == v)})"
            for v in sorted(stated)
        ]
        parts.append(f"{what.capitalize()} of the data: {'; '.join(each) if each else 'not stated'}.")
    parts.append(f"License of the weights: {options.license or 'not stated'}.")
    parts.append(
        "Counts are of the manifests at the time of writing: a checkpoint remembers the fingerprints of its units and "
        "vocabulary, and these agree."
    )
    return "\n\n".join(parts)


def _split_row(split: Split) -> list[Any]:
    hours = "unknown" if split.hours is None else f"{split.hours:.2f}"
    speakers = "not stated" if split.speakers is None else split.speakers
    return [
        f"`{split.name}`",
        split.role,
        split.utterances,
        hours,
        split.units,
        split.words,
        speakers,
        split.sha256[:12],
    ]


def vocabulary(facts: Facts) -> str:
    """How many symbols of what kind."""
    vocab = facts.vocab
    return (
        f"{len(vocab)} symbols: {vocab.text_end - vocab.text_start} of text (tokenizer `{vocab.tokenizer.name}`), "
        f"{vocab.num_units} units, the rest special. Fingerprint `{vocab.fingerprint}`."
    )


def model(facts: Facts) -> str:
    """The shape of the network."""
    cfg = facts.model.cfg
    shape = {key: cfg["model"][key] for key in SHAPE if key in cfg["model"]}
    positions = cfg["model"].get("max_target_positions") or cfg["task"]["tokens_per_sample"]
    head = {"architecture": cfg["model"]["_name"], "parameters": facts.model.parameters, "positions": positions}
    base = pretrained_base(facts)
    if base:  # of which a checkpoint does not hold what was frozen
        head = {"pretrained": base, "parameters_trained": head.pop("parameters"), **head}
    return options_table({**head, **shape})


def pretrained_base(facts: Facts) -> str:
    """The name of a `joint_hf`'s base on the hub, or that of its folder; empty for other models."""
    source = str(facts.model.cfg["model"].get("hf_model") or "")
    return Path(source).name if Path(source).is_absolute() else source


def training(facts: Facts) -> str:
    """Options of the training, without paths of this machine."""
    cfg, model = facts.model.cfg, facts.model
    groups = {name: cfg.get(name) or {} for name in ("optimizer", "lr_scheduler", "task")}
    options = {
        "updates": model.updates,
        "seed": cfg["common"]["seed"],
        "training_hours": None if model.seconds is None else round(model.seconds / 3600, 2),
        "workers": cfg["distributed_training"]["distributed_world_size"],
        **{key: cfg["dataset"][key] for key in ("max_tokens", "batch_size", "curriculum")},
        **{key: cfg["optimization"][key] for key in ("lr", "update_freq", "clip_norm")},
        **{key: cfg["common"].get(key) for key in ("fp16", "bf16", "amp")},
        "optimizer": groups["optimizer"].get("_name"),
        "lr_scheduler": groups["lr_scheduler"].get("_name"),
        "started_from": Path(cfg["checkpoint"].get("finetune_from_model") or "").name or None,
    }
    for group in groups.values():
        options.update({k: v for k, v in group.items() if k not in SHOWN_ELSEWHERE | OF_THIS_MACHINE})
    return options_table({k: v for k, v in options.items() if v is not None})


def limits(facts: Facts) -> str:
    """What the model cannot do, and what was not measured."""
    made_by, task = facts.model.provenance, facts.model.cfg["task"]
    positions = facts.model.cfg["model"].get("max_target_positions") or task["tokens_per_sample"]
    lines = [
        f"Units, separator and transcript together fit into {positions} positions"
        + (
            f", {positions / made_by.frame_rate_hz:.1f} s of audio at the very most."
            if made_by and made_by.frame_rate_hz > 0 and not made_by.deduplicated and not made_by.subword
            else "."
        ),
        "It writes nothing but the symbols of its vocabulary, and knows no case, punctuation or language that its "
        "training transcripts lack.",
    ]
    if not predicts_units(facts.model.cfg["criterion"]):
        lines.append("It was trained without a loss on speech: it does not predict units (`continue_units` refuses).")
    if made_by is not None and made_by.encoder == "unknown":
        lines.append("What made its units was not stated, so that nothing can check that other units fit.")
    known = [s.speakers for s in facts.splits if s.role == "training" and s.speakers is not None]
    if known:
        lines.append(f"Speakers in training: {known[0]}.")
    what = "beyond the table of Evaluation" if facts.results else "at all"
    lines.append(f"Nothing {what} was measured: no other recording conditions, accents, domains or fairness.")
    return "\n".join(f"- {line}" for line in lines)
