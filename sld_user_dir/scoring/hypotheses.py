"""What fairseq-generate wrote, as records in the order of the data set.

fairseq writes batches in order of length, one line a fact: `S-` source, `T-` target, `H-` score and
tokens, `D-` score and detokenised text, `P-` scores of the positions (base 2), `H-`, `D-`, `P-` once
for each of the n best. The number after the dash is the row in the data set.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, Optional, Sequence

from sld_user_dir.arrays import PathLike
from sld_user_dir.errors import InputError, line_of
from sld_user_dir.files import iter_lines, read_lines, whole_number
from sld_user_dir.manifests.keyed_lines import keyed_lines
from sld_user_dir.manifests.unit_manifest import Manifest, read_manifest

_LINE = re.compile(r"^([STHDP])-(\d+)(?:\t(.*))?$", re.DOTALL)


class HypothesisError(InputError):
    """A file of hypotheses that cannot be read: names file, line and remedy."""


@dataclass
class Hypothesis:
    """One transcript. `text` is the detokenised one (D-) where there is one, else the tokens (H-)."""

    text: str
    score: Optional[float] = None
    """Length-normalised log-probability, base 2."""
    tokens: str = ""
    positional_scores: list[float] = field(default_factory=list)
    """Log-probability of each token and of the end symbol, base 2."""


@dataclass
class DecodedUtterance:
    """One utterance: its reference and its hypotheses, best first."""

    row: int
    id: str
    reference: Optional[str] = None
    source: Optional[str] = None
    hypotheses: list[Hypothesis] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    """What breakdowns group by: `test_set` (from the file name) and the manifest's other columns."""

    @property
    def best(self) -> Hypothesis:
        """The first hypothesis."""
        return self.hypotheses[0]


def read_generate(
    path: PathLike, manifest: Optional[Manifest] = None, missing_as_empty: bool = False
) -> list[DecodedUtterance]:
    """Records of a `generate-<subset>.txt` (or of fairseq-interactive's output), in order of row.

    With a manifest, rows get their utterance ids, its text as reference (untouched by the dictionary's
    `<unk>`) and its other columns as `fields`; rows without a hypothesis are an error, or empty hypotheses.

    Raises:
        HypothesisError: no or doubled hypothesis lines, a malformed line, or rows that the manifest lacks.
    """
    records: dict[int, DecodedUtterance] = {}
    test_set = re.sub(r"^generate-", "", Path(path).stem)
    for number, kind, row, value in _generate_lines(path):
        record = records.setdefault(row, DecodedUtterance(row, str(row), fields={"test_set": test_set}))
        try:
            _add_line(record, kind, value)
        except ValueError as error:
            raise HypothesisError(
                line_of(path, number), f"malformed {kind}-{row} line ({error})", "generate the file again"
            ) from error
    records = {row: record for row, record in records.items() if record.hypotheses}
    if not records:
        raise HypothesisError(line_of(path, 1), "no H- line", "expected fairseq-generate's output without --quiet")
    if manifest is not None:
        _join_manifest(path, records, manifest, missing_as_empty)
    return [record for _, record in sorted(records.items())]


def read_test_sets(
    paths: Sequence[PathLike], manifests: Sequence[PathLike] = (), missing_as_empty: bool = False
) -> list[DecodedUtterance]:
    """Records of one system's outputs, one a test set; where there are several, ids get the test set's name in front.

    Args:
        manifests: unit manifests of the test sets in the same order, or none.

    Raises:
        HypothesisError: as `read_generate`.
        ManifestError: a manifest that cannot be used.
    """
    records: list[DecodedUtterance] = []
    for number, path in enumerate(paths):
        manifest = read_manifest(manifests[number]) if manifests else None
        for record in read_generate(path, manifest, missing_as_empty):
            if len(paths) > 1:
                record.id = f"{record.fields['test_set']}/{record.id}"
            records.append(record)
    return records


