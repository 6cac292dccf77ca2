"""CTC prefix scores and joint decoding, against sums over all paths of small matrices."""

import itertools
import math

import numpy as np
import pytest
import torch
from support import reference_decoding as reference
from support.decoding import assert_same
from torch import Tensor

from sld_user_dir.errors import InputError
from sld_user_dir.models.generation import build_generator
from sld_user_dir.search.beam import SearchOptions
from sld_user_dir.search.ctc_prefix import CtcPrefixScorer
from sld_user_dir.search.generator import PromptGenerator
from sld_user_dir.search.scorers import FusedCtc, Scorer
from sld_user_dir.sequences.ctc_classes import CtcClasses
from sld_user_dir.sequences.sequence_format import FORMATS
from sld_user_dir.vocabulary.joint import JointVocabulary
from sld_user_dir.vocabulary.tokenizers import CharTokenizer

VOCAB = JointVocabulary.build(["ab"], 3, CharTokenizer())


def transcripts(log_probs: Tensor) -> dict:
    """Probability of each transcript (a tuple of classes): the sum over its paths through (N, C)."""
    probs = log_probs.exp().numpy()
    found: dict = {}
    for path in itertools.product(range(probs.shape[1]), repeat=len(probs)):
        collapsed = tuple(c for c, _ in itertools.groupby(path) if c)
        found[collapsed] = found.get(collapsed, 0.0) + math.prod(probs[t, c] for t, c in enumerate(path))
    return found


def prefix_probability(found: dict, prefix: tuple) -> float:
    return sum(p for transcript, p in found.items() if transcript[: len(prefix)] == prefix)


def random_log_probs(rows: int, frames: int, classes: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(rows, frames, classes, generator=generator, dtype=torch.float64)).log_softmax(-1)


