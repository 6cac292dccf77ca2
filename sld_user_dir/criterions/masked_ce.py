"""`--criterion masked_ce`: Loss Masking, the cross-entropy on text alone.

The baseline of SpeechGPT, VioLA and AudioPaLM: `sld` with w_speech = 0 and alpha = 0. Only the positions with a text
target are projected to the vocabulary at all.
"""

from typing import Any

from fairseq.criterions import register_criterion

from sld_user_dir.criterions.loss_options import MASKED_TERMS, MaskedCeConfig
from sld_user_dir.criterions.sld_criterion import SldCriterion
from sld_user_dir.losses.objective import Objective
from sld_user_dir.losses.term import Context, build_terms


class _AnswersOnly:
    """Options of `masked_ce`, with those of CE_text that it fixes."""

    text_weight, answers_only = 1.0, True

    def __init__(self, cfg: Any) -> None:
        self._cfg = cfg

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cfg, name)


@register_criterion("masked_ce", dataclass=MaskedCeConfig)
class MaskedCeCriterion(SldCriterion):
    """L = CE_text, the mean over the text tokens of all workers and batches of an update.

    In a mixture of tasks the answers alone: CE_text of those in text + w_target CE_answer of those in speech.
    """

    @staticmethod
    def build_objective(cfg: Any, context: Context) -> Objective:
        return Objective(build_terms(_AnswersOnly(cfg), context, MASKED_TERMS))
