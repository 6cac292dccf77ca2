"""The task in process, as fairseq-train makes it."""

import warnings

from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

import sld_user_dir  # noqa: F401

ARGUMENTS = [
    "--task",
    "speech_unit_lm",
    "--arch",
    "joint_lm_tiny",
    "--decoder-layers",
    "1",
    "--decoder-embed-dim",
    "16",
    "--decoder-ffn-embed-dim",
    "32",
    "--tokens-per-sample",
    "64",
    "--criterion",
    "sld",
    "--max-tokens",
    "200",
]


def setup(data, *extra):
    """(config, task) as fairseq-train would make them."""
    parser = options.get_training_parser()
    args = options.parse_args_and_arch(parser, [str(data), *ARGUMENTS, *map(str, extra)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hydra 1.3 about the way fairseq composes its configuration
        config = convert_namespace_to_omegaconf(args)
    return config, tasks.setup_task(config.task)


def batches(task, split, **kwargs):
    defaults = {"max_tokens": 60, "required_batch_size_multiple": 8, "seed": 1, "max_positions": 64}
    iterator = task.get_batch_iterator(task.dataset(split), **{**defaults, **kwargs})
    return [b for b in iterator.next_epoch_itr(shuffle=False) if b]
