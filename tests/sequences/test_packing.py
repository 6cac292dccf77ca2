"""Packed batches against the same batches unpacked: losses, gradients, counts, training runs."""

import json
from typing import Any, Dict, List

import numpy as np
import pytest
import torch
from fairseq.models.transformer_lm import TransformerLanguageModel
from support.joint_lm import SLOW
from support.miniature import train
from support.packing import CRITERIA, VOCAB, assert_same, criterion, make_batch, make_model, update
from support.tasks import setup

from sld_user_dir.models.generation import build_generator
from sld_user_dir.models.packed_attention import Packing
from sld_user_dir.search.generator import PromptError
from sld_user_dir.sequences.dataset import SequenceDataset
from sld_user_dir.sequences.packed_batch import pack_batch
from sld_user_dir.tasks.speech_unit_lm import SpeechUnitLMConfig, SpeechUnitLMTask

# fairseq's own, on every call of its decoder
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning")


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("form", ["fused", "plain"])
@pytest.mark.parametrize("name", CRITERIA)
def test_losses_and_gradients_are_those_of_unpacked_batches(name: str, form: str, bos: bool) -> None:
    model, rule = make_model(), criterion(name, form)
    groups = [range(5), range(5, 7)]  # --update-freq 2
    expected = update(model, rule, [make_batch(list(group), add_bos=bos) for group in groups])
    actual = update(model, rule, [make_batch(list(group), add_bos=bos, packed=True) for group in groups])
    assert_same(actual, expected)
    assert float(expected["loss"]) > 0.1


@pytest.mark.parametrize("name", ["masked_ce", "official"])
def test_final_symbols_that_are_fed_in_count_as_unpacked(name: str) -> None:
    """Rows as the authors pad them: the last token of a short row is input, its target padding."""
    batch = make_batch([0, 1, 3])
    tokens, lengths = batch["net_input"]["src_tokens"], batch["net_input"]["src_lengths"]
    for row, length in enumerate(lengths.tolist()):
        if length < tokens.size(1):
            tokens[row, length] = VOCAB.eos
    packed = pack_batch(batch, VOCAB.pad)
    assert packed["net_input"]["src_lengths"].tolist() == [7, 14, 7]
    model, rule = make_model(), criterion(name)
    assert_same(update(model, rule, [packed]), update(model, rule, [batch]))


@pytest.mark.parametrize("name", ["masked_ce", "official", "official-token"])
def test_rows_without_targets_take_no_part(name: str) -> None:
    batch = make_batch([0, 1, 3])
    batch["target"][1] = VOCAB.pad
    packed = pack_batch(batch, VOCAB.pad)
    assert packed["net_input"]["src_lengths"].tolist() == [6, 6]
    model, rule = make_model(), criterion(name)
    assert_same(update(model, rule, [packed]), update(model, rule, [batch]))


def test_a_batch_without_targets_has_no_sentence() -> None:
    """What a worker gets that has fewer batches than the others."""
    batch = make_batch([0, 1], packed=True)
    rule = criterion("official")
    names = [term.name for term in rule.objective.terms]
    assert rule.divisors(batch)[names.index("kl")] == 2  # sentences
    batch["target"] = torch.full_like(batch["target"], VOCAB.pad)
    assert not rule.divisors(batch).any()
    assert rule(make_model(), batch)[0].item() == 0


@pytest.mark.parametrize(
    "options",
    [
        {"sinusoidal_positions": True},
        {"no_token_positional_embeddings": True},
        {"decoder_normalize_before": False},
        {"layernorm_embedding": True},
        {"decoder_input_dim": 8, "decoder_output_dim": 8},
        {"checkpoint_activations": True},
    ],
    ids=str,
)
def test_every_kind_of_joint_lm(options: Dict[str, Any]) -> None:
    model, rule = make_model(**options), criterion("paper")
    assert_same(update(model, rule, [make_batch([1, 5, 0], packed=True)]), update(model, rule, [make_batch([1, 5, 0])]))


