"""The likeliest CTC path, against all paths of small matrices and against a plain recursion over one utterance."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from sld_user_dir.timing.ctc_alignment import align_labels


def random_log_probs(rows: int, frames: int, classes: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(rows, frames, classes, generator=generator, dtype=torch.float64)).log_softmax(-1)


def all_paths(log_probs: Tensor, labels: list) -> dict:
    """Log-probability of every path through (N, C) that collapses to the labels."""
    n_frames, n_classes = log_probs.shape
    paths = itertools.product(range(n_classes), repeat=n_frames)
    collapsing = (path for path in paths if [c for c, _ in itertools.groupby(path) if c] == labels)
    return {path: sum(float(log_probs[t, c]) for t, c in enumerate(path)) for path in collapsing}


def spans_of(path: tuple) -> list:
    """First and last frame of each label of a path."""
    runs = [(c, [t for t, _ in run]) for c, run in itertools.groupby(enumerate(path), key=lambda one: one[1])]
    return [(frames[0], frames[-1]) for c, frames in runs if c]


def plain_viterbi(log_probs: Tensor, labels: list) -> tuple:
    """Spans and log-probability by loops over frames and states of one utterance, as torchaudio's forced_align."""
    states = [0, *itertools.chain.from_iterable((label, 0) for label in labels)]
    best = {0: (float(log_probs[0, 0]), (0,))}
    if labels:
        best[1] = (float(log_probs[0, labels[0]]), (1,))
    for frame in log_probs[1:]:
        following = {}
        for s, c in enumerate(states):
            sources = [s, s - 1] + [s - 2] * (s >= 3 and c != 0 and c != states[s - 2])
            known = [best[one] for one in sources if one in best]
            if known:
                score, path = max(known)
                following[s] = (score + float(frame[c]), (*path, s))
        best = following
    ends = [best[s] for s in (len(states) - 1, len(states) - 2) if s in best]
    score, path = max(ends, default=(-math.inf, ()))
    emitted = [[t for t, s in enumerate(path) if s == 2 * m + 1] for m in range(len(labels))]
    return [(frames[0], frames[-1]) for frames in emitted if frames], score


def batch(labels: list) -> tuple:
    counts = torch.tensor([len(one) for one in labels])
    padded = torch.zeros(len(labels), int(counts.max()), dtype=torch.long)
    for row, one in enumerate(labels):
        padded[row, : len(one)] = torch.tensor(one, dtype=torch.long)
    return padded, counts


def spans(found, row: int, count: int) -> list:
    return list(zip(found.first[row, :count].tolist(), found.last[row, :count].tolist()))


@pytest.mark.parametrize("seed", range(3))
def test_the_path_is_the_likeliest_of_all(seed):
    labels = [[1], [1, 1], [1, 2], [2, 1, 2], []]
    log_probs, lengths = random_log_probs(len(labels), 6, 3, seed), torch.tensor([6, 5, 2, 6, 4])
    padded, counts = batch(labels)
    found = align_labels(log_probs, lengths, padded, counts)
    for row, one in enumerate(labels):
        paths = all_paths(log_probs[row, : lengths[row]], one)
        best = max(paths, key=paths.__getitem__)
        assert float(found.log_prob[row]) == pytest.approx(paths[best], abs=1e-12)
        assert spans(found, row, len(one)) == spans_of(best)
        for m, (first, last) in enumerate(spans_of(best)):
            mean = log_probs[row, first : last + 1, one[m]].mean()
            assert float(found.label_log_probs[row, m]) == pytest.approx(float(mean), abs=1e-12)


def test_long_utterances_of_a_batch_are_those_of_a_plain_recursion():
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([40, 7, 23, 1])
    labels = [torch.randint(1, 5, (n,), generator=generator).tolist() for n in (9, 3, 6, 1)]
    log_probs = random_log_probs(4, 40, 5, seed=2)
    padded, counts = batch(labels)
    found = align_labels(log_probs, lengths, padded, counts)
    for row, one in enumerate(labels):
        expected, score = plain_viterbi(log_probs[row, : lengths[row]], one)
        assert spans(found, row, len(one)) == expected
        assert float(found.log_prob[row]) == pytest.approx(score, abs=1e-9)


def test_what_has_no_path_is_told_and_harms_no_neighbour():
    padded, counts = batch([[1, 1, 1], [1, 2]])
    log_probs = random_log_probs(2, 4, 3, seed=3)
    found = align_labels(log_probs, torch.tensor([4, 4]), padded, counts)
    assert found.log_prob.isfinite().tolist() == [False, True]
    assert all(bool(values.isfinite().all()) for values in (found.first, found.last, found.label_log_probs))
    alone = align_labels(log_probs[1:], torch.tensor([4]), padded[1:, :2], counts[1:])
    assert spans(found, 1, 2) == spans(alone, 0, 2)
