"""Utterances of odd lengths, a small joint_lm, and one update of a criterion over them."""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np
import torch
from torch import nn

from sld_user_dir.criterions.loss_options import MaskedCeConfig, SldCriterionConfig
from sld_user_dir.criterions.masked_ce import MaskedCeCriterion
from sld_user_dir.criterions.sld_criterion import SldCriterion
from sld_user_dir.losses.normalisation import annotate
from sld_user_dir.models import joint_lm
from sld_user_dir.sequences.dataset import SequenceDataset
from sld_user_dir.tasks.speech_unit_lm import SpeechUnitLMConfig, SpeechUnitLMTask
from sld_user_dir.vocabulary.joint import JointVocabulary
from sld_user_dir.vocabulary.tokenizers import CharTokenizer
from support.joint_lm import joint_lm_args

VOCAB = JointVocabulary.build(["abcd"], 6, CharTokenizer())
TASK = SpeechUnitLMTask(SpeechUnitLMConfig(), VOCAB)
LENGTHS = [(3, 2), (9, 4), (1, 0), (4, 1), (9, 3), (6, 2), (0, 1)]  # units, text
CRITERIA = {
    "masked_ce": (MaskedCeCriterion, MaskedCeConfig, {}),
    "multimodal": (SldCriterion, SldCriterionConfig, {"kl_weight": 0.0}),
    "paper": (SldCriterion, SldCriterionConfig, {"kl_weight": 0.5}),
    "paper-token": (SldCriterion, SldCriterionConfig, {"kl_denominator": "token"}),
    "official": (SldCriterion, SldCriterionConfig, {"kl_variant": "official", "kl_weight": 0.5}),
    "official-token": (SldCriterion, SldCriterionConfig, {"kl_variant": "official", "kl_denominator": "token"}),
}


def make_dataset(**options: Any) -> SequenceDataset:
    rng = np.random.default_rng(0)
    units = [rng.integers(0, VOCAB.num_units, n) for n, _ in LENGTHS]
    texts = [rng.integers(VOCAB.text_start, VOCAB.text_end, m) for _, m in LENGTHS]
    return SequenceDataset(units, texts, VOCAB, **options)


def make_batch(which: List[int], **options: Any) -> Dict[str, Any]:
    data = make_dataset(**options)
    return data.collater([data[i] for i in which])


def make_model(kind: Any = joint_lm.JointLanguageModel, **overrides: Any) -> nn.Module:
    torch.manual_seed(0)
    model = kind.build_model(joint_lm_args(**{"dropout": 0.0, "attention_dropout": 0.0, **overrides}), TASK).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def criterion(name: str, form: str = "fused") -> Any:
    kind, config, options = CRITERIA[name]
    return kind.build_criterion(config(loss_form=form, **options), TASK)


def update(model: nn.Module, criterion: Any, batches: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Loss, gradients and logged sums of one update over these batches."""
    model.zero_grad()
    annotate(batches, criterion.divisors)
    losses, logs = [], []
    for batch in batches:
        loss, _, log = criterion(model, batch)
        loss.backward()
        losses.append(loss.detach())
        logs.append({key: float(value) for key, value in log.items() if "padding" not in key})
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    return {
        "loss": sum(losses),
        "logs": {key: torch.tensor(sum(log[key] for log in logs)).double() for key in logs[0]},
        **gradients,
    }


def assert_same(actual: Dict[str, Any], expected: Dict[str, Any]) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-11)
