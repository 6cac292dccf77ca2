"""Configurations of the recipes: fairseq2's sections, those of this package, and defaults for two CPU cores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Optional

from fairseq2.recipe.config import (
    ADAMW_OPTIMIZER,
    COSINE_ANNEALING_LR,
    AdamWConfig,
    CommonSection,
    CosineAnnealingLRConfig,
    DatasetSection,
    EvaluatorSection,
    GangSection,
    LRSchedulerSection,
    MixedPrecisionConfig,
    ModelSection,
    OptimizerSection,
    ReferenceModelSection,
    RegimeSection,
    TokenizerSection,
    TrainerSection,
)

from sld_user_dir.fairseq2 import joint_transformer_factory, unit_manifests, unit_tokenizer
from sld_user_dir.fairseq2.objective_section import ObjectiveSection


@dataclass(kw_only=True)
class UnitDatasetSection(DatasetSection):
    """The data, and how batches are made of it."""

    family: Optional[str] = unit_manifests.FAMILY

    train_split: str = "train"
    """the manifest that is trained on"""

    valid_split: Optional[str] = "valid"
    """the manifest of validation; null: none"""

    max_num_tokens: int = 1200
    """tokens of a batch, padding included"""

    num_seqs_multiple_of: int = 8
    """full batches are rounded down to a multiple of it"""

    skip_too_long: bool = False
    """leave longer utterances out than the model holds, counted and named, instead of stopping with an error"""

    add_bos: bool = False
    """start every sequence with <s>, so that the first unit is predicted too"""

    task_mix: Optional[str] = None
    """a mixture of tasks, such as asr=1,tts=0.5"""

    mixed_lengths: bool = False
    """batches of utterances of any length instead of similar ones"""

    input_mask_prob: float = 0.0
    """probability of replacing an input token by <mask> in training"""

    input_mask_tokens: Literal["speech", "all"] = "speech"
    """which input tokens input_mask_prob may hide"""

    dedup_prob: float = 0.0
    """augmentation of training units: probability of collapsing runs of one unit"""

    dedup_level: Literal["utterance", "run"] = "utterance"
    """what dedup_prob is drawn for"""

    unit_substitution_prob: float = 0.0
    """augmentation of training units: probability of replacing one by another"""

    unit_substitution_kmeans: Optional[str] = None
    """k-means .npz of the units: another one is then drawn among the nearest"""

    unit_substitution_neighbours: int = 10
    """among how many of the nearest"""


@dataclass(kw_only=True)
class SearchSection:
    """How transcripts are searched for; the names are those of fairseq's options."""

    beam: int = 1
    """hypotheses that are kept; 1 is greedy"""

    max_len_b: int = 200
    """most tokens of a transcript"""

    lenpen: float = 1.0
    """scores are divided by (tokens + 1) to this power"""

    ctc_weight: float = 0.0
    """share of the model's CTC in the score, for models trained with objective.ctc_weight"""


@dataclass(kw_only=True)
class LossFormSection:
    """How the loss is computed; nothing here changes the objective."""

    form: Literal["auto", "fused", "plain"] = "auto"
    """'fused' never holds the logits; 'plain' works on them"""

    chunk_size: Optional[int] = None
    """positions that the fused form projects at a time"""


def _tokenizer() -> TokenizerSection:
    return TokenizerSection(name="", family=unit_tokenizer.FAMILY)


def _optimizer() -> OptimizerSection:
    return OptimizerSection(name=ADAMW_OPTIMIZER, config=AdamWConfig(lr=1.5e-3, betas=(0.9, 0.98), weight_decay=0.01))


def _lr_scheduler() -> LRSchedulerSection:
    config = CosineAnnealingLRConfig(num_warmup_steps=100, final_lr=0.0, final_lr_scale=None)
    return LRSchedulerSection(name=COSINE_ANNEALING_LR, config=config)


def _trainer() -> TrainerSection:
    return TrainerSection(max_grad_norm=1.0, mixed_precision=MixedPrecisionConfig(mode="off"))


def _regime() -> RegimeSection:
    return RegimeSection(
        num_steps=3000,
        score_metric="wer",
        validate_every_n_steps=500,
        checkpoint_every_n_steps=500,
        publish_metrics_every_n_steps=50,
        keep_last_n_checkpoints=2,
    )


def _seed() -> CommonSection:
    return CommonSection(seed=1)


@dataclass(kw_only=True)
class UnitRecipeConfig:
    """Of the recipe that trains."""

    model: ModelSection = field(
        default_factory=lambda: ModelSection(family=joint_transformer_factory.FAMILY, arch="tiny")
    )
    dataset: UnitDatasetSection = field(default_factory=UnitDatasetSection)
    tokenizer: TokenizerSection = field(default_factory=_tokenizer)
    objective: ObjectiveSection = field(default_factory=ObjectiveSection)
    loss: LossFormSection = field(default_factory=LossFormSection)
    search: SearchSection = field(default_factory=SearchSection)
    gang: GangSection = field(default_factory=GangSection)
    trainer: TrainerSection = field(default_factory=_trainer)
    optimizer: OptimizerSection = field(default_factory=_optimizer)
    lr_scheduler: LRSchedulerSection = field(default_factory=_lr_scheduler)
    regime: RegimeSection = field(default_factory=_regime)
    common: CommonSection = field(default_factory=_seed)


@dataclass(kw_only=True)
class DecodingRecipeConfig:
    """Of the recipe that decodes and scores."""

    model: ReferenceModelSection = field(default_factory=lambda: ReferenceModelSection(name="last_checkpoint"))
    dataset: UnitDatasetSection = field(default_factory=UnitDatasetSection)
    tokenizer: TokenizerSection = field(default_factory=_tokenizer)
    search: SearchSection = field(default_factory=lambda: SearchSection(beam=5))
    gang: GangSection = field(default_factory=GangSection)
    evaluator: EvaluatorSection = field(default_factory=EvaluatorSection)
    common: CommonSection = field(default_factory=_seed)
