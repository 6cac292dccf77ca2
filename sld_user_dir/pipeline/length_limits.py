"""Utterances that a model cannot hold: left out of a training set, or cut, and always listed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Iterator, Optional

from sld_user_dir.errors import InputError
from sld_user_dir.files import atomic_path
from sld_user_dir.manifests.manifest_counts import utterance_counts
from sld_user_dir.manifests.unit_manifest import (
    Manifest,
    Utterance,
    encode_rows,
    read_manifest,
    refuse_empty,
    write_manifest,
)
from sld_user_dir.vocabulary.joint import JointVocabulary

TOO_LONG_CHOICES = ("skip", "truncate")


@dataclass(frozen=True)
class LengthLimits:
    """What an utterance may be long; counts are tokens of the joint vocabulary."""

    max_tokens: int = 1024
    """units, separator and text together: the model's positions"""
    max_text_tokens: Optional[int] = 150
    """text tokens, without the end of the sentence; None: any number"""
    too_long: str = "skip"
    """`skip`: leave the utterance out; `truncate`: cut text, then units, as the authors' program does"""

    def __post_init__(self) -> None:
        if self.too_long not in TOO_LONG_CHOICES:
            remedy = f"choose {' or '.join(TOO_LONG_CHOICES)}"
            raise InputError(f"--too-long {self.too_long}", "nothing that can be done", remedy)
        if self.max_tokens < 3 or (self.max_text_tokens is not None and self.max_text_tokens < 1):
            raise InputError(
                f"--max-tokens {self.max_tokens} --max-text-tokens {self.max_text_tokens}",
                "these leave no room for a unit, the separator and text",
                "take at least 3 tokens, and 1 of text",
            )


@dataclass(frozen=True)
class TooLong:
    """One utterance that was too long, with its lengths."""

    id: str
    units: int
    text_tokens: int
    lost: dict[str, int] = field(default_factory=dict)
    """what is missing of it in the output, by measure"""


def apply_limits(
    manifest: Manifest, vocab: JointVocabulary, limits: LengthLimits, too_long: list[TooLong]
) -> Iterator[Utterance]:
    """The utterances within the limits; those beyond are appended to `too_long`, and left out or cut."""
    text_limit = limits.max_tokens if limits.max_text_tokens is None else limits.max_text_tokens
    texts = encode_rows(manifest, vocab.encode_text, manifest.column("text"))
    for one, text in zip(manifest, texts):
        if len(text) <= text_limit and len(one.units) + 1 + len(text) <= limits.max_tokens:
            yield one
            continue
        before, after = utterance_counts(one), dict[str, int]()
        if limits.too_long == "truncate":
            left = cut(one, text, vocab, limits.max_tokens, text_limit)
            after = utterance_counts(left)
            yield left
        lost = {measure: number - after.get(measure, 0) for measure, number in before.items()}
        too_long.append(TooLong(one.id, len(one.units), len(text), lost))


def cut(one: Utterance, text: list[int], vocab: JointVocabulary, max_tokens: int, max_text: int) -> Utterance:
    """The first `max_text` text tokens, and as many units as fit with separator and end of sentence."""
    text = text[: min(max_text, max_tokens - 3)]
    room = max_tokens - 2 - len(text)
    durations = None if one.durations is None else one.durations[:room]
    return replace(one, units=one.units[:room], text=vocab.decode_text(text), durations=durations)


def limit_manifest(
    source: Path, target: Path, vocab: JointVocabulary, limits: LengthLimits
) -> tuple[int, list[TooLong]]:
    """Write the manifest `source` within `limits` as `target`, and `TARGET.too-long.tsv` beside it.

    Returns:
        utterances written; those that were too long.

    Raises:
        InputError: no utterance is left; nothing is written.
    """
    manifest, too_long = read_manifest(source), list[TooLong]()
    refuse_empty(manifest)
    with atomic_path(target) as whole:
        written = write_manifest(
            whole, apply_limits(manifest, vocab, limits, too_long), manifest.provenance, manifest.header
        )
        if not written:
            raise _none_fits(source, too_long, limits)
    with atomic_path(target.with_suffix(".too-long.tsv")) as aside:
        rows = [f"{one.id}\t{one.units}\t{one.text_tokens}\n" for one in too_long]
        aside.write_text("id\tunits\ttext_tokens\n" + "".join(rows), encoding="utf-8")
    return written, too_long


def _none_fits(source: Path, too_long: list[TooLong], limits: LengthLimits) -> InputError:
    shortest = min(one.units + 1 + one.text_tokens for one in too_long)
    least_text = min(one.text_tokens for one in too_long)
    problem = f"none of {len(too_long)} utterances is within the limits (the shortest has {shortest} tokens, "
    options = f"--max-tokens {limits.max_tokens} or --max-text-tokens {limits.max_text_tokens}"
    return InputError(source, f"{problem}the least text {least_text})", f"raise {options}")
