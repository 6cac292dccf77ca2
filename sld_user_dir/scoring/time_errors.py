"""How far word times are from true ones, beside what an even spread of the same words would give.

A word counts where it is right: the words of both files are aligned as for the word error rate, and starts and ends of
pairs of equal words are compared. True words of confidence 0 are there, but nobody knows their edges, so these are not
compared. Boundaries at the edges of a recording are easy, since nothing lies beyond them; so
those between two words, the true end of one and the start of the next, are also told by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Sequence

import numpy as np

from sld_user_dir.arrays import PathLike
from sld_user_dir.errors import InputError
from sld_user_dir.manifests.ctm import TimedWord, Utterances
from sld_user_dir.scoring.alignment import align

LIMIT_MS = (40, 120)
"""Errors up to these are counted as shares, too."""


@dataclass(frozen=True)
class BoundaryError:
    """Of one start or end of a word, in ms; negative: too early."""

    error_ms: float
    even_spread_ms: float
    """error of words of equal length from the first true start to the last true end"""
    is_inner: bool
    """not the first start or the last end of a recording"""


def boundary_errors(found: Sequence[TimedWord], true: Sequence[TimedWord]) -> list[BoundaryError]:
    """Of the words of one recording that are right."""
    pairs = align([one.word for one in true], [one.word for one in found])
    spread = np.linspace(true[0].start_seconds, true[-1].end_seconds, len(found) + 1)
    errors = []
    t = f = 0
    for of_true, of_found in pairs:
        if of_true is not None and of_true == of_found and true[t].confidence != 0:
            sides = (
                (found[f].start_seconds, true[t].start_seconds, spread[f], t > 0),
                (found[f].end_seconds, true[t].end_seconds, spread[f + 1], t < len(true) - 1),
            )
            errors += [BoundaryError(1000 * (x - y), 1000 * float(even - y), inner) for x, y, even, inner in sides]
        t, f = t + (of_true is not None), f + (of_found is not None)
    return errors


def time_report(found: Utterances, true: Utterances, where: PathLike) -> dict[str, Any]:
    """Errors over all recordings, in plain values.

    Args:
        where: the file of `found`, for errors.

    Raises:
        InputError: recordings that the true times lack: those of another test set; no word that is right.
    """
    unknown = [name for name in found if name not in true]
    if unknown:
        more = f", and lack {len(unknown) - 1} others of the {len(found)}" if len(unknown) > 1 else ""
        problem = f"the true times have no recording {unknown[0]!r}{more}"
        raise InputError(where, problem, "give the true times of the same test set")
    errors = [error for name, words in found.items() for error in boundary_errors(words, true[name])]
    if not errors:
        raise InputError(where, "no word is right, so there is nothing to compare", "check both files")
    return {
        "recordings": len(true),
        "recordings_without_words": sum(name not in found for name in true),
        "words": sum(map(len, true.values())),
        "words_with_sure_edges": sum(one.confidence != 0 for words in true.values() for one in words),
        "words_compared": len(errors) // 2,
        "all": _summary([one.error_ms for one in errors]),
        "inner": _summary([one.error_ms for one in errors if one.is_inner]),
        "even_spread": _summary([one.even_spread_ms for one in errors]),
        "even_spread_inner": _summary([one.even_spread_ms for one in errors if one.is_inner]),
    }


def _summary(errors_ms: Sequence[float]) -> Optional[dict[str, Any]]:
    """None without a boundary, as of recordings of one word."""
    if not errors_ms:
        return None
    errors = np.asarray(errors_ms, dtype=np.float64)
    sizes = np.abs(errors)
    return {
        "boundaries": len(sizes),
        "median_ms": float(np.median(sizes)),
        "p90_ms": float(np.percentile(sizes, 90)),
        "mean_ms": float(sizes.mean()),
        "bias_ms": float(errors.mean()),
        "median_around_bias_ms": float(np.median(np.abs(errors - np.median(errors)))),
        **{f"within_{limit}_ms_percent": float(100 * (sizes <= limit).mean()) for limit in LIMIT_MS},
    }


def format_time_report(report: dict[str, Any]) -> str:
    """A table: a line each for all boundaries and those between words, and for an even spread."""
    names = {"all": "all boundaries", "inner": "between words"}
    names |= {"even_spread": "all, evenly spread", "even_spread_inner": "between, evenly spread"}
    header = f"{'':<24}{'n':>7}{'median':>9}{'p90':>8}{'mean':>8}{'bias':>8}{'around':>8}" + "".join(
        f"{f'<= {limit}':>9}" for limit in LIMIT_MS
    )
    lines = [header + "   (ms, %)", "-" * len(header)]
    for key, name in names.items():
        one = report[key]
        if one is not None:
            figures = f"{one['median_ms']:>9.1f}{one['p90_ms']:>8.1f}{one['mean_ms']:>8.1f}{one['bias_ms']:>+8.1f}"
            figures += f"{one['median_around_bias_ms']:>8.1f}"
            shares = "".join(f"{one[f'within_{limit}_ms_percent']:>9.1f}" for limit in LIMIT_MS)
            lines.append(f"{name:<24}{one['boundaries']:>7}{figures}{shares}")
    lines += [
        "",
        f"{report['words_compared']} of {report['words']} words in {report['recordings']} recordings are right and "
        f"compared; {report['recordings_without_words']} recordings have no words",
    ]
    if report["words_with_sure_edges"] < report["words"]:
        lines.append(f"the true edges of {report['words_with_sure_edges']} words are known, and no others are compared")
    return "\n".join(lines)
