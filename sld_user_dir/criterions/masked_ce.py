"""`--criterion masked_ce`: Loss Masking, the cross-entropy on text alone.

The baseline of SpeechGPT, VioLA and AudioPaLM: `sld` with w_speech = 0 and alpha = 0. Only the
positions with a text target are projected to the vocabulary at all.
"""

from dataclasses import dataclass
from typing import Any

from fairseq.criterions import register_criterion

from sld_user_dir.criterions.loss_options import LossFormConfig
from sld_user_dir.criterions.sld_criterion import SldCriterion
from sld_user_dir.losses.objective import Objective


@dataclass
class MaskedCeConfig(LossFormConfig):
    """Options of `--criterion masked_ce`."""


@register_criterion("masked_ce", dataclass=MaskedCeConfig)
class MaskedCeCriterion(SldCriterion):
    """L = CE_text, the mean over the text tokens of all workers and batches of an update.

    In a mixture of tasks the answers alone: CE_text of those in text + w_target CE_target of those in speech.
    """

    @staticmethod
    def build_objective(cfg: Any) -> Objective:
        return Objective(
            speech_weight=0.0,
            kl_weight=0.0,
            text_label_smoothing=cfg.text_label_smoothing,
            speech_target_weight=cfg.speech_target_weight,
            prompt_text=False,
        )
