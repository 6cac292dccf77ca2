"""A few recordings of each test set, with the transcript of every system on every kind of units."""

from __future__ import annotations

from typing import Iterator, Mapping, Sequence

from sld_user_dir.experiment.results import Evaluation, ResultRow, kind_of_units
from sld_user_dir.scoring.edits import error_counts
from sld_user_dir.scoring.hypotheses import DecodedUtterance


def evenly_spaced(size: int, count: int) -> list[int]:
    """`count` places of `size`, or all of them, from the first on: nobody chooses the recordings that are shown."""
    count = min(size, count)
    return [i * size // count for i in range(count)]


def sample_transcripts(evaluations: Sequence[Evaluation], counts: Mapping[str, int]) -> list[ResultRow]:
    """One row for each recording, kind of units and system, in this order.

    Args:
        evaluations: one a kind of units, of the same recordings.
        counts: test set to how many of its recordings; sets that not every evaluation has are passed over.
    """
    rows: list[ResultRow] = []
    for test_set, count in counts.items():
        if not evaluations or not all(test_set in one.manifests for one in evaluations):
            continue
        ids = [utterance.id for utterance in evaluations[0].manifests[test_set]]
        for place in evenly_spaced(len(ids), count):
            for evaluation in evaluations:
                rows.extend(_rows_of(evaluation, test_set, ids[place]))
    return rows


def _rows_of(evaluation: Evaluation, test_set: str, recording: str) -> Iterator[ResultRow]:
    """A row a system, where the evaluation has the recording."""
    units = kind_of_units(evaluation.manifests[test_set])
    for (system, decoded_set), records in evaluation.records.items():
        found = [one for one in records if one.id == recording]
        if decoded_set == test_set and found:
            yield {"test_set": test_set, "units": units, "criterion": system, **_heard(found[0])}


def _heard(decoded: DecodedUtterance) -> ResultRow:
    said, heard = decoded.reference or "", decoded.best.text
    errors = error_counts(said.split(), heard.split())
    return {"recording": decoded.id, "said": said, "heard": heard, "word_errors": errors.errors}
