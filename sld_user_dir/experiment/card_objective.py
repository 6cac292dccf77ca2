"""A model card's section on the objective: every term that the criterion's options name, in words."""

from __future__ import annotations

from typing import Any, Mapping

from sld_user_dir.experiment.card_facts import Facts
from sld_user_dir.experiment.markdown import options_table
from sld_user_dir.losses.divisors import DEFAULT_KL_WEIGHT
from sld_user_dir.sequences.sequence_format import FORMATS, SPEECH
from sld_user_dir.sequences.task_mix import parse_mix

PAPER = "[arXiv 2311.04534](https://arxiv.org/abs/2311.04534)"
KL_TARGETS = {
    "paper": "the paper's: smoothed one-hot on the speech tokens",
    "official": "that of the authors' program: nearly uniform, on every position",
    "centroid": "the nearness of the k-means centroids, this package's own",
    "assignment": "the assignment of the frame to the units that are learnt with the model",
}


def objective(facts: Facts) -> str:
    """The objective in words, and the options of the criterion."""
    cfg = facts.model.cfg
    options = dict(cfg["criterion"])
    if options.get("_name") == "sld" and options.get("kl_weight") is None:
        options["kl_weight"] = DEFAULT_KL_WEIGHT[str(options["kl_denominator"])]
    mix = cfg["task"].get("task_mix")
    tasks = parse_mix(mix, facts.vocab) if mix else {}
    words = describe_objective(options, any(FORMATS[name].answer == SPEECH for name in tasks))
    shown = options_table({k: v for k, v in options.items() if k != "_name"})
    return f"{words}\n\n{shown}\n\n`docs/losses.md` of `sld_user_dir` says what each does."


def describe_objective(criterion: Mapping[str, Any], answers_in_speech: bool = False) -> str:
    """The objective in words, a phrase a term.

    Args:
        criterion: the criterion's configuration, with the default weight of the KL filled in.
        answers_in_speech: some task of the training answers in speech.
    """
    if criterion.get("_name") not in ("sld", "masked_ce"):
        return f"`--criterion {criterion.get('_name')}` of fairseq."
    options = dict(criterion)
    if options["_name"] == "masked_ce":
        options.update(text_weight=1.0, speech_weight=0.0, kl_weight=0.0)
    terms = [*_cross_entropies(options, answers_in_speech), *_further_terms(options)]
    return f"{_name(criterion, options)}: {'; '.join(terms)}."


def _name(criterion: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """What the field calls it, and how it is asked for."""
    if criterion["_name"] == "masked_ce":
        return "Loss Masking (`--criterion masked_ce`)"
    if options["kl_weight"]:
        return f"Smoothed Label Distillation (`--criterion sld`, {PAPER})"
    if options.get("speech_weight", 1.0) or options.get("speech_weight_end"):
        return "Multimodal cross-entropy (`--criterion sld --kl-weight 0`)"
    return "Loss Masking (`--criterion sld --speech-weight 0 --kl-weight 0`)"


def _cross_entropies(options: Mapping[str, Any], answers_in_speech: bool) -> list[str]:
    value = options.get
    text, speech = value("text_weight", 1.0), value("speech_weight", 1.0)
    phrases = []
    if text:
        phrases.append("cross-entropy on text" + _details(text, value("text_label_smoothing")))
    if speech or value("speech_weight_end"):
        further = ["with the softmax over the units alone"] if value("speech_within_units") else []
        if (end := value("speech_weight_end")) is not None:
            further.insert(0, f"going to weight {end} within {value('speech_weight_updates')} updates")
        phrases.append("cross-entropy on speech" + _details(speech, value("speech_label_smoothing"), *further))
    if answers_in_speech and (answers := value("speech_target_weight", 1.0)):
        phrases.append("cross-entropy on answers in speech" + _details(answers))
    return phrases


def _further_terms(options: Mapping[str, Any]) -> list[str]:
    phrases = []
    if weight := options["kl_weight"]:
        target = KL_TARGETS[str(options["kl_variant"])]
        phrases.append(f"a KL divergence on speech (weight {weight}), whose target is {target}")
    if weight := options.get("ctc_weight"):
        phrases.append(f"CTC on the speech positions (weight {weight})")
    return phrases


def _details(weight: float, label_smoothing: Any = None, *further: str) -> str:
    """What a cross-entropy has that the plain one lacks, in brackets."""
    weighted = [f"weight {weight}"] if weight != 1 else []
    smoothed = [f"label smoothing {label_smoothing}"] if label_smoothing else []
    details = [*weighted, *smoothed, *further]
    return f" ({', '.join(details)})" if details else ""
