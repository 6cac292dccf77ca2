"""The registered criteria: model calls, fallbacks, normalisation over an update, logs."""

import gc
import logging
import math
import warnings
from pathlib import Path
from typing import Any, List

import pytest
import torch
import torch.multiprocessing
from fairseq.criterions.adaptive_loss import AdaptiveLoss
from fairseq.data.iterators import EpochBatchIterator
from fairseq.distributed import ModuleProxyWrapper
from fairseq.logging import metrics
from fairseq.models.transformer_lm import TransformerLanguageModel
from support import reference
from support.criteria import K, gradients, joined, logged, make_model, make_sample, make_task, options_of, sld, train_on
from support.losses import EOS, OFFSET, PAD, SEPARATOR, LossOptions, Sample, oracle
from torch.nn.parallel import DistributedDataParallel

from sld_user_dir.criterions.loss_options import MaskedCeConfig
from sld_user_dir.criterions.masked_ce import MaskedCeCriterion
from sld_user_dir.criterions.sld_criterion import SldCriterion
from sld_user_dir.losses.normalisation import UPDATE, annotate
from sld_user_dir.tasks.update_iterator import UpdateBatchIterator

# fairseq's own, on every call of its decoder and of its data loader
pytestmark = [
    pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning"),
    pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning"),
]


def count(sample: Sample) -> torch.Tensor:
    return sld().divisors(sample)


