"""`--arch joint_hf --hf-model DIR_OR_NAME`: any pretrained causal language model of Hugging Face as the backbone."""

# fairseq reads the field types of this dataclass: no postponed annotations here.
from dataclasses import dataclass, field
from typing import Any, Optional

import torch
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.models import FairseqLanguageModel, register_model
from omegaconf import II
from torch import Tensor

from sld_user_dir.errors import InputError
from sld_user_dir.models.hf_base import HFBase, check_vocabulary, load_base
from sld_user_dir.models.hf_decoder import HFDecoder
from sld_user_dir.models.joint_embedding import JointRows
from sld_user_dir.models.lora import ALL_LINEAR, add_adapters
from sld_user_dir.models.new_symbols import INITIALISATIONS, new_rows


@dataclass
class JointHFConfig(FairseqDataclass):
    """Options of `--arch joint_hf`; all else is the pretrained model's own."""

    hf_model: Optional[str] = field(
        default=None,
        metadata={
            "help": "a Hugging Face causal language model: a directory of save_pretrained, or a name on its hub; "
            "safetensors only. Its tokenizer must be that of the data directory (sld vocab --text-tokenizer hf)"
        },
    )
    new_symbols: ChoiceEnum(list(INITIALISATIONS)) = field(  # type: ignore[valid-type]
        default="mean",
        metadata={
            "help": "where embeddings of units and specials start: 'mean', near the mean of the text's; 'normal', "
            "N(0, --new-symbols-std). From centroids: --init-unit-embeddings"
        },
    )
    new_symbols_std: Optional[float] = field(
        default=None, metadata={"help": "of --new-symbols normal (default: the model's initializer_range)"}
    )
    text_embeddings: ChoiceEnum(["auto", "trained", "frozen"]) = field(  # type: ignore[valid-type]
        default="auto",
        metadata={
            "help": "whether the pretrained text symbols' embeddings, and their part of the output matrix, are trained "
            "(auto: frozen with --lora-rank). Those of units and specials always are"
        },
    )
    lora_rank: int = field(
        default=0,
        metadata={"help": "train adapters of this rank (LoRA, by peft) and leave the rest frozen; 0: train everything"},
    )
    lora_alpha: Optional[float] = field(
        default=None, metadata={"help": "adapters are multiplied by alpha / rank (default: twice the rank)"}
    )
    lora_targets: str = field(
        default=ALL_LINEAR,
        metadata={"help": "layers that get an adapter, such as q_proj,v_proj; all-linear: all linear ones"},
    )
    lora_dropout: float = field(default=0.0, metadata={"help": "dropout of the adapters' inputs"})
    checkpoint_activations: bool = field(
        default=False, metadata={"help": "compute activations again in the backward pass: memory against time"}
    )
    tokens_per_sample: int = II("task.tokens_per_sample")
    max_target_positions: Optional[int] = II("task.max_target_positions")


@register_model("joint_hf", dataclass=JointHFConfig)
class JointHFModel(FairseqLanguageModel):
    """A pretrained language model that reads units and writes text."""

    @classmethod
    def build_model(cls, args: Any, task: Any) -> "JointHFModel":
        """Load the base, check it against the vocabulary, freeze and adapt it.

        Raises:
            InputError: no such model, one that can't be used, or one that does not fit.
        """
        if not args.hf_model:
            raise InputError("--hf-model", "joint_hf needs a pretrained model", "give a directory, or a name")
        if args.lora_rank < 0 or (args.lora_rank == 0 and str(args.lora_targets) != ALL_LINEAR):
            raise InputError("--lora-rank", f"{args.lora_rank} gives no adapters", "choose 1 or more")
        base = load_base(args.hf_model)
        check_vocabulary(args.hf_model, base, task.vocab)
        positions = args.max_target_positions or args.tokens_per_sample
        if base.max_positions is not None and positions > base.max_positions:
            raise InputError(
                f"--tokens-per-sample {positions}",
                f"{args.hf_model} has {base.max_positions} positions",
                f"choose at most {base.max_positions}, or another model",
            )
        rows = JointRows(task.vocab)
        new = _new(args, base, base.embeddings.weight, rows)
        new_head = None if base.head is None else _new(args, base, base.head, rows)
        _choose_trained(args, base)
        if args.checkpoint_activations:
            _checkpoint_activations(base.backbone)
        return cls(HFDecoder(base, task.target_dictionary, rows, new, new_head, positions))


def _new(args: Any, base: HFBase, table: Tensor, rows: JointRows) -> Tensor:
    """Rows of the new symbols beside a pretrained table (symbols, d)."""
    text = table.detach()[: rows.end - rows.start]
    std = args.new_symbols_std
    if std is None:
        std = getattr(base.config, "initializer_range", 0.02)
    seed = int(torch.randint(2**31, ()))  # as --seed has it
    return new_rows(text, rows.new, std, str(args.new_symbols), seed)


def _checkpoint_activations(backbone: Any) -> None:
    # transformers 5 has renamed it on its way
    enable = getattr(backbone, "activation_checkpointing_enable", None) or backbone.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def _choose_trained(args: Any, base: HFBase) -> None:
    if args.lora_rank:
        add_adapters(base.backbone, args.lora_rank, args.lora_alpha, args.lora_targets, args.lora_dropout)
    choice = str(args.text_embeddings)
    trained = choice == "trained" or (choice == "auto" and not args.lora_rank)
    for table in (base.embeddings.weight, base.head):
        if table is not None:
            table.requires_grad_(trained)