def read_pair(references: PathLike, hypotheses: PathLike, keyed: bool = False) -> list[DecodedUtterance]:
    """Records of two text files: parallel lines, or (`keyed`) `id text` lines in any order (`split_key`).

    Raises:
        HypothesisError: unequal numbers of lines, a doubled id, or an id of one file only.
    """
    if keyed:
        reference_texts, hypothesis_texts = _keyed_texts(references), _keyed_texts(hypotheses)
    else:
        reference_texts = _parallel_texts(references, hypotheses)
        hypothesis_texts = _parallel_texts(hypotheses, references)
    if reference_texts.keys() != hypothesis_texts.keys():
        only = sorted(reference_texts.keys() ^ hypothesis_texts.keys())
        raise HypothesisError(
            line_of(hypotheses, len(hypothesis_texts)),
            f"{len(hypothesis_texts)} hypotheses for {len(reference_texts)} references in {references}, first without "
            f"a partner: {only[0]}",
            "give both files the same utterances",
        )
    test_set = Path(hypotheses).stem
    return [
        DecodedUtterance(row, id_, text, hypotheses=[Hypothesis(hypothesis_texts[id_])], fields={"test_set": test_set})
        for row, (id_, text) in enumerate(reference_texts.items())
    ]


def _generate_lines(path: PathLike) -> Iterator[tuple[int, str, int, str]]:
    """(line number, kind, row, rest) of the lines that state a fact; log lines are passed over."""
    for number, line in enumerate(iter_lines(path, HypothesisError), start=1):
        match = _LINE.match(line)
        if match:
            row = whole_number(match[2])
            if row is None:
                raise HypothesisError(line_of(path, number), f"{match[2][:20]}… is no row of a manifest", "remove it")
            yield number, match[1], row, match[3] or ""


def _add_line(record: DecodedUtterance, kind: str, value: str) -> None:
    if kind == "S":
        record.source = value
    elif kind == "T":
        if record.reference is not None:
            raise ValueError("second reference: two outputs in one file?")
        record.reference = value
    elif kind == "H":
        score, tokens = _score_and_text(value)
        record.hypotheses.append(Hypothesis(tokens, score, tokens))
    elif not record.hypotheses:
        raise ValueError(f"no H-{record.row} line before it")
    elif kind == "D":
        record.hypotheses[-1].text = _score_and_text(value)[1]
    else:
        record.hypotheses[-1].positional_scores = [float(score) for score in value.split()]


def _score_and_text(value: str) -> tuple[float, str]:
    score, _, text = value.partition("\t")
    return float(score), text


def _join_manifest(
    path: PathLike, records: dict[int, DecodedUtterance], manifest: Manifest, missing_as_empty: bool
) -> None:
    missing = [row for row in range(len(manifest)) if row not in records]
    beyond = [row for row in records if row >= len(manifest)]
    if beyond or (missing and not missing_as_empty):
        what = f"row {beyond[0]} is not in" if beyond else f"no hypothesis for {len(missing)} rows ({missing[0]} …) of"
        raise HypothesisError(
            line_of(path, 1),
            f"{what} {manifest.path} ({len(manifest)} rows)",
            "give the manifest that was decoded and all of its output, or count what was left out as empty hypotheses",
        )
    test_set = next(iter(records.values())).fields
    for row in missing:
        records[row] = DecodedUtterance(row, "", hypotheses=[Hypothesis("")], fields=dict(test_set))
    for row, record in records.items():
        utterance = manifest[row]
        record.id, record.reference = utterance.id, utterance.text
        record.fields.update(utterance.fields)


def _keyed_texts(path: PathLike) -> dict[str, str]:
    texts: dict[str, str] = {}
    for where, id_, text in keyed_lines(path, HypothesisError):
        if id_ in texts:
            raise HypothesisError(where, f"second text for {id_!r}", "remove one")
        texts[id_] = text
    return texts


def _parallel_texts(path: PathLike, other: PathLike) -> dict[str, str]:
    """Texts by line number; blank lines at the end that the other file lacks are no texts."""
    lines, others = (read_lines(one, HypothesisError, keep_blank_end=True) for one in (path, other))
    if not any(line.strip() for line in lines[len(others) :]):
        lines = lines[: len(others)]
    return {str(number): line for number, line in enumerate(lines, 1)}
