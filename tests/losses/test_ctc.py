"""The CTC auxiliary: which positions and labels, its value, its normalisation, its logs."""

import math
from types import SimpleNamespace
from typing import Any, Dict, List

import pytest
import torch
from fairseq.criterions import FairseqCriterion
from support import reference
from support.criteria import gradients, joined, logged, make_model, make_task, train_on
from support.losses import EOS, OFFSET, PAD, SEPARATOR, Sample, sample_of
from support.miniature import make_data, make_utterances
from support.tasks import batches, setup

from sld_user_dir.criterions.loss_options import MaskedCeConfig, SldCriterionConfig
from sld_user_dir.criterions.masked_ce import MaskedCeCriterion
from sld_user_dir.criterions.sld_criterion import SldCriterion
from sld_user_dir.errors import InputError
from sld_user_dir.losses.normalisation import annotate
from sld_user_dir.losses.terms.ctc import CTC

pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning")

BOS, UNK = 0, 3
CLASSES = [BOS, UNK, 4, 5, 6, 7]


def task(add_bos: bool = False) -> Any:
    return make_task(cfg=SimpleNamespace(add_bos_token=add_bos))


def build(kind: Any = SldCriterion, config: Any = SldCriterionConfig, **options: Any) -> Any:
    return kind.build_criterion(config(**{"ctc_weight": 0.3, **options}), task())


def make_sample(*utterances: Any) -> Sample:
    """A batch of (number of units, text ids)."""
    generator = torch.Generator().manual_seed(1)
    rows = [
        torch.cat([torch.randint(OFFSET, OFFSET + 5, (n,), generator=generator), torch.tensor([SEPARATOR, *text, EOS])])
        for n, text in utterances
    ]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
    src = padded[:, :-1].masked_fill(padded[:, 1:] == PAD, PAD)
    return sample_of(src, padded[:, 1:])


MIXED = [(4, [5, 7]), (3, [4, 4]), (2, [6, 6]), (1, []), (5, [UNK, 7, UNK]), (2, [4, 5, 6])]
CARRIED, SHORT = [0, 1, 3, 4], [2, 5]


def oracle(logits: torch.Tensor, utterances: List[Any], rows: List[int]) -> torch.Tensor:
    """- sum of log P(text | units) over rows of a batch without <s>."""
    total = torch.zeros((), dtype=torch.float64)
    for row in rows:
        n, text = utterances[row]
        log_probs = torch.log_softmax(logits[row, :n][:, CLASSES], dim=-1)
        total = total + reference.ctc(log_probs, [CLASSES.index(i) for i in text])
    return total


def test_too_short_utterances_have_no_path() -> None:
    logits = torch.zeros(len(MIXED), 9, OFFSET + 5, dtype=torch.float64)
    for row in range(len(MIXED)):
        assert math.isinf(oracle(logits, MIXED, [row])) == (row in SHORT)


@pytest.mark.parametrize("form", ["fused", "plain"])
@pytest.mark.parametrize("tied", [True, False])
def test_loss_of_a_model(form: str, tied: bool) -> None:
    model, sample = make_model(share_decoder_input_output_embed=tied).double(), make_sample(*MIXED)
    loss, sample_size, logs = build(loss_form=form)(model, sample)
    loss.backward()
    found = gradients(model)
    model.zero_grad()
    without, _, _ = build(loss_form=form, ctc_weight=0.0)(model, sample)
    logits, _ = model(**sample["net_input"])
    nll = oracle(logits, MIXED, CARRIED)
    text_targets = sum(len(text) + 1 for _, text in MIXED)
    expected = without + 0.3 * nll / text_targets
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found, gradients(model), rtol=0, atol=1e-9)
    assert sample_size == 1
    torch.testing.assert_close(logs["bits:ctc:total"], nll.detach())


def test_masked_ce_takes_it_too() -> None:
    model, sample = make_model().double(), make_sample(*MIXED)
    loss, _, _ = build(MaskedCeCriterion, MaskedCeConfig)(model, sample)
    expected, _, _ = build(speech_weight=0.0, kl_weight=0.0)(model, sample)
    torch.testing.assert_close(loss, expected)


def test_off_is_off() -> None:
    model, sample = make_model(), make_sample(*MIXED)
    criterion = build(ctc_weight=0.0)
    assert not criterion.objective.sequence_terms
    assert not [key for key in criterion(model, sample)[2] if "ctc" in key]


@pytest.mark.parametrize("criterion", [{}, {"loss_form": "plain"}])
def test_batches_without_any_utterance_to_align(criterion: Dict[str, Any]) -> None:
    """Padding alone, and too short utterances alone: no loss, finite gradients."""
    model, sample = make_model(), make_sample((2, [6, 6]), (1, [4, 5]))
    padding = {**sample, "target": torch.full_like(sample["target"], PAD)}
    for batch in (sample, padding):
        loss, _, logs = build(**criterion)(model, batch)
        loss.backward()
        assert loss.isfinite() and logs["bits:ctc:total"] == 0
        assert all(gradient.isfinite().all() for gradient in gradients(model))
        values = logged([logs])
        assert values["ctc"] == 0 and values["ctc_short"] == (100 if batch is sample else 0)


