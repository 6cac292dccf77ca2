"""What hypotheses say of the best one, and maps of it."""

import numpy as np
import pytest

from sld_user_dir.confidence.confidence_map import ConfidenceMap, ConfidenceMapError
from sld_user_dir.confidence.evidence import Candidate, posteriors, utterance_evidence, word_evidence
from sld_user_dir.confidence.fitting import fit_confidence
from sld_user_dir.confidence.labelled import LabelledUtterance
from sld_user_dir.confidence.logistic_map import fit_logistic
from sld_user_dir.errors import InputError
from sld_user_dir.vocabulary.tokenizers import CharTokenizer


def candidate(text, log_prob):
    words = text.split()
    return Candidate(words, [log_prob / len(words)] * len(words), log_prob)


NBEST = [
    candidate("one two three", np.log(0.6)),
    candidate("one three", np.log(0.3)),
    candidate("six two", np.log(0.1)),
]


def test_a_word_has_the_posterior_of_the_hypotheses_that_hold_it():
    assert posteriors(NBEST, 1.0) == pytest.approx([0.6, 0.3, 0.1])
    share = 1 / (1 + np.exp(-word_evidence(NBEST, 1.0)[:, 1]))
    assert share == pytest.approx([0.9, 0.7, 0.9])
    whole = utterance_evidence([*NBEST, candidate("one two three", np.log(0.2))], 1.0)
    assert 1 / (1 + np.exp(-whole[1])) == pytest.approx(0.8 / 1.2)
    flatter = posteriors(NBEST, 4.0)
    assert flatter[0] < 0.6 and flatter.sum() == pytest.approx(1)


def test_tokens_add_up_to_words():
    found = Candidate.of_tokens(CharTokenizer(), ["a", "b", "|", "c"], [-1.0, -2.0, -0.5, -4.0, -0.25])
    assert found == Candidate(["ab", "c"], [-3.5, -4.0], -7.75)
    assert Candidate.of_tokens(CharTokenizer(), [], [-0.5]) == Candidate([], [], -0.5)
    with pytest.raises(InputError, match="2 scores for 4 tokens and the end"):
        Candidate.of_tokens(CharTokenizer(), ["a", "b", "|", "c"], [-1.0, -2.0])


def test_empty_best_hypotheses_have_evidence_of_the_whole_alone():
    empty = [Candidate([], [], -0.5), candidate("one", -2.0)]
    assert word_evidence(empty, 1.0).shape == (0, 2)
    assert np.isfinite(utterance_evidence(empty, 1.0)).all()


def test_logistic_regression_finds_what_made_the_outcomes():
    rng = np.random.default_rng(0)
    evidence = rng.normal(size=(20_000, 2)) * [1, 5] + [3, -2]
    true = 1 / (1 + np.exp(-(2 * (evidence[:, 0] - 3) - 0.3 * (evidence[:, 1] + 2))))
    found, cross_entropy = fit_logistic(evidence, rng.random(20_000) < true)
    assert np.abs(found(evidence) - true).mean() < 0.01
    assert cross_entropy < 20_000 * np.log(2)


def test_separable_outcomes_have_a_finite_map():
    found, _ = fit_logistic(np.array([[-1.0], [1.0], [2.0]]), np.array([False, True, True]))
    p = found(np.array([[-1.0], [1.0]]))
    assert 0 < p[0] < 0.5 < p[1] < 1


def utterances(count, seed=0):
    """Of one word each, right as often as the beam's posterior says."""
    rng = np.random.default_rng(seed)
    made = []
    for share in rng.uniform(0.5, 1, size=count):
        right = bool(rng.random() < share)
        nbest = [candidate("one", float(np.log(share))), candidate("two", float(np.log(1 - share)))]
        made.append(LabelledUtterance(nbest, [right], right))
    return made


def test_a_map_comes_back_from_its_file_and_gives_calibrated_confidences(tmp_path):
    made = utterances(500)
    fit = fit_confidence(made, "c", "v", {"manifest": "valid.tsv"})
    assert fit.hypotheses == 2 and fit.fitted_on["words"] == 500
    fit.save(tmp_path / "m.json")
    found = ConfidenceMap.load(tmp_path / "m.json")
    assert found == fit
    others = utterances(500, seed=1)
    error = np.mean([found.of_words(one.candidates)[0] - one.right_words[0] for one in others])
    assert abs(error) < 0.06
    sure, unsure = (
        found.of_words([candidate("one", np.log(p)), candidate("two", np.log(1 - p))]) for p in (0.99, 0.55)
    )
    assert sure[0] > 0.9 > 0.7 > unsure[0]


def test_without_errors_there_is_nothing_to_learn():
    right = [LabelledUtterance([candidate("one", -0.1)], [True], True)]
    with pytest.raises(InputError, match="of 1 words all are right, so what sets wrong ones apart cannot be learnt"):
        fit_confidence(right, "c", "v", {})
    wrong = [LabelledUtterance([candidate("one", -0.1)], [False], False)]
    with pytest.raises(
        InputError, match=r"^generate-valid\.txt: of 1 words none is right, .*; fit on a larger or easier set"
    ):
        fit_confidence(wrong, "c", "v", {}, "generate-valid.txt")


@pytest.mark.parametrize("text", ["[]", '{"format": "other"}', '{"format": "confidence-map/1", "hypotheses": 5}'])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(ConfidenceMapError, match=r"m\.json: .*; fit one by sld confidence"):
        ConfidenceMap.load(tmp_path / "m.json")
