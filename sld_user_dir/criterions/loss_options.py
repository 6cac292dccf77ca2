"""The options of `sld` and `masked_ce`, put together from those of the loss terms."""

from dataclasses import MISSING, dataclass, field, fields, make_dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type, get_type_hints

from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from sld_user_dir.losses.term import Term, term_classes
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
    options: Dict[str, Any] = {}
    for cls in classes:
        hints = get_type_hints(cls.Options)  # the terms' modules postpone annotations, which fairseq can't read
        for one in fields(cls.Options):
            if one.name not in without:
                options.setdefault(one.name, (one.name, _type_of(one, hints[one.name]), _copy(one)))
    for term_name in {cls.name for cls in classes if cls.variant is not None}:
        siblings = [cls for cls in classes if cls.name == term_name]
        options[f"{term_name}_variant"] = _variant_option(term_name, siblings)
    made = make_dataclass(name, list(options.values()), bases=(LossFormConfig,))
    made.__module__ = __name__
    return made


def _type_of(one: Any, hint: Any) -> Any:
    """The type as fairseq reads it: choices are an enumeration there."""
    choices = one.metadata.get("choices")
    return ChoiceEnum(list(choices)) if choices else hint


def _copy(one: Any) -> Any:
    if one.default is MISSING:
        raise TypeError(f"option {one.name} of a loss term has no default")
    return field(default=one.default, metadata=dict(one.metadata))


def _variant_option(name: str, siblings: List[Type[Term]]) -> Tuple[str, Any, Any]:
    names = sorted((str(cls.variant) for cls in siblings), key=lambda v: (v != "paper", v != "official", v))
    texts = {str(cls.variant): cls.variant_help for cls in siblings}
    text = ". ".join(f"'{variant}': {texts[variant]}" for variant in names)
    return f"{name}_variant", ChoiceEnum(names), field(default=names[0], metadata={"help": text})


SldCriterionConfig = config_of("SldCriterionConfig", term_classes())
MaskedCeConfig = config_of("MaskedCeConfig", MASKED_TERMS, without=("text_weight",))
