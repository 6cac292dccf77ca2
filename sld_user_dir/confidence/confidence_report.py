"""How good confidences are, of words and of whole utterances, as a table and as a reliability diagram."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from sld_user_dir.arrays import PathLike
from sld_user_dir.confidence.confidence_map import ConfidenceMap
from sld_user_dir.confidence.labelled import LabelledUtterance
from sld_user_dir.files import atomic_path
from sld_user_dir.scoring.calibration import calibration_report

KINDS = {"word": "words", "word_as_decoded": "words, as decoded", "utterance": "utterances"}
"""Entries of a report: confidences of the map, and beside them the probability that the model gave a word's tokens."""
BAR_WIDTH = 40


def confidence_report(utterances: Sequence[LabelledUtterance], found: ConfidenceMap) -> dict[str, Any]:
    """Plain values.

    Raises:
        InputError: nothing to measure on.
    """
    of_words = [confidence for one in utterances for confidence in found.of_words(one.candidates)]
    as_decoded = [float(np.exp(p)) for one in utterances for p in one.candidates[0].word_log_probs]
    right = [outcome for one in utterances for outcome in one.right_words]
    of_utterances = [found.of_utterance(one.candidates) for one in utterances]
    return {
        "word": calibration_report(of_words, right),
        "word_as_decoded": calibration_report(as_decoded, right),
        "utterance": calibration_report(of_utterances, [one.is_right for one in utterances]),
    }


def format_confidence(report: dict[str, Any]) -> str:
    """The measures of each kind, then the bins of words: `#` is the share of right ones, `|` the mean confidence."""
    header = f"{'confidence':<24}{'n':>7}{'right %':>9}{'mean %':>9}{'NCE':>8}{'ECE':>8}{'AUROC':>8}"
    lines = [header, "-" * len(header)]
    for key, name in KINDS.items():
        one = report[key]
        measures = "".join(f"{'-' if one[m] is None else format(one[m], '.3f'):>8}" for m in ("nce", "ece", "auroc"))
        shares = f"{100 * one['right'] / one['count']:>9.1f}{100 * one['mean_confidence']:>9.1f}"
        lines.append(f"{name:<24}{one['count']:>7}{shares}{measures}")
    lines += ["", "reliability of words: # share of right ones, | mean confidence"]
    for one in report["word"]["bins"]:
        if one["count"]:
            bar = list("#" * round(BAR_WIDTH * one["right"]) + " " * BAR_WIDTH)[: BAR_WIDTH + 1]
            bar[round(BAR_WIDTH * one["confidence"])] = "|"
            lines.append(f"{one['from']:.1f} to {one['to']:.1f}{one['count']:>7}  {''.join(bar).rstrip()}")
    return "\n".join(lines)


def draw_reliability(report: dict[str, Any], path: PathLike) -> None:
    """The reliability diagram: share of right words over their mean confidence, bin by bin, and how many they are."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="as sure as right")
    for key, marker in (("word", "o-"), ("word_as_decoded", "x:")):
        bins = [one for one in report[key]["bins"] if one["count"]]
        measured = f"{KINDS[key]}, ECE {report[key]['ece']:.3f}"
        above.plot([one["confidence"] for one in bins], [one["right"] for one in bins], marker, label=measured)
    above.set_ylabel("share of right words")
    above.legend(loc="lower right")
    bins = report["word"]["bins"]
    width = bins[0]["to"] - bins[0]["from"]
    below.bar([one["from"] + width / 2 for one in bins], [one["count"] for one in bins], width=0.9 * width)
    below.set_yscale("symlog", linthresh=1)
    below.set_xlabel("confidence")
    below.set_ylabel("words")
    with atomic_path(path) as aside:
        figure.savefig(aside, format=str(path).rpartition(".")[2], dpi=120)