@pytest.mark.parametrize("variant", ["paper", "official"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("form", ["fused", "plain"])
def test_loss_of_a_model(variant: str, tied: bool, form: str) -> None:
    model = make_model(share_decoder_input_output_embed=tied).double()
    sample = make_sample(3)
    options = {"kl_variant": variant, "text_label_smoothing": 0.1}
    loss, sample_size, _ = sld(loss_form=form, **options)(model, sample)
    logits, _ = model(**sample["net_input"])
    expected = oracle(logits, sample["net_input"]["src_tokens"], sample["target"], options_of(**options))
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    assert sample_size == 1
    loss.backward()
    ours = gradients(model)
    model.zero_grad()
    expected.backward()
    torch.testing.assert_close(ours, gradients(model), rtol=0, atol=1e-9)


def test_masked_ce_is_sld_without_speech() -> None:
    model, sample = make_model(), make_sample(4)
    masked = MaskedCeCriterion.build_criterion(MaskedCeConfig(), make_task())
    loss, _, logs = masked(model, sample)
    expected, _, _ = sld(speech_weight=0.0, kl_weight=0.0)(model, sample)
    torch.testing.assert_close(loss, expected)
    values = logged([logs], MaskedCeCriterion)
    assert values["loss"] == pytest.approx(loss.item() / math.log(2), abs=1e-3)
    assert "speech" not in values and "kl" not in values


def test_default_kl_weight_follows_the_denominator() -> None:
    def kl_weights(**options: Any) -> List[float]:
        return [term.weight for term in sld(**options).objective.terms if term.name == "kl"]

    assert kl_weights() == [0.008]
    assert kl_weights(kl_denominator="token") == [3.2]
    assert kl_weights(kl_denominator="token", kl_weight=0.0) == []


def test_fused_form_names_the_obstacle() -> None:
    model = make_model(share_decoder_input_output_embed=False, adaptive_softmax_cutoff="8")
    with pytest.raises(ValueError, match="adaptive softmax"):
        sld(loss_form="fused")(model, make_sample(1))


ADAPTIVE = {  # its own loss ignores the second id of each tail, taking it for padding: no text has that id here
    "untied": {"adaptive_softmax_cutoff": "8", "adaptive_softmax_factor": 2},
    "two tails": {"adaptive_softmax_cutoff": "7,10", "adaptive_softmax_factor": 2},
    "tied": {
        "adaptive_softmax_cutoff": "8",
        "adaptive_input": True,
        "adaptive_input_cutoff": "8",
        "tie_adaptive_weights": True,
        "tie_adaptive_proj": True,
    },
}


def adaptive_model(name: str) -> TransformerLanguageModel:
    return make_model(share_decoder_input_output_embed=False, **ADAPTIVE[name]).double()


@pytest.mark.parametrize("name", ADAPTIVE)
def test_adaptive_softmax_has_the_loss_of_its_probabilities(name: str, caplog: pytest.LogCaptureFixture) -> None:
    model, sample, criterion = adaptive_model(name), make_sample(3), sld(kl_weight=0.5)
    with caplog.at_level(logging.INFO):
        loss, _, _ = criterion(model, sample)
    assert "not fused: it has an adaptive softmax" in caplog.text
    logits = model.get_normalized_probs(model(**sample["net_input"]), log_probs=True)
    src, target = sample["net_input"]["src_tokens"], sample["target"]
    expected = oracle(logits, src, target, LossOptions(kl_weight=0.5))
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_adaptive_softmax_has_the_gradients_of_fairseqs_own_loss(name: str) -> None:
    model, sample = adaptive_model(name), make_sample(3)
    masked = MaskedCeCriterion.build_criterion(MaskedCeConfig(), make_task())
    masked(model, sample)[0].backward()
    ours = gradients(model)
    model.zero_grad()
    target = sample["target"]
    text = (target != PAD) & (target < SEPARATOR)
    sample["target"] = target.masked_fill(~text, PAD)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss, _, _ = AdaptiveLoss(make_task(), False)(model, sample)
    (loss / text.sum()).backward()
    for one, other in zip(ours, gradients(model)):
        assert one is not None
        torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other, rtol=0, atol=1e-9)


def test_logits_of_another_vocabulary_are_refused() -> None:
    model = make_model()
    model.decoder.output_projection = torch.nn.Linear(16, OFFSET + K + 1)
    with pytest.raises(ValueError, match=f"gives {OFFSET + K + 1} logits, but the vocabulary has {OFFSET + K}"):
        sld()(model, make_sample(1))


def test_fallback_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    model, sample, criterion = make_model(), make_sample(1), sld()
    fused, _, _ = criterion(model, sample)
    weight = model.decoder.output_projection.weight
    model.decoder.output_projection = torch.nn.Linear(16, OFFSET + K)
    model.decoder.output_projection.weight = weight
    torch.nn.init.zeros_(model.decoder.output_projection.bias)
    with caplog.at_level(logging.INFO):
        plain = [criterion(model, sample)[0] for _ in range(2)]
    torch.testing.assert_close(plain[1], fused)
    assert [record.message for record in caplog.records] == [
        "the loss is computed from full logits, not fused: its output projection has a bias"
    ]


@pytest.mark.parametrize("tied", [True, False])
def test_activation_checkpointing(tied: bool) -> None:
    sample, found = make_sample(2), []
    for checkpointed in (False, True):
        model = make_model(checkpoint_activations=checkpointed, share_decoder_input_output_embed=tied)
        loss, _, _ = sld()(model, sample)
        loss.backward()
        found.append([loss.detach(), *gradients(model)])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_model(dtype: torch.dtype) -> None:
    """As under --fp16 and --bf16: a half model, a scaled loss."""
    sample, found = make_sample(2), []
    for precision in (torch.float32, dtype):
        model = make_model().to(precision)
        loss, _, _ = sld()(model, sample)
        (loss * 128).backward()
        found.append(torch.cat([g.flatten().double() for g in gradients(model)]))
        assert loss.dtype == torch.float32
    error = (found[0] - found[1]).norm() / found[0].norm()
    assert error < {torch.float16: 0.01, torch.bfloat16: 0.05}[dtype]


# ---------------------------------------------------------------------------- normalisation


def results(batches: List[Sample], options: Any) -> List[torch.Tensor]:
    """[loss and sample size, gradients…] of one process without wrapper."""
    model_options, criterion_options = options
    model = make_model(**model_options).double()
    return [train_on(batches, sld(**criterion_options), model), *gradients(model)]


TIED, UNTIED = {}, {"share_decoder_input_output_embed": False}
OPTIONS = [(TIED, {"kl_denominator": "sentence"}), (UNTIED, {"kl_denominator": "token", "kl_variant": "official"})]


@pytest.mark.parametrize("options", OPTIONS)
def test_update_freq_changes_nothing(options: Any) -> None:
    batches = [make_sample(seed, batch=seed + 1) for seed in range(3)]
    whole = results([joined(batches)], options)
    parts = results(annotate(batches, sld(**options[1]).divisors), options)
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-12)


