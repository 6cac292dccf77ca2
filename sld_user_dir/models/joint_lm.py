"""Architectures over the joint vocabulary: pre-norm decoder-only Transformers.

`joint_lm` has the parameters and names of fairseq's `transformer_lm`, so a
checkpoint of one loads into the other; `causal_decoder` says what it does faster.
"""

# fairseq reads the field types of this dataclass: no postponed annotations here.
from dataclasses import dataclass, field
from typing import Any

from fairseq.models import register_model, register_model_architecture
from fairseq.models.transformer_lm import TransformerLanguageModel, TransformerLanguageModelConfig, base_lm_architecture

from sld_user_dir.errors import InputError, check_probability
from sld_user_dir.models.causal_decoder import CausalDecoder
from sld_user_dir.models.speech_convolution import SpeechConvolution
from sld_user_dir.models.stable_mask import StableMask


@dataclass
class JointLMConfig(TransformerLanguageModelConfig):
    """The fields of `transformer_lm` and five more; the architectures below set GPT-2's choices."""

    sinusoidal_positions: bool = field(
        default=False,
        metadata={
            "help": "fixed sinusoidal positions instead of learned ones, which the joint_lm "
            "architectures choose (no flag of fairseq's turns --decoder-learned-pos off)"
        },
    )
    speech_conv_kernel: int = field(
        default=0,
        metadata={
            "help": "units that a causal convolution over the embeddings of the prompt's units sees, the current one "
            "included; 0: no convolution. Little data is learnt from much faster with one (docs/training.md)"
        },
    )
    prefix_lm: bool = field(
        default=False,
        metadata={
            "help": "prefix-LM attention: everything up to <sep> sees all of itself, in both directions; text "
            "stays causal. For --criterion masked_ce: with a loss on speech it would see what it predicts"
        },
    )
    stable_mask: bool = field(
        default=False,
        metadata={
            "help": "StableMask (arXiv 2402.04779): pseudo-scores behind the causal mask take part in the softmax of "
            "attention and are dropped after it, so that a position may attend to little (docs/training.md)"
        },
    )
    stable_mask_decay: float = field(
        default=0.01,
        metadata={
            "help": "gamma of --stable-mask: the pseudo-score of position c, counted from 0, is -gamma c; they reach "
            "over some 1/gamma positions"
        },
    )


@register_model("joint_lm", dataclass=JointLMConfig)
class JointLanguageModel(TransformerLanguageModel):
    """Decoder-only Transformer that reads units and writes text."""

    @classmethod
    def build_model(cls, args: Any, task: Any) -> "JointLanguageModel":
        """fairseq's model with `CausalDecoder`; its own decoder where inputs are characters or adaptive."""
        _check_sizes(args)
        if getattr(args, "sinusoidal_positions", False):
            args.decoder_learned_pos = False
        prefix_lm, kernel = getattr(args, "prefix_lm", False), getattr(args, "speech_conv_kernel", 0)
        stable = getattr(args, "stable_mask", False)
        switches = (("--prefix-lm", prefix_lm), ("--speech-conv-kernel", kernel), ("--stable-mask", stable))
        ours = [option for option, on in switches if on]
        if args.character_embeddings or args.adaptive_input or args.tie_adaptive_weights:
            if ours:
                raise InputError(ours[0], "not with adaptive input or character embeddings", "leave one out")
            return super().build_model(args, task)
        if args.decoder_layers_to_keep:
            args.decoder_layers = len(args.decoder_layers_to_keep.split(","))
        if getattr(args, "max_target_positions", None) is None:
            args.max_target_positions = args.tokens_per_sample
        embeddings = cls.build_embedding(args, task.source_dictionary, args.decoder_input_dim)
        decoder = CausalDecoder(args, task.target_dictionary, embeddings, no_encoder_attn=True)
        if kernel < 0:
            raise InputError(f"--speech-conv-kernel {kernel}", "a number of units", "choose 1 or more, or 0 for none")
        if kernel:
            vocab = task.vocab
            decoder.speech_convolution = SpeechConvolution(
                args.decoder_embed_dim, kernel, vocab.unit_offset, vocab.mask
            )
        if stable:
            decoder.stable_mask = StableMask(args.stable_mask_decay)
        if ours and not decoder.packs():
            raise InputError(ours[0], "not with quantisation noise or scaled attention", "leave one out")
        if prefix_lm:
            decoder.prefix_end = task.vocab.separator
        return cls(decoder)


def _check_sizes(args: Any) -> None:
    """Refuse what fairseq would build without a word, or fail on with one of its own."""
    for name in ("dropout", "attention_dropout", "activation_dropout", "relu_dropout", "decoder_layerdrop"):
        check_probability(f"--{name.replace('_', '-')}", getattr(args, name, 0.0))
    for name in ("decoder_layers", "decoder_attention_heads", "decoder_embed_dim", "decoder_ffn_embed_dim"):
        size = getattr(args, name)
        if size < 1:
            raise InputError(f"--{name.replace('_', '-')} {size}", "a model without any", "take 1 or more")


def _architecture(args: Any, dim: int, layers: int, heads: int, dropout: float = 0.1) -> None:
    """GPT-2's choices: pre-norm, gelu, learned positions, tied embeddings, 4x feed-forward."""
    defaults = {
        "decoder_embed_dim": dim,
        "decoder_ffn_embed_dim": 4 * dim,
        "decoder_layers": layers,
        "decoder_attention_heads": heads,
        "dropout": dropout,
        "attention_dropout": dropout,
        "activation_fn": "gelu_accurate",
        "decoder_normalize_before": True,
        "share_decoder_input_output_embed": True,
        "decoder_learned_pos": True,
        "no_scale_embedding": True,
    }
    for name, value in defaults.items():
        setattr(args, name, getattr(args, name, value))
    # fairseq asks for these beside the width, and fails on a mismatch
    args.decoder_input_dim = getattr(args, "decoder_input_dim", args.decoder_embed_dim)
    args.decoder_output_dim = getattr(args, "decoder_output_dim", args.decoder_embed_dim)
    base_lm_architecture(args)


@register_model_architecture("joint_lm", "joint_lm_tiny")
def tiny(args: Any) -> None:
    """0.8 M parameters without embeddings: two CPU cores.

    Sinusoidal positions and scaled embeddings: in the few thousand updates that such a
    model gets, learned positions do not come far.
    """
    args.decoder_learned_pos = getattr(args, "decoder_learned_pos", False)
    args.no_scale_embedding = getattr(args, "no_scale_embedding", False)
    _architecture(args, dim=128, layers=4, heads=4)


@register_model_architecture("joint_lm", "joint_lm_small")
def small(args: Any) -> None:
    """19 M parameters without embeddings: one small GPU."""
    _architecture(args, dim=512, layers=6, heads=8)


@register_model_architecture("joint_lm", "joint_lm_gpt2")
def gpt2(args: Any) -> None:
    """GPT-2's shape: 12 layers, 768 wide, 12 heads."""
    _architecture(args, dim=768, layers=12, heads=12)


@register_model_architecture("joint_lm", "joint_lm_gpt2_medium")
def gpt2_medium(args: Any) -> None:
    """GPT-2 medium's shape, the authors' model: 24 layers, 1,024 wide, 16 heads."""
    _architecture(args, dim=1024, layers=24, heads=16)
