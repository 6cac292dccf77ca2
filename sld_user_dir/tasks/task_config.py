"""Options of ``--task speech_unit_lm``."""

# fairseq reads the field types of this dataclass: no postponed annotations here.
from dataclasses import dataclass, field
from typing import List, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from sld_user_dir.errors import InputError, check_probability
from sld_user_dir.vocabulary.joint import TASKS

MASKED = ChoiceEnum(["speech", "all"])


@dataclass
class SpeechUnitLMConfig(FairseqDataclass):
    """Options of ``--task speech_unit_lm``."""

    data: Optional[str] = field(
        default=None,
        metadata={
            "help": "data directory with dict.txt, vocab.json and one unit manifest a split (train.tsv, valid.tsv, …)"
        },
    )
    tokens_per_sample: int = field(
        default=1024, metadata={"help": "longest utterance in tokens: units, separator and text together"}
    )
    max_target_positions: Optional[int] = field(
        default=None, metadata={"help": "positions that the model has (default: --tokens-per-sample)"}
    )
    add_bos_token: bool = field(
        default=False, metadata={"help": "start every sequence with <s>, so that the first unit is predicted too"}
    )
    skip_too_long: bool = field(
        default=False,
        metadata={
            "help": "leave utterances out that are longer than the model's positions or than --max-tokens, "
            "counted and named in the log, instead of stopping with an error; nothing is ever truncated"
        },
    )
    pack_utterances: bool = field(
        default=False,
        metadata={
            "help": "training batches without padding: all utterances of a batch in one row, each with "
            "positions from 0 and attention to itself alone; same losses; --max-tokens then counts no "
            "padding. Needs a joint_lm architecture"
        },
    )
    mixed_lengths: bool = field(
        default=False,
        metadata={
            "help": "training batches of utterances of any length, in random order, instead of similar "
            "lengths: wasteful unless --pack-utterances removes the padding"
        },
    )
    input_mask_prob: float = field(
        default=0.0,
        metadata={
            "help": "probability of replacing an input token by <mask> in training (targets stay "
            "as they are); the paper's 'time masking' uses 0.3"
        },
    )
    input_mask_tokens: MASKED = field(  # type: ignore[valid-type]
        default="speech",
        metadata={"help": "which input tokens --input-mask-prob may hide: speech units, or all (the authors' program)"},
    )
    dedup_prob: float = field(
        default=0.0,
        metadata={
            "help": "augmentation of training units: probability of collapsing runs of the same unit into one, "
            "drawn anew in every epoch; see --dedup-level and docs/training.md"
        },
    )
    dedup_level: ChoiceEnum(["utterance", "run"]) = field(  # type: ignore[valid-type]
        default="utterance",
        metadata={"help": "draw --dedup-prob once for all runs of an utterance, or for each run by itself"},
    )
    unit_substitution_prob: float = field(
        default=0.0,
        metadata={
            "help": "augmentation of training units: probability of replacing a unit, as input and as target, by "
            "another one drawn at random, anew in every epoch (Xie et al. 2017, arXiv 1703.02573)"
        },
    )
    unit_substitution_kmeans: Optional[str] = field(
        default=None,
        metadata={
            "help": "k-means .npz of the units: --unit-substitution-prob then draws among the nearest "
            "centroids instead of all units"
        },
    )
    unit_substitution_neighbours: int = field(
        default=10, metadata={"help": "how many of the nearest centroids --unit-substitution-kmeans draws among"}
    )
    init_unit_embeddings: Optional[str] = field(
        default=None,
        metadata={
            "help": "k-means .npz of the units: their embeddings start from its centroids, near units near each other, "
            "instead of at random. For the start of a training only"
        },
    )
    learn_units: Optional[str] = field(
        default=None,
        metadata={
            "help": "learn the units with the model (differentiable k-means, docs/learned_units.md), from this "
            "k-means .npz, that of the manifests' units; frames are made of the recordings"
        },
    )
    unit_audio: Optional[str] = field(
        default=None,
        metadata={
            "help": "of --learn-units: folder with an audio manifest a split, train.audio.tsv, … (default: DATA)"
        },
    )
    unit_features: Optional[str] = field(
        default=None,
        metadata={"help": "of --learn-units: where the encoder lies now, if not where the k-means file says"},
    )
    unit_form: ChoiceEnum(["hard", "soft"]) = field(  # type: ignore[valid-type]
        default="hard",
        metadata={
            "help": "of --learn-units: the model reads one sampled unit a frame, with a straight-through gradient, or "
            "a mixture of units"
        },
    )
    unit_sharpness: float = field(
        default=1.0,
        metadata={
            "help": "of --learn-units: s of the probabilities, softmax(-s distance^2 / d^2), where d is the distance "
            "between neighbouring centroids of the start"
        },
    )
    unit_temperature: str = field(
        default="2.0,0.1,0.9995",
        metadata={"help": "of --learn-units: FIRST,LAST,DECAY of the temperature of samples, first * decay^update"},
    )
    unit_collapse_weight: float = field(
        default=0.1,
        metadata={
            "help": "of --learn-units: weight of the loss against units that are never used, from 0 to 1 in size"
        },
    )
    unit_layer_weights: ChoiceEnum(["learnt", "fixed"]) = field(  # type: ignore[valid-type]
        default="learnt",
        metadata={
            "help": "of --learn-units, where its k-means is of --layers: learn their weights, too, or leave them as "
            "they are"
        },
    )
    learn_encoder: bool = field(
        default=False,
        metadata={
            "help": "of --learn-units: train the encoder of the features, too, one in Hugging Face's form; batches "
            "then hold waveforms"
        },
    )
    encoder_lr_scale: float = field(
        default=0.1, metadata={"help": "of --learn-encoder: its learning rate as a part of --lr"}
    )
    encoder_freeze_updates: int = field(
        default=0, metadata={"help": "of --learn-encoder: updates before its training begins"}
    )
    unit_cache_mib: float = field(
        default=1024.0,
        metadata={"help": "of --learn-units: frames that each data-loading process keeps in memory, in MiB; 0: none"},
    )
    eval_wer: bool = field(
        default=False,
        metadata={
            "help": "decode the validation set and log its word error rate as 'wer' (for --best-checkpoint-metric wer)"
        },
    )
    eval_wer_beam: int = field(default=1, metadata={"help": "beam size of --eval-wer; 1 is greedy decoding"})
    eval_wer_max_len: int = field(default=200, metadata={"help": "most transcript tokens that --eval-wer decodes"})
    decode_ctc_weight: float = field(
        default=0.0,
        metadata={
            "help": "decode with decoder and CTC together: the share of the CTC prefix score, from 0 to 1, beside the "
            "decoder's (Watanabe et al. 2017). For checkpoints trained with --ctc-weight; also in --eval-wer"
        },
    )
    word_times: Optional[str] = field(
        default=None,
        metadata={
            "help": "of fairseq-generate: also write when each word of the best hypotheses was said, to this CTM file; "
            "at its best with checkpoints trained with --ctc-weight (docs/word_times.md)"
        },
    )
    confidence_map: Optional[str] = field(
        default=None,
        metadata={
            "help": "of fairseq-generate: map of the checkpoint, as sld confidence writes it, for the confidences in "
            "the file of --word-times (docs/word_times.md)"
        },
    )
    update_freq: List[int] = II("optimization.update_freq")  # noqa: RUF009
    # where training goes on from: see checkpoint_check
    save_dir: str = II("checkpoint.save_dir")
    results_path: Optional[str] = II("common_eval.results_path")
    restore_file: str = II("checkpoint.restore_file")
    continue_once: Optional[str] = II("checkpoint.continue_once")
    finetune_from_model: Optional[str] = II("checkpoint.finetune_from_model")
    checkpoint_suffix: str = II("checkpoint.checkpoint_suffix")
    seed: int = II("common.seed")
    task_mix: Optional[str] = field(
        default=None,
        metadata={
            "help": "train one model for several tasks, such as asr=1,tts=0.5,slm=0.2: the weights "
            "are shares of the utterances, each of which gets one task an epoch (docs/mixture.md). "
            "Needs sld vocab --tasks"
        },
    )
    decode_task: ChoiceEnum(list(TASKS)) = field(  # type: ignore[valid-type]
        default="asr",
        metadata={
            "help": "what a mixture's model is asked for: asr (units to text), tts (text to units), "
            "slm (continue units), lm (continue text)"
        },
    )
    prompt_fraction: float = field(
        default=0.5,
        metadata={"help": "leading fraction of an utterance that fairseq-generate gives to slm and lm as their prompt"},
    )


def check_ranges(cfg: SpeechUnitLMConfig) -> None:
    """Refuse numbers that make no data and no model.

    Raises:
        InputError: names the option.
    """
    check_probability("--input-mask-prob", cfg.input_mask_prob)
    if not 0 <= cfg.prompt_fraction <= 1:
        raise InputError(
            f"--prompt-fraction {cfg.prompt_fraction}", "a fraction of an utterance", "choose it in [0, 1]"
        )
    positions = {"tokens-per-sample": cfg.tokens_per_sample, "max-target-positions": cfg.max_target_positions}
    for option, value in positions.items():
        if value is not None and value < 1:
            raise InputError(
                f"--{option} {value}", "a model without positions", "take the tokens of the longest utterance"
            )