def test_an_utterance_alone_is_the_same_batch() -> None:
    alone, packed = make_batch([1]), make_batch([1], packed=True)
    torch.testing.assert_close(packed["net_input"], alone["net_input"])


def test_packed_batch_has_no_padding_and_loses_nothing() -> None:
    batch, packed = make_batch([0, 1, 2]), make_batch([0, 1, 2], packed=True)
    assert len(packed["net_input"]["src_lengths"]) == 3
    tokens = batch["net_input"]["src_tokens"]
    assert torch.equal(packed["net_input"]["src_tokens"], tokens[tokens != VOCAB.pad][None])
    assert not (packed["target"] == VOCAB.pad).any()
    for key in ("id", "nsentences", "ntokens", "prompt_lengths"):
        assert torch.equal(torch.as_tensor(packed[key]), torch.as_tensor(batch[key]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    model, rule = make_model().float(), criterion("paper")
    batch, packed = make_batch([0, 1, 5]), make_batch([0, 1, 5], packed=True)
    expected = rule(model, batch)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(rule(model, packed)[0], expected, rtol=0.05, atol=0)
    loss = rule(model.to(dtype), packed)[0]
    torch.testing.assert_close(loss, expected, rtol=0.05, atol=0)
    loss.backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


def test_attention_dropout_stays_inside_utterances() -> None:
    """The gradient of an utterance's output by another one's embedding is 0, with dropout too."""
    model = make_model(attention_dropout=0.3, dropout=0.2)
    batch = make_batch([0, 1, 5], packed=True)
    lengths = batch["net_input"]["src_lengths"].tolist()
    states: List[torch.Tensor] = []
    model.decoder.layers[0].register_forward_pre_hook(lambda _, args: states.append(args[0]))
    features, _ = model(**batch["net_input"], features_only=True)
    second = slice(lengths[0], lengths[0] + lengths[1])
    (gradient,) = torch.autograd.grad(features[0, second].sum() * 100, states[0])
    assert bool((gradient[0, second].abs().sum(-1) > 0).all())
    gradient[0, second] = 0
    assert not gradient.any()


def test_groups_hold_similar_lengths() -> None:
    lengths = torch.tensor([10, 3, 9, 8, 7, 3, 1])
    packing = Packing.of(lengths)
    assert packing.groups == ((3, 10), (1, 7), (2, 3), (1, 1))
    x = torch.randn(1, int(lengths.sum()), 2)
    spread = packing.spread(x)
    assert torch.equal(packing.gather(spread), x)
    utterances = x[0].split(lengths.tolist())
    assert torch.equal(spread[0][1, :9], utterances[2]) and not spread[0][1, 9:].any()
    assert packing.positions.tolist() == [i for n in lengths.tolist() for i in range(n)]


def test_models_without_packed_attention_are_refused(mini: Any) -> None:
    config, task = setup(mini, "--pack-utterances")
    assert task.build_model(config.model).decoder.packs()
    config, task = setup(mini, "--pack-utterances", "--quant-noise-pq", "0.1", "--quant-noise-pq-block-size", "2")
    with pytest.raises(ValueError, match="--pack-utterances"):
        task.build_model(config.model)
    stock = ["--arch", "transformer_lm", "--decoder-input-dim", "16", "--decoder-output-dim", "16"]
    config, task = setup(mini, "--pack-utterances", *stock)
    with pytest.raises(ValueError, match=r"--pack-utterances.*choose a joint_lm"):
        task.build_model(config.model)
    slow = make_model(**SLOW["scaled-heads"])
    with pytest.raises(ValueError, match="can't take packed"):
        slow(**make_batch([0, 1], packed=True)["net_input"])


def test_stock_decoder_would_mix_utterances() -> None:
    """Why it is refused."""
    stock, own = make_model(TransformerLanguageModel), make_model()
    own.load_state_dict(stock.state_dict())
    net_input = make_batch([0, 1], packed=True)["net_input"]
    assert not torch.allclose(stock(**net_input)[0], own(**net_input)[0])


def test_unlabelled_and_left_padded_batches_are_refused() -> None:
    data = SequenceDataset([np.array([1, 2]), np.array([1])], None, VOCAB, packed=True)
    with pytest.raises(ValueError, match="without transcripts"):
        data.collater([data[0], data[1]])
    batch = make_batch([0, 1])
    batch["net_input"]["src_tokens"] = batch["net_input"]["src_tokens"].flip(1)
    batch["target"] = batch["target"].flip(1)
    with pytest.raises(ValueError, match="right-padded"):
        pack_batch(batch, VOCAB.pad)


def test_decoding_refuses_a_packed_batch() -> None:
    model = make_model()
    generator = build_generator([model], VOCAB, SpeechUnitLMConfig())
    with pytest.raises(PromptError, match="--pack-utterances"):
        generator.generate([model], make_batch([0, 1], packed=True))


@pytest.mark.parametrize("mixed", [False, True])
def test_batches_are_full_of_real_tokens(mixed: bool) -> None:
    np.random.seed(0)
    rng = np.random.default_rng(1)
    units = [rng.integers(0, 6, n) for n in rng.integers(1, 90, 200)]
    data = SequenceDataset(units, [[5]] * 200, VOCAB, shuffle=True, packed=True, mixed_lengths=mixed)
    batches = data.batch_by_size(data.ordered_indices(), max_tokens=500, required_batch_size_multiple=8)
    assert sorted(np.concatenate(batches).tolist()) == list(range(200))
    totals = [int(data.sizes[batch].sum()) for batch in batches]
    assert max(totals) <= 500 and min(totals[:-1]) > 500 - data.sizes.max()
    spans = [np.ptp(data.sizes[batch]) for batch in batches]
    assert (np.mean(spans) > 40) if mixed else (np.mean(spans) < 15)


def test_input_masking_hides_the_same_share() -> None:
    cfg = SpeechUnitLMConfig(input_mask_prob=0.5, input_mask_tokens="all")
    batch = make_batch([1] * 200 + [0], packed=True)
    masked = SpeechUnitLMTask(cfg, VOCAB).mask_inputs(batch)
    hidden = masked["net_input"]["src_tokens"] == VOCAB.mask
    assert abs(float(hidden.double().mean()) - 0.5) < 0.05
    assert torch.equal(masked["net_input"]["src_lengths"], batch["net_input"]["src_lengths"])


def test_training_logs_the_same_losses(mini: Any, tmp_path: Any) -> None:
    """fairseq-train with the same batches, packed and not; two batches an update."""
    options = ["--dropout", "0", "--attention-dropout", "0", "--max-tokens", "100000", "--batch-size", "7"]
    options += ["--required-batch-size-multiple", "1", "--update-freq", "2", "--kl-variant", "official"]
    runs = []
    for name, extra in (("plain", []), ("packed", ["--pack-utterances"])):
        lines = train(mini, tmp_path / name, *options, *extra, updates=3)
        runs.append([json.loads(line[line.index("{") :]) for line in lines if '"train_' in line or '"loss_kl"' in line])
    plain, packed = runs
    assert len(plain) == len(packed) > 3
    for mine, theirs in zip(packed, plain):
        for key in ("loss", "loss_text", "loss_speech", "loss_kl", "train_loss", "valid_loss", "valid_padding"):
            assert (key in mine) == (key in theirs)
            if key in mine:
                assert float(mine[key]) == pytest.approx(float(theirs[key]), abs=2e-3), key
    padding = [[float(log["padding"]) for log in run if "padding" in log] for run in runs]
    assert max(padding[1]) == 0 < max(padding[0])
