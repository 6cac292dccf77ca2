"""The options of the loss terms, put together for a framework's configuration."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Type, get_type_hints

from sld_user_dir.losses.term import Term


class TermOption(NamedTuple):
    """An option of one or several terms.

    Attributes:
        hint: its type.
        default: its default.
        metadata: as the terms' dataclasses state it, `help` among it.
        choices: its values, where they are few.
    """

    hint: Any
    default: Any
    metadata: Dict[str, Any]
    choices: Optional[Tuple[str, ...]]


def term_options(classes: Sequence[Type[Term]], without: Sequence[str] = ()) -> Dict[str, TermOption]:
    """Options by name, in the order of the terms; behind them `NAME_variant` where a name has siblings.

    Args:
        without: options that are left out.
    """
    found: Dict[str, TermOption] = {}
    for cls in classes:
        hints = get_type_hints(cls.Options)  # the terms' modules postpone annotations
        for one in fields(cls.Options):
            if one.default is MISSING:
                raise TypeError(f"option {one.name} of a loss term has no default")
            if one.name not in without:
                choices = one.metadata.get("choices")
                option = TermOption(hints[one.name], one.default, dict(one.metadata), choices and tuple(choices))
                found.setdefault(one.name, option)
    for name in {cls.name for cls in classes if cls.variant is not None}:
        found[f"{name}_variant"] = _variant_option([cls for cls in classes if cls.name == name])
    return found


def _variant_option(siblings: List[Type[Term]]) -> TermOption:
    names = sorted((str(cls.variant) for cls in siblings), key=lambda v: (v != "paper", v != "official", v))
    texts = {str(cls.variant): cls.variant_help for cls in siblings}
    text = ". ".join(f"'{variant}': {texts[variant]}" for variant in names)
    return TermOption(str, names[0], {"help": text}, tuple(names))
