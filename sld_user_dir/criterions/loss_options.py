"""Options of the criteria `sld` and `masked_ce`. Each help text says what it does to the objective of `losses.py`."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass

# 0.008 was tuned by the authors for a sum over the utterance; 3.2 = 0.008 * 400 pulls equally
# hard on an utterance of 400 positions.
DEFAULT_KL_WEIGHT = {"sentence": 0.008, "token": 3.2}


@dataclass
class LossFormConfig(FairseqDataclass):
    text_label_smoothing: float = field(
        default=0.0,
        metadata={
            "help": "lambda in CE_text: the target becomes (1-lambda) one-hot + lambda uniform "
            "over everything that is no speech unit"
        },
    )
    ctc_weight: float = field(
        default=0.0,
        metadata={
            "help": "w_ctc, factor of a CTC loss on the speech positions (blank <s>, no parameters of its own), "
            "divided by the number of text tokens as CE_text is (Watanabe et al. 2017; docs/losses.md)"
        },
    )
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
    speech_target_weight: float = field(
        default=1.0,
        metadata={
            "help": "in a mixture of tasks (--task-mix), factor of the cross-entropy on answers in "
            "speech, those of tts and slm (mean over their tokens)"
        },
    )


@dataclass
class SldCriterionConfig(LossFormConfig):
    text_weight: float = field(default=1.0, metadata={"help": "w_text, factor of CE_text (mean over text tokens)"})
    speech_weight: float = field(
        default=1.0,
        metadata={
            "help": "w_speech, factor of CE_speech (mean over speech tokens, softmax over the "
            "whole vocabulary); 0 with --kl-weight 0 is Loss Masking"
        },
    )
    kl_weight: Optional[float] = field(
        default=None,
        metadata={
            "help": "alpha, factor of the KL divergence from the smoothed target to the softmax "
            "over the speech units; 0: plain multimodal cross-entropy (default: 0.008 with "
            "--kl-denominator sentence, 3.2 with token)"
        },
    )
    kl_variant: ChoiceEnum(["paper", "official", "centroid"]) = field(  # type: ignore[valid-type]
        default="paper",
        metadata={
            "help": "'paper': target (1-eps) one-hot + eps/K, on speech targets. 'official', as "
            "the authors' program: that vector goes through a second softmax, which leaves it "
            "nearly uniform; on every position (unit 0 as the target of text); and the separator "
            "counts in CE_speech. 'centroid', as 'paper' but for its target, which falls off with the "
            "distance between the units' centroids (docs/losses.md)"
        },
    )
    kl_centroids: Optional[str] = field(
        default=None, metadata={"help": "k-means .npz that made the units, for --kl-variant centroid"}
    )
    kl_neighbours: int = field(
        default=10, metadata={"help": "nearest units, itself included, that a target of --kl-variant centroid lies on"}
    )
    kl_centroid_width: float = field(
        default=0.5,
        metadata={
            "help": "tau of --kl-variant centroid, q_k ~ exp(-distance^2 / (2 tau^2)), as a multiple of the "
            "root mean square distance from a centroid to its nearest one; small: one-hot"
        },
    )
    kl_denominator: ChoiceEnum(["sentence", "token"]) = field(  # type: ignore[valid-type]
        default="sentence",
        metadata={
            "help": "what the KL's sum over tokens is divided by: the number of sentences (the "
            "authors' choice; long utterances are then pulled harder) or of the KL's tokens"
        },
    )
    kl_temperature: float = field(
        default=1.0, metadata={"help": "T: the KL compares with softmax(z/T) and is multiplied by T^2"}
    )
    kl_smoothing: float = field(
        default=0.1, metadata={"help": "eps: mass of the KL's target that is spread over all units (not of 'centroid')"}
    )
    speech_label_smoothing: float = field(
        default=0.0,
        metadata={
            "help": "lambda in CE_speech, an alternative to the KL: the target becomes "
            "(1-lambda) one-hot + lambda uniform over the speech units"
        },
    )
    speech_within_units: bool = field(
        default=False,
        metadata={
            "help": "normalise CE_speech over the speech units only instead of the whole "
            "vocabulary: speech positions are then projected to the units alone, which is "
            "several times cheaper; nothing teaches the model not to emit text there"
        },
    )
