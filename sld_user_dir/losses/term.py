"""What a loss term is, and the table of all of them.

A term is one summand of the objective. Its file in `losses/terms/` is found by itself: it holds the equation, the
options, the positions, the value and the divisor, and nothing else of the package knows it. docs/guides/
add_a_loss_term.md shows how to write one.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Dict, FrozenSet, List, NamedTuple, Optional, Sequence, Tuple, Type

import torch
from torch import Tensor

from sld_user_dir.compatibility import Conflict
from sld_user_dir.losses.positions import Positions
from sld_user_dir.losses.statistics import Statistics

LOSS_ON_SPEECH = "a loss on speech"
"""Feature of a term that has the model predict units of a prompt; see `compatibility`."""


class Measure(NamedTuple):
    """A figure for the log: `total / cases`, whose two parts may be added up over batches and workers."""

    name: str
    total: Tensor  # 0-dim; in nats where the kind is bits or perplexity
    cases: Tensor  # 0-dim
    kind: str = "bits"  # or "perplexity" (bits, and NAME_ppl beside it), or "percent", or "share"


@dataclass(frozen=True)
class Context:
    """What a term may want to know of a training beside its options.

    Attributes:
        vocab: the `JointVocabulary`, or anything with its ids.
        add_bos: sequences begin with <s>.
        answers_in_speech: some task of the training answers in speech.
        provenance: manifest to `UnitProvenance`, filled as manifests are loaded.
    """

    vocab: Any
    add_bos: bool = False
    answers_in_speech: bool = False
    provenance: Any = None


class Term(ABC):
    """One summand of the objective: `weight` times a sum over `divisor`."""

    name: ClassVar[str]
    """In the log: `loss_NAME` with weight and divisor, NAME in bits of what it covers."""
    variant: ClassVar[Optional[str]] = None
    """Terms of one name are siblings, of which `--NAME-variant` chooses one."""
    variant_help: ClassVar[str] = ""
    Options: ClassVar[Type[Any]]
    """Dataclass of the command line options; `metadata["help"]` says what each does, `metadata["choices"]` its "
    "values."""
    features: ClassVar[FrozenSet[str]] = frozenset()
    """What it is that other options may exclude."""
    conflicts: ClassVar[Tuple[Conflict, ...]] = ()
    differentiates_target: bool = False
    """Whether its gradient goes through its target, too, which the fused form takes for a constant."""

    weight: float

    @classmethod
    @abstractmethod
    def from_options(cls, options: Any, context: Context) -> Optional[Term]:
        """The term that the options ask for, or None.

        Raises:
            InputError: options that make no term.
        """

    def weight_at(self, update: Optional[int]) -> float:
        """Its factor at an update of the training, counted from 0; None: when the training has ended."""
        return self.weight

    @abstractmethod
    def divisor(self, at: Positions) -> Tensor:
        """What a batch, all of whose positions are `at`, adds to the number that the sum is divided by; 0-dim int64."""


class PositionTerm(Term):
    """A sum over positions of a value that is linear in their statistics."""

    temperature: float = 1.0
    """T of `Statistics.tempered`; terms that use it agree on it."""
    log_kind: ClassVar[str] = "bits"

    @abstractmethod
    def positions(self, at: Positions) -> Tensor:
        """Which positions count; (n,) bool."""

    @abstractmethod
    def value(self, stats: Statistics, at: Positions) -> Tensor:
        """The loss of each position in nats (n,), linear in the statistics; used where `positions` says so."""

    def divisor(self, at: Positions) -> Tensor:
        """The number of positions that count: the sum becomes their mean."""
        return self.positions(at).sum()

    def logged_value(self, stats: Statistics, at: Positions) -> Tensor:
        """What is logged under the term's name: its value, unless a smoothed target would make it hard to compare."""
        return self.value(stats, at)

    def with_sparse_target(self, at: Positions) -> Positions:
        """The positions with `sparse_ids` and `sparse_masses`, for a term whose value uses `Statistics.sparse`."""
        return at

    def measures(self, stats: Statistics, at: Positions, correct: Tensor) -> List[Measure]:
        """What is logged beside `loss_NAME`; `correct` (n,) bool says where the target has the greatest logit."""
        covered = self.positions(at)
        total = sum_where(covered, self.logged_value(stats, at))
        return [Measure(self.name, total, covered.sum(), self.log_kind)]


class SequenceTerm(Term):
    """A loss of whole sequences, such as an alignment's, computed from hidden states."""

    @abstractmethod
    def sum(self, outputs: Tensor, matrix: Optional[Tensor], target: Tensor) -> Tuple[Tensor, List[Measure]]:
        """The loss summed over a batch (nats, 0-dim, without weight and divisor), and what to log.

        Args:
            outputs: hidden states (B, L, d), or with `matrix` None logits (B, L, V).
            matrix: output matrix (V, d).
            target: ids (B, L).
        """


def sum_where(mask: Tensor, values: Tensor) -> Tensor:
    """Sum of values (n,) where mask (n,); 0-dim. An infinite value elsewhere does no harm."""
    return torch.where(mask, values, 0).sum()


_REGISTERED: Dict[Tuple[str, Optional[str]], Type[Term]] = {}


def register_term(cls: Type[Any]) -> Type[Any]:
    """Class decorator: let `--criterion sld` know a term.

    Its options are on the command line if it is registered before fairseq is imported, as those in `losses/terms/` are.
    """
    key = (cls.name, cls.variant)
    known = _REGISTERED.get(key)
    if known is not None and known.__qualname__ != cls.__qualname__:
        raise ValueError(f"loss term {key} is registered twice, as {known.__name__} and {cls.__name__}")
    _REGISTERED[key] = cls
    return cls


def term_classes() -> List[Type[Term]]:
    """All registered terms, those of `losses/terms/` first."""
    from sld_user_dir.losses import terms

    for module in sorted(found.name for found in pkgutil.iter_modules(terms.__path__)):
        importlib.import_module(f"{terms.__name__}.{module}")
    return list(_REGISTERED.values())


def build_terms(options: Any, context: Context, classes: Optional[Sequence[Type[Term]]] = None) -> List[Term]:
    """The terms that the options ask for.

    Args:
        options: has the fields of the classes' `Options`, and `NAME_variant` where a name has several.
        classes: by default all.

    Raises:
        InputError: options that make no term.
    """
    built = []
    for cls in term_classes() if classes is None else classes:
        if cls.variant is not None and str(getattr(options, f"{cls.name}_variant")) != cls.variant:
            continue
        term = cls.from_options(options, context)
        if term is not None:
            built.append(term)
    return built