def _worker(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # pytest's filters don't reach a new process
    address = f"file://{folder}/rendezvous"
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    for number, options in enumerate(OPTIONS):
        for unused in (False, True):
            results_of_two = _train_shared(rank, options, unused)
            if rank == 0:
                torch.save(results_of_two, folder / f"{number}-{unused}.pt")
    # a wrapper that outlives its process group, or a peer gone early, can abort the process at its exit
    gc.collect()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def _train_shared(rank: int, options: Any, unused: bool) -> List[torch.Tensor]:
    model_options, criterion_options = options
    batches = [make_sample(seed, batch=seed + 1) for seed in range(4)][rank::2]
    if rank == 1:  # what the iterator puts in place of an empty batch
        batches[1]["target"] = torch.full_like(batches[1]["target"], PAD)
    model = make_model(**model_options).double()
    criterion = sld(**criterion_options)
    wrapped = DistributedDataParallel(model, find_unused_parameters=unused)
    sums = train_on(annotate(batches, criterion.divisors), criterion, ModuleProxyWrapper(wrapped))
    torch.distributed.all_reduce(sums)
    return [sums, *(2 * gradient for gradient in gradients(model))]  # the wrapper averages


def test_two_workers_change_nothing(tmp_path: Path) -> None:
    """Two processes with two batches each, one of them empty, against one large batch.

    In fairseq's wrapper for distributed training, with and without --find-unused-parameters.
    """
    torch.multiprocessing.spawn(_worker, (tmp_path,), nprocs=2)
    for number, options in enumerate(OPTIONS):
        batches = [make_sample(seed, batch=seed + 1) for seed in range(3)]
        expected = results([joined(batches)], options)
        for unused in (False, True):
            ours = torch.load(tmp_path / f"{number}-{unused}.pt", weights_only=True)
            torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


class Numbers(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> int:
        return index


def collate(indices: List[int]) -> Sample:
    return make_sample(indices[0], batch=1) if indices else {}


def iterator(update_freq: List[int], shards: int = 1, shard: int = 0) -> UpdateBatchIterator:
    batches = [[index] for index in range(7)]
    plain = EpochBatchIterator(Numbers(), collate, batches, num_shards=shards, shard_id=shard)
    return UpdateBatchIterator.wrap(plain, count, update_freq, PAD)


def test_batches_carry_the_totals_of_their_update() -> None:
    itr = iterator([3])
    batches = list(itr.next_epoch_itr(shuffle=False))
    assert [batch[UPDATE]["batches"] for batch in batches] == [3, 3, 3, 3, 3, 3, 1]
    for start in (0, 3, 6):
        group = batches[start : start + 3]
        totals = torch.stack([count(batch) for batch in group]).sum(0)
        assert all(torch.equal(batch[UPDATE]["totals"], totals) for batch in group)
    assert itr.end_of_epoch()


def test_update_freq_by_epoch() -> None:
    itr = iterator([1, 2])
    sizes = []
    for _ in range(3):
        batches = list(itr.next_epoch_itr(shuffle=False))
        sizes.append([batch[UPDATE]["batches"] for batch in batches])
    assert sizes == [[1] * 7, [2] * 6 + [1], [2] * 6 + [1]]


def test_a_resumed_epoch_goes_on_at_its_update() -> None:
    whole = list(iterator([2]).next_epoch_itr(shuffle=False))
    first = iterator([2])
    started = first.next_epoch_itr(shuffle=False)
    for _ in range(4):
        next(started)
    assert first.iterations_in_epoch == 4
    resumed = iterator([2])
    resumed.load_state_dict({**first.state_dict(), "shuffle": False})
    rest = list(resumed.next_epoch_itr(shuffle=False))
    assert len(rest) == 3
    for ours, wanted in zip(rest, whole[4:]):
        assert torch.equal(ours["target"], wanted["target"])
        assert torch.equal(ours[UPDATE]["totals"], wanted[UPDATE]["totals"])


def test_an_empty_batch_becomes_one_of_padding() -> None:
    batches = list(iterator([1], shards=2, shard=1).next_epoch_itr(shuffle=False))
    assert len(batches) == 4
    last = batches[-1]
    assert (last["target"] == PAD).all() and last["nsentences"] == last["ntokens"] == 0
    assert not last[UPDATE]["totals"].any()
    loss, _, logs = sld()(make_model(), last)
    loss.backward()
    assert loss == 0 and logged([logs])["loss"] == 0


# ------------------------------------------------------------------------------------- logs


def test_logs_add_up_over_workers() -> None:
    """Summed outputs of two batches log what the two as one batch log."""
    model, criterion = make_model().double(), sld(kl_variant="official", text_label_smoothing=0.1)
    criterion.eval()
    batches = [make_sample(1, batch=2), make_sample(2, batch=3)]
    outputs = [criterion(model, batch)[2] for batch in batches]
    summed = {key: sum(output[key] for output in outputs) for key in outputs[0]}
    loss, _, whole = criterion(model, joined(batches))
    expected = logged([whole])
    for reduced in (logged(outputs), logged([summed])):
        assert reduced == pytest.approx(expected, abs=2e-3)
    assert expected["loss"] == pytest.approx(loss.item() / math.log(2), abs=1e-3)
    assert all(type(value) in (int, float) for value in expected.values())


def test_logged_values() -> None:
    """Every figure, recomputed from the logits."""
    model, sample = make_model().double(), make_sample(6)
    criterion = sld()
    _, _, logs = criterion(model, sample)
    values = logged([logs])
    logits, _ = model(**sample["net_input"])
    target = sample["target"]
    bits = -torch.log_softmax(logits, -1).gather(2, target[..., None])[..., 0] / math.log(2)
    unit, text = target >= OFFSET, (target < SEPARATOR) & (target != PAD)
    src = sample["net_input"]["src_tokens"]
    _, sums = reference.loss(logits, src, target, PAD, SEPARATOR, OFFSET, **vars(LossOptions()))
    hits = (logits.argmax(-1) == target)[text].double()
    expected = {
        "text": bits[text].mean(),
        "speech": bits[unit].mean(),
        "kl": sums["kl"] / unit.sum() / math.log(2),
        "text_ppl": 2 ** bits[text].mean(),
        "speech_ppl": 2 ** bits[unit].mean(),
        "text_accuracy": 100 * hits.mean(),
        "padding": (target == PAD).double().mean(),
    }
    for name, value in expected.items():
        assert values[name] == pytest.approx(value.item(), rel=1e-3, abs=1e-3), name


def test_epoch_metrics_can_be_saved() -> None:
    """Checkpoints hold the meters: plain numbers only, so that they load again."""
    _, _, logs = sld()(make_model(), make_sample(6))
    with metrics.aggregate(new_root=True) as aggregator:
        SldCriterion.reduce_metrics([logs])

    def leaves(value: Any) -> List[Any]:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, (list, tuple)):
            return [leaf for item in value for leaf in leaves(item)]
        return [value]

    assert all(leaf is None or type(leaf) in (int, float, str) for leaf in leaves(aggregator.state_dict()))


def test_eos_counts_as_text() -> None:
    sample = make_sample(1)
    target = sample["target"]
    assert count(sample)[0] == ((target == EOS) | ((target >= 4) & (target < SEPARATOR))).sum()