def test_logs() -> None:
    model, sample = make_model().double(), make_sample(*MIXED)
    loss, _, logs = build()(model, sample)
    values = logged([logs])
    logits, _ = model(**sample["net_input"])
    bits = oracle(logits, MIXED, CARRIED).item() / math.log(2)
    labels = sum(len(MIXED[row][1]) for row in CARRIED)
    text_targets = sum(len(text) + 1 for _, text in MIXED)
    assert values["ctc"] == pytest.approx(bits / labels, abs=1e-3)
    assert values["loss_ctc"] == pytest.approx(0.3 * bits / text_targets, abs=1e-3)
    assert values["ctc_short"] == pytest.approx(100 * len(SHORT) / len(MIXED), abs=1e-3)
    assert values["loss"] == pytest.approx(loss.item() / math.log(2), abs=2e-3)


def test_update_freq_changes_nothing() -> None:
    """Two batches with other numbers of text tokens, one of padding, and the whole as one batch."""
    parts = [make_sample(*MIXED[:2]), make_sample(*MIXED[2:])]
    width = max(part["target"].size(1) for part in parts)

    def widened(sample: Sample) -> Sample:
        def wide(ids: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.pad(ids, (0, width - ids.size(1)), value=PAD)

        return sample_of(wide(sample["net_input"]["src_tokens"]), wide(sample["target"]))

    parts = [widened(part) for part in parts]
    parts.append({**parts[0], "target": torch.full_like(parts[0]["target"], PAD)})
    found = []
    for group in ([joined(parts[:2])], annotate(parts, build().divisors)):
        model = make_model().double()
        found.append([train_on(group, build(), model), *gradients(model)])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def test_half_precision_model() -> None:
    found = []
    for dtype in (torch.float32, torch.float16):
        model = make_model().to(dtype)
        loss, _, _ = build(ctc_weight=1.0, speech_weight=0.0, kl_weight=0.0)(model, make_sample(*MIXED))
        (loss * 128).backward()
        assert loss.dtype == torch.float32
        found.append(torch.cat([gradient.flatten().double() for gradient in gradients(model)]))
    assert (found[0] - found[1]).norm() / found[0].norm() < 0.01


# ---------------------------------------------------------------------------------- selection


@pytest.mark.parametrize("add_bos", [False, True])
def test_frames_are_the_units_and_labels_the_text(tmp_path: Any, add_bos: bool) -> None:
    """Of real batches, whatever --input-mask-prob hides."""
    extra = ["--ctc-weight", "1", "--input-mask-prob", "1", *(["--add-bos-token"] if add_bos else [])]
    config, real = setup(make_data(tmp_path, train=9), *extra)
    real.load_dataset("train")
    criterion = real.build_criterion(config.criterion)
    (ctc,) = criterion.objective.sequence_terms
    model, utterances, seen = real.build_model(config.model), make_utterances(9, "train-"), []
    for batch in batches(real, "train"):
        chosen = ctc.select(batch["target"])
        assert chosen.rows.tolist() == list(range(batch["nsentences"]))
        for i, row in enumerate(batch["id"].tolist()):
            start = ctc.start
            heard = batch["net_input"]["src_tokens"][i, start : start + chosen.units[i]]
            assert real.vocab.decode_units(heard.tolist()) == utterances[row].units.tolist()
            labels = chosen.labels[i, : chosen.tokens[i]]
            assert real.vocab.decode_text(labels.tolist()) == utterances[row].text
            seen.append(row)
        hidden = real.mask_inputs(batch)
        assert (hidden["net_input"]["src_tokens"] == real.vocab.mask).any()
        assert criterion(model, hidden)[2]["bits:ctc:total"] > 0
    assert sorted(seen) == list(range(9))
    assert isinstance(criterion, FairseqCriterion)


def test_rows_of_another_kind_carry_no_ctc_loss() -> None:
    ctc = CTC(task().vocab, 1.0, add_bos=False)
    u = OFFSET
    target = torch.tensor(
        [
            [u, SEPARATOR, 5, EOS],  # an utterance of two units
            [5, SEPARATOR, u, EOS],  # text first
            [u, u, u, EOS],  # no text
            [5, 6, 7, EOS],  # no speech
            [PAD, PAD, PAD, PAD],
        ]
    )
    chosen = ctc.select(target)
    assert chosen.rows.tolist() == [0] and chosen.units.tolist() == [2] and chosen.labels[:, 0].tolist() == [5]
    assert chosen.short == 0


def test_what_it_cannot_serve_is_refused() -> None:
    with pytest.raises(InputError, match="below 0"):
        build(ctc_weight=-0.1)
    ctc = CTC(task().vocab, 1.0, add_bos=False)
    target = torch.tensor([[SEPARATOR, 5, EOS, OFFSET, SEPARATOR, 5, EOS]])
    with pytest.raises(ValueError, match="one utterance a row"):
        ctc.select(target)
