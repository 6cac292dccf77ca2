"""The section `objective` of a recipe's configuration: the options of all loss terms, under their own names."""

from __future__ import annotations

from dataclasses import field, make_dataclass
from typing import Any, List, Literal

from sld_user_dir.losses.objective import Objective
from sld_user_dir.losses.term import Context, build_terms, term_classes
from sld_user_dir.losses.term_options import term_options


def _section() -> Any:
    options: List[Any] = []
    for name, one in term_options(term_classes()).items():
        hint = Literal[one.choices] if one.choices else one.hint
        options.append((name, hint, field(default=one.default, metadata=one.metadata)))
    made = make_dataclass("ObjectiveSection", options, kw_only=True)
    made.__module__, made.__doc__ = __name__, "Options of the loss terms; docs/losses.md says what each does."
    return made


ObjectiveSection = _section()


def build_objective(section: Any, context: Context) -> Objective:
    """The objective that the options ask for.

    Raises:
        InputError: options that make none.
    """
    return Objective(build_terms(section, context))
