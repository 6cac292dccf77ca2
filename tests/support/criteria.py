"""A small stock model, batches for it, and the criteria over both."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any, Dict, List

import torch
from fairseq.data import Dictionary
from fairseq.logging import metrics
from fairseq.models.transformer_lm import TransformerLanguageModel, TransformerLanguageModelConfig

from sld_user_dir.criterions.loss_options import SldCriterionConfig
from sld_user_dir.criterions.sld_criterion import SldCriterion
from sld_user_dir.losses.divisors import DEFAULT_KL_WEIGHT
from support.losses import OFFSET, PAD, SEPARATOR, LossOptions, Sample, random_batch, sample_of

K = 5


def make_task(**attributes: Any) -> Any:
    """What models and criteria ask of a task: a vocabulary of four letters and K units, and dictionaries."""
    dictionary = Dictionary()
    for symbol in ["a", "b", "c", "d", "<sep>", *(f"<u{k}>" for k in range(K))]:
        dictionary.add_symbol(symbol)
    assert dictionary.index("<sep>") == SEPARATOR and len(dictionary) == OFFSET + K
    vocab = SimpleNamespace(unit_offset=OFFSET, num_units=K, separator=SEPARATOR, pad=PAD, bos=0, unk=3)
    vocab.text_end = SEPARATOR
    return SimpleNamespace(vocab=vocab, source_dictionary=dictionary, target_dictionary=dictionary, **attributes)


def make_model(**options: Any) -> TransformerLanguageModel:
    torch.manual_seed(0)
    cfg = TransformerLanguageModelConfig()
    cfg.decoder_layers, cfg.decoder_attention_heads, cfg.dropout = 2, 2, 0.0
    cfg.decoder_embed_dim = cfg.decoder_input_dim = cfg.decoder_output_dim = 16
    cfg.decoder_ffn_embed_dim = cfg.tokens_per_sample = cfg.max_target_positions = 16
    cfg.share_decoder_input_output_embed = True
    for name, value in options.items():
        setattr(cfg, name, value)
    return TransformerLanguageModel.build_model(cfg, make_task())


def make_sample(seed: int, batch: int = 3, length: int = 8) -> Sample:
    return sample_of(*random_batch(seed, batch, length, K))


def joined(samples: List[Sample]) -> Sample:
    """Several batches as one."""
    sources = torch.cat([sample["net_input"]["src_tokens"] for sample in samples])
    return sample_of(sources, torch.cat([sample["target"] for sample in samples]))


def sld(**options: Any) -> SldCriterion:
    return SldCriterion.build_criterion(SldCriterionConfig(**options), make_task())


def options_of(**criterion_options: Any) -> LossOptions:
    """The oracle's options for those of the criterion."""
    renamed = {
        name.replace("kl_temperature", "temperature").replace("kl_smoothing", "smoothing"): value
        for name, value in criterion_options.items()
    }
    renamed.setdefault("kl_weight", DEFAULT_KL_WEIGHT[renamed.get("kl_denominator", "sentence")])
    return LossOptions(**{name: value for name, value in renamed.items() if name != "loss_form"})


def gradients(model: torch.nn.Module) -> List[torch.Tensor]:
    return [parameter.grad for parameter in model.parameters()]


def logged(logging_outputs: List[Dict[str, Any]], criterion: Any = SldCriterion) -> Dict[str, Any]:
    """The metrics of logging outputs."""
    with metrics.aggregate(new_root=True) as aggregator:
        criterion.reduce_metrics(logging_outputs)
    return dict(aggregator.get_smoothed_values())


def train_on(batches: List[Sample], criterion: SldCriterion, model: torch.nn.Module) -> torch.Tensor:
    """[loss, sample size], added up over the batches as fairseq's trainer does; gradients add up in the model."""
    sums = torch.zeros(2, dtype=torch.float64)
    for number, batch in enumerate(batches):
        last = number == len(batches) - 1
        with contextlib.nullcontext() if last or not hasattr(model, "no_sync") else model.no_sync():
            loss, size, _ = criterion(model, batch)
            loss.backward()
        sums += torch.tensor([loss.item(), size], dtype=torch.float64)
    return sums
