"""The sections of a model card, as Markdown."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Mapping, Optional, Sequence

from sld_user_dir.experiment.card_facts import Facts, Split
from sld_user_dir.losses.divisors import DEFAULT_KL_WEIGHT
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


@dataclass(frozen=True)
class CardOptions:
    """What no file tells."""

    name: str = "speech-unit-lm"
    """title, and name of the model in the index"""
    license: Optional[str] = None
    """license of the weights, by Hugging Face's short name such as cc-by-sa-4.0"""
    language: Optional[str] = None
    """of the transcripts, as an ISO 639 code"""
    exported: bool = False
    """whether the card lies beside a model of sld export-gpt2"""


def evaluation(facts: Facts) -> str:
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
        _table(titles, rows) + "\n\n"
        "By `sld score`; the interval is a bootstrap over utterances; normalisation of both sides: "
        f"{normalised}. The decoded files hold the units of these manifests; that this checkpoint wrote them is "
        "stated by who wrote the card."
    )


def use(facts: Facts, options: CardOptions) -> str:
    file, example = facts.model.file, _example(facts)
    parts = []
    if options.exported:
        parts += ["By `transformers`, from this directory; units go in, text comes out:", _block("python", _hf(facts))]
        parts += [f"The same model as a fairseq checkpoint (`{file}`):"]
    lines = [
        "from sld_user_dir import hub",
        "",
        f'model = hub.load("{file}", data="DATA")',
        f"print(model.transcribe_units({example}, beam=5))",
        f"print(model.hypotheses([{example}], beam=5)[0][0])",
    ]
    if predicts_units(facts.model.cfg["criterion"]):
        lines.append(f"print(model.continue_units({example}, max_units=20, seed=0))")
    parts += [_block("python", lines)]
    test = facts.results[0].test_set if facts.results else "test"
    decode = [
        "fairseq-generate DATA --user-dir sld_user_dir --task speech_unit_lm \\",
        f"    --path {file} --gen-subset {test} --beam 5 --scoring wer --results-path results",
        f"sld score --generate results/generate-{test}.txt --manifest DATA/{test}.tsv",
    ]
    parts += [_block("sh", decode)]
    parts += [
        "`DATA` is the data directory with `dict.txt` and `vocab.json` of the vocabulary below. "
        "`model.transcribe(audio)` also wants the k-means file below, as `DATA/kmeans.npz`."
    ]
    return "\n\n".join(parts)


def _hf(facts: Facts) -> list[str]:
    text = facts.vocab.text_end - facts.vocab.text_start
    room = int(facts.model.cfg["model"].get("max_target_positions") or facts.model.cfg["task"]["tokens_per_sample"])
    return [
        "import json",
        "",
        "import torch",
        "from transformers import GPT2LMHeadModel",
        "",
        'model = GPT2LMHeadModel.from_pretrained(".").eval()',
        'symbols = json.load(open("joint_symbols.json", encoding="utf-8"))',
        f"units = {_example(facts)}",
        'prompt = torch.tensor([[symbols.index(f"<u{u}>") for u in units] + [symbols.index("<sep>")]])',
        f'no_text = [i for i in range({text}, len(symbols)) if symbols[i] != "</s>"]',
        "out = model.generate(prompt, attention_mask=torch.ones_like(prompt), num_beams=5, suppress_tokens=no_text,",
        f'    max_new_tokens={max(1, min(200, room // 2))}, pad_token_id=symbols.index("<pad>"))',
        "print([symbols[i] for i in out[0, prompt.size(1):]])",
    ]


def units(facts: Facts) -> str:
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
        _table(["", ""], rows)
        + "\n\nUnits of another fingerprint mean nothing to this model; the commands refuse them."
    )


def data(facts: Facts, options: CardOptions) -> str:
    titles = ["manifest", "role", "utterances", "hours", "units", "words", "speakers", "SHA-256"]
    parts = [_table(titles, [_split_row(split) for split in facts.splits])] if facts.splits else []
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
    vocab = facts.vocab
    return (
        f"{len(vocab)} symbols: {vocab.text_end - vocab.text_start} of text (tokenizer `{vocab.tokenizer.name}`), "
        f"{vocab.num_units} units, the rest special. Fingerprint `{vocab.fingerprint}`."
    )