def assert_scores(scores: Tensor, found: dict, prefix: tuple) -> None:
    """Scores (C,) behind `prefix` are those of the sums over paths."""
    so_far = prefix_probability(found, prefix)
    for label in range(1, len(scores)):
        expected = prefix_probability(found, (*prefix, label)) / so_far
        assert float(scores[label].exp()) == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert float(scores[0].exp()) == pytest.approx(found.get(prefix, 0.0) / so_far, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_prefix_scores_are_sums_over_paths(frames):
    """Beams that branch, repeat a label and change places; the rows have different lengths."""
    log_probs, lengths = random_log_probs(2, frames, 3), torch.tensor([frames, max(1, frames - 2)])
    found = [transcripts(log_probs[row, :n]) for row, n in enumerate(lengths.tolist())]
    scorer = CtcPrefixScorer(log_probs, lengths, beams=2)
    prefixes = [[(), ()], [(), ()]]
    steps = [
        ([[1, 2], [2, 1]], [[0, 1], [1, 0]]),
        ([[1, 2], [1, 1]], [[0, 0], [0, 1]]),
        ([[2, 2], [2, 1]], [[1, 0]] * 2),
    ]
    for classes, parents in steps:
        for row in range(2):
            for beam in range(2):
                if prefix_probability(found[row], prefixes[row][beam]):
                    assert_scores(scorer.scores()[row, beam], found[row], prefixes[row][beam])
        scorer.advance(torch.tensor(classes), torch.tensor(parents))
        prefixes = [
            [(*prefixes[row][parent], label) for label, parent in zip(classes[row], parents[row])] for row in range(2)
        ]


def test_no_score_is_nan_where_no_path_is_left():
    log_probs = random_log_probs(1, 1, 3)
    scorer = CtcPrefixScorer(log_probs, torch.tensor([1]), beams=1)
    for label in (1, 1, 2):
        scorer.advance(torch.tensor([[label]]), torch.tensor([[0]]))
    assert scorer.scores().eq(-torch.inf).all()


@pytest.mark.parametrize("scale", [1.0, 30.0, 3000.0])
def test_scores_are_never_nan_nor_above_1(scale):
    """Utterances shorter than their batch, transcripts longer than their frames, classes without any chance."""
    generator = torch.Generator().manual_seed(0)
    for frames in range(1, 7):
        log_probs = (scale * torch.randn(3, frames, 4, generator=generator)).log_softmax(-1)
        lengths = torch.tensor([frames, frames // 2, 0])
        scorer = CtcPrefixScorer(log_probs, lengths, beams=3)
        for _ in range(frames + 2):
            scores = scorer.scores()
            assert not scores.isnan().any() and float(scores.max()) < 1e-9
            classes = torch.randint(1, 4, (3, 3), generator=generator)
            scorer.advance(classes, torch.randint(0, 3, (3, 3), generator=generator))


def test_an_utterance_without_frames_has_the_empty_transcript_alone():
    scorer = CtcPrefixScorer(random_log_probs(2, 3, 3), torch.tensor([0, 3]), beams=1)
    assert scorer.scores()[0, 0].exp().tolist() == pytest.approx([1.0, 0.0, 0.0])


def test_rows_that_are_kept_score_as_before():
    log_probs, lengths = random_log_probs(3, 6, 4), torch.tensor([6, 3, 5])
    scorer = CtcPrefixScorer(log_probs, lengths, beams=2)
    scorer.advance(torch.tensor([[1, 2], [3, 1], [2, 2]]), torch.tensor([[0, 1]] * 3))
    before = scorer.scores()
    scorer.keep(torch.tensor([2, 0]))
    assert torch.equal(scorer.scores(), before[[2, 0]])
    scorer.advance(torch.tensor([[1, 1], [2, 3]]), torch.tensor([[1, 0], [0, 1]]))
    assert scorer.scores().shape == (2, 2, 4) and not scorer.scores().isnan().any()


def test_many_frames_keep_their_digits():
    """The closed form of the recursion against the recursion itself, over 2,000 sharp frames."""
    frames, label = 2000, 1
    log_probs = (8 * torch.randn(1, frames, 3, generator=torch.Generator().manual_seed(1)).double()).log_softmax(-1)
    scorer = CtcPrefixScorer(log_probs, torch.tensor([frames]), beams=1)
    scorer.advance(torch.tensor([[label]]), torch.tensor([[0]]))
    p = log_probs[0].numpy()
    in_label, in_blank, empty = -np.inf, -np.inf, 0.0
    for t in range(frames):
        in_blank = np.logaddexp(in_blank, in_label) + p[t, 0]
        in_label = np.logaddexp(in_label, empty) + p[t, label]
        empty += p[t, 0]
    end = scorer.scores()[0, 0, 0] + scorer._total[0, 0]
    assert float(end) == pytest.approx(float(np.logaddexp(in_label, in_blank)), rel=1e-9)


class PositionDecoder:
    """Logits that depend on the token and its place alone; `Decoder` and `DecoderSession` in one."""

    max_positions = 30.0

    def __init__(self, seed: int):
        generator = torch.Generator().manual_seed(seed)
        self.table = 2 * torch.randn(30, len(VOCAB), len(VOCAB), generator=generator, dtype=torch.float64)

    def start(self, prompts, lengths, beams, outputs=None, every_position=False):
        self.outputs, self.lengths = outputs, lengths
        logits = self.table[torch.arange(prompts.size(1)), prompts][..., :outputs]
        self.prompt_logits = logits if every_position else None
        self.first_logits = logits[torch.arange(len(prompts)), lengths - 1]
        return self

    def step(self, tokens, parents):
        logits = self.table[self.lengths[:, None], tokens][..., : self.outputs]
        self.lengths = self.lengths + 1
        return logits

    def keep(self, rows):
        self.lengths = self.lengths[rows]

    def __call__(self, rows):
        return (self.table[torch.arange(rows.size(1)), rows],)


def units(*ids: int) -> list:
    return [VOCAB.unit_offset + one for one in ids]


@pytest.mark.parametrize("weight", [0.3, 1.0])
@pytest.mark.parametrize("bos", [False, True])
def test_joint_decoding_is_that_of_the_uncached_oracle(weight, bos):
    model, emission, classes = PositionDecoder(1), FORMATS["asr"].emission(VOCAB), CtcClasses.of(VOCAB)
    prompts = [[VOCAB.bos] * bos + units(*one) + [VOCAB.separator] for one in ([0, 1, 2, 1], [2, 2], [1, 0, 0])]
    source = torch.nn.utils.rnn.pad_sequence([torch.tensor(p) for p in prompts], True, VOCAB.pad)
    sample = {"net_input": {"src_tokens": source}, "prompt_lengths": torch.tensor([len(p) for p in prompts])}
    scorer = Scorer([model], emission, ctc=FusedCtc(classes, weight))
    generator = PromptGenerator(VOCAB, SearchOptions(beam=3, min_len=0), scorer, max_len_b=4)
    for prompt, results in zip(prompts, generator.generate(None, sample)):
        logits = model(torch.tensor([prompt]))[0][0, int(bos) : len(prompt) - 1]
        found = transcripts(classes.of_outputs(logits).log_softmax(-1))
        plain = reference.model_scorer([model], prompt, emission.ids)

        def oracle(answer, plain=plain, found=found):
            prefix = tuple(token - classes.first + 1 for token in answer)
            so_far, scores = prefix_probability(found, prefix), {}
            for token, log_prob in plain(answer).items():
                longer = (*prefix, token - classes.first + 1)
                p = found.get(prefix, 0.0) if token == VOCAB.eos else prefix_probability(found, longer)
                ctc = math.log(p / so_far) if p and so_far else -math.inf
                scores[token] = (1 - weight) * log_prob + weight * ctc
            return scores

        assert_same(results, reference.beam_search(oracle, emission.end, 3, 4))


@pytest.mark.parametrize("weight, task", [(-0.1, "asr"), (1.1, "asr"), (0.5, "slm")])
def test_what_cannot_be_is_refused_by_name(weight, task):
    with pytest.raises(InputError, match=f"--decode-ctc-weight {weight}"):
        build_generator([], VOCAB, None, sequence=FORMATS[task], ctc_weight=weight)
