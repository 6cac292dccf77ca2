"""A small joint_lm's options, and those that its fast path lacks."""

from argparse import Namespace

from sld_user_dir.models import joint_lm

SLOW = {
    "quantisation": {"quant_noise_pq": 0.1, "quant_noise_pq_block_size": 2},
    "scaled-attention": {"scale_attn": True},
    "scaled-heads": {"scale_heads": True},
    "scaled-feedforward": {"scale_fc": True},
    "scaled-residuals": {"scale_resids": True},
    "adaptive-input": {
        "adaptive_input": True,
        "adaptive_input_cutoff": "10",
        "share_decoder_input_output_embed": False,
    },
}


def joint_lm_args(**overrides) -> Namespace:
    sizes = {"decoder_embed_dim": 16, "decoder_ffn_embed_dim": 32, "decoder_layers": 3}
    args = Namespace(**{"tokens_per_sample": 32, "quant_noise_pq": 0, **sizes, **overrides})
    joint_lm.tiny(args)
    return args