def model(facts: Facts) -> str:
    cfg = facts.model.cfg
    shape = {key: cfg["model"][key] for key in SHAPE if key in cfg["model"]}
    positions = cfg["model"].get("max_target_positions") or cfg["task"]["tokens_per_sample"]
    head = {"architecture": cfg["model"]["_name"], "parameters": facts.model.parameters, "positions": positions}
    return _options({**head, **shape})


def objective(facts: Facts) -> str:
    options = dict(facts.model.cfg["criterion"])
    if options.get("_name") == "sld" and options.get("kl_weight") is None:
        options["kl_weight"] = DEFAULT_KL_WEIGHT[str(options["kl_denominator"])]
    table = _options({k: v for k, v in options.items() if k not in SHOWN_ELSEWHERE})
    return f"{describe_objective(options)}\n\n{table}\n\n`docs/losses.md` of `sld_user_dir` says what each does."


KL_TARGETS = {
    "paper": "the paper's: smoothed one-hot on the speech tokens",
    "official": "that of the authors' program: nearly uniform, on every position",
    "centroid": "the nearness of the k-means centroids, this package's own",
}


def describe_objective(criterion: Mapping[str, Any]) -> str:
    """The objective in words, from the criterion's configuration with its default weights filled in."""
    name = criterion.get("_name")
    if name == "masked_ce":
        main = "Loss Masking (`--criterion masked_ce`): cross-entropy on the text alone"
    elif name != "sld":
        return f"`--criterion {name}` of fairseq."
    elif not criterion["kl_weight"] and criterion.get("speech_weight") == 0:
        main = "Loss Masking (`--criterion sld --speech-weight 0 --kl-weight 0`): cross-entropy on the text alone"
    elif not criterion["kl_weight"]:
        main = "Multimodal cross-entropy (`--criterion sld --kl-weight 0`): on text and on speech units"
    else:
        target = KL_TARGETS[str(criterion["kl_variant"])]
        on = "text" if criterion.get("speech_weight") == 0 else "text and speech"
        main = (
            "Smoothed Label Distillation (`--criterion sld`, [arXiv 2311.04534](https://arxiv.org/abs/2311.04534)): "
            f"cross-entropy on {on}, and a KL divergence on speech. Its target is {target}"
        )
    beyond = [text for used, text in _beyond_the_paper(criterion) if used]
    return ". ".join([main, *(["In addition: " + "; ".join(beyond)] if beyond else [])]) + "."


def _beyond_the_paper(criterion: Mapping[str, Any]) -> list[tuple[bool, str]]:
    """What else an objective may hold, each with whether this one does."""
    value, speech = criterion.get, bool(criterion.get("speech_weight", 1.0)) and criterion["_name"] == "sld"
    return [
        (bool(value("text_label_smoothing")), f"label smoothing {value('text_label_smoothing')} on text"),
        (
            speech and bool(value("speech_label_smoothing")),
            f"label smoothing {value('speech_label_smoothing')} on speech",
        ),
        (speech and bool(value("speech_within_units")), "the softmax of the speech part is over the units alone"),
        (bool(value("ctc_weight")), f"CTC on the speech positions, weight {value('ctc_weight')}"),
    ]


def training(facts: Facts) -> str:
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
    return _options({k: v for k, v in options.items() if v is not None})


def limits(facts: Facts) -> str:
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


# -- small parts -----------------------------------------------------------------------
def _example(facts: Facts) -> list[int]:
    """Three units that the vocabulary has; never one after itself."""
    return [k % facts.vocab.num_units for k in (0, 1, 2)]


def _options(options: Mapping[str, Any]) -> str:
    return _table(["option", "value"], [[f"`{k}`", f"`{_plain(v)}`"] for k, v in options.items()])


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines)


def _block(language: str, lines: Sequence[str]) -> str:
    return "\n".join([f"```{language}", *lines, "```"])
