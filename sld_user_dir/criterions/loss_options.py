"""The options of `sld` and `masked_ce`, put together from those of the loss terms."""

from dataclasses import dataclass, field, make_dataclass
from typing import Any, List, Optional, Sequence, Tuple, Type

from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from sld_user_dir.losses.term import Term, term_classes
from sld_user_dir.losses.term_options import term_options
from sld_user_dir.losses.terms.cross_entropy import AnswerCrossEntropy, TextCrossEntropy
from sld_user_dir.losses.terms.ctc import CTC

MASKED_TERMS: Tuple[Type[Term], ...] = (TextCrossEntropy, AnswerCrossEntropy, CTC)
"""What Loss Masking trains on: text, and answers in speech."""


@dataclass
class LossFormConfig(FairseqDataclass):
    """How the loss is computed; no option here changes the objective."""

    loss_form: ChoiceEnum(["auto", "fused", "plain"]) = field(  # type: ignore[valid-type]
        default="auto",
        metadata={
            "help": "'fused' computes loss and gradients together with the output projection, "
            "chunk by chunk, and never holds the logits; 'plain' works on the model's logits. "
            "The objective is the same. 'auto': fused where the model allows it"
        },
    )
    loss_chunk_size: Optional[int] = field(
        default=None,
        metadata={
            "help": "positions that the fused form projects at a time: time against memory, no "
            "effect on the objective (default: 384 on a CPU, 2048 elsewhere)"
        },
    )


def config_of(name: str, classes: Sequence[Type[Term]], without: Sequence[str] = ()) -> Type[FairseqDataclass]:
    """A fairseq configuration with the options of these terms; `--NAME-variant` where a name has siblings.

    Args:
        without: options that are left out.
    """
    options: List[Any] = []
    for option_name, one in term_options(classes, without).items():
        hint = ChoiceEnum(list(one.choices)) if one.choices else one.hint  # fairseq's choices are an enumeration
        options.append((option_name, hint, field(default=one.default, metadata=one.metadata)))
    made = make_dataclass(name, options, bases=(LossFormConfig,))
    made.__module__ = __name__
    return made


SldCriterionConfig = config_of("SldCriterionConfig", term_classes())
MaskedCeConfig = config_of("MaskedCeConfig", MASKED_TERMS, without=("text_weight",))
