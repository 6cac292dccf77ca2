"""Which features a run has switched on, gathered from options, vocabulary, model and objective as they come.

What excludes what is declared beside each feature; here it is checked, whenever something new is known.
"""

from typing import Any, Iterable, Set

from torch import nn

from sld_user_dir.compatibility import Conflict, refuse_conflicts
from sld_user_dir.models import prefix_mask, speech_convolution, stable_mask, unit_mixture
from sld_user_dir.sequences import input_masking, packed_batch
from sld_user_dir.sequences.feature_names import (
    CHANGED_UNITS,
    HIDDEN_SEPARATORS,
    LEARNED_UNITS,
    MIXED_LENGTHS,
    NO_PACKED_ATTENTION,
    PACKED_ROWS,
    PREFIX_LM,
    SPEECH_CONVOLUTION,
    STABLE_MASK,
    TASK_TOKENS,
)
from sld_user_dir.vocabulary.joint import JointVocabulary


class CompatibilityCheck:
    """The features of one run."""

    def __init__(self, cfg: Any, vocab: JointVocabulary):
        self._features: Set[str] = set()
        self._conflicts = [
            *packed_batch.CONFLICTS,
            *input_masking.CONFLICTS,
            *prefix_mask.CONFLICTS,
            *speech_convolution.CONFLICTS,
            *stable_mask.CONFLICTS,
            *unit_mixture.CONFLICTS,
        ]
        hides_all = cfg.input_mask_prob > 0 and str(cfg.input_mask_tokens) == "all"
        switches = (
            (PACKED_ROWS, cfg.pack_utterances),
            (MIXED_LENGTHS, cfg.mixed_lengths),
            (HIDDEN_SEPARATORS, hides_all),
            (TASK_TOKENS, bool(vocab.tasks)),
            (LEARNED_UNITS, bool(cfg.learn_units)),
            (CHANGED_UNITS, cfg.dedup_prob > 0 or cfg.unit_substitution_prob > 0),
        )
        self._add(feature for feature, on in switches if on)

    def has(self, feature: str) -> bool:
        """Whether a feature is known to be switched on."""
        return feature in self._features

    def add_model(self, model: nn.Module) -> None:
        """Take note of what a model can't do, or does.

        Raises:
            ConflictError: something of the run excludes it.
        """
        decoder: Any = getattr(model, "decoder", None)
        packs = hasattr(decoder, "packs") and decoder.packs()
        prefix = getattr(decoder, "prefix_end", None) is not None
        convolution = getattr(decoder, "speech_convolution", None) is not None
        stable = getattr(decoder, "stable_mask", None) is not None
        switches = (
            (NO_PACKED_ATTENTION, not packs),
            (PREFIX_LM, prefix),
            (SPEECH_CONVOLUTION, convolution),
            (STABLE_MASK, stable),
        )
        self._add(feature for feature, on in switches if on)

    def add_objective(self, criterion: Any) -> None:
        """Take note of the terms of a criterion of ours; another one declares nothing.

        Raises:
            ConflictError: something of the run excludes one.
        """
        objective = getattr(criterion, "objective", None)
        if objective is not None:
            self._add(objective.features, objective.conflicts)

    def _add(self, features: Iterable[str], conflicts: Iterable[Conflict] = ()) -> None:
        self._features.update(features)
        self._conflicts.extend(conflicts)
        refuse_conflicts(self._features, self._conflicts)
