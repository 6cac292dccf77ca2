"""Both frameworks in one process: the same data, the same weights.

Collected by `make test-fairseq2` alone, in the environment of `make setup-fairseq2`.
"""

from pathlib import Path
from types import SimpleNamespace

import fairseq  # noqa: F401  registers the package with it
import pytest
import torch
from support.joint_lm import joint_lm_args
from support.miniature import make_data

from sld_user_dir.fairseq2.joint_transformer_config import JointTransformerConfig
from sld_user_dir.fairseq2.joint_transformer_factory import create_joint_transformer
from sld_user_dir.fairseq2.state_names import from_fairseq
from sld_user_dir.fairseq2.unit_manifests import UnitManifests
from sld_user_dir.models.joint_lm import JointLanguageModel
from sld_user_dir.tasks.speech_unit_lm import SpeechUnitLMTask
from sld_user_dir.tasks.task_config import SpeechUnitLMConfig

LENGTH = 64


def pytest_configure(config):
    """fairseq2 calls what it calls deprecated itself; the suite's other warnings stay errors."""
    config.addinivalue_line("filterwarnings", "ignore:.*is deprecated and will be removed in v0:DeprecationWarning")


@pytest.fixture(scope="session")
def mini(tmp_path_factory) -> Path:
    """Data of 30 training, 7 validation and 11 test utterances."""
    return make_data(tmp_path_factory.mktemp("mini"), train=30, valid=7, test=11)


@pytest.fixture(scope="session")
def data(mini) -> UnitManifests:
    return UnitManifests(mini)


@pytest.fixture(scope="session")
def task(mini) -> SpeechUnitLMTask:
    """fairseq's task over the same data."""
    return SpeechUnitLMTask.setup_task(SpeechUnitLMConfig(data=str(mini), seed=1, update_freq=[1], save_dir="none"))


def config_of(vocab, **changes) -> JointTransformerConfig:
    sizes = {"model_dim": 16, "ffn_inner_dim": 32, "num_layers": 3, "num_attn_heads": 4, "max_seq_len": LENGTH}
    special = {"vocab_size": len(vocab), "pad_idx": vocab.pad, "vocabulary": vocab.fingerprint}
    return JointTransformerConfig(**{**sizes, **special, "dropout_p": 0.0, "attn_dropout_p": 0.0, **changes})


def pair_of(task, learned: bool, **changes):
    """fairseq's model, and fairseq2's with its weights."""
    torch.manual_seed(3)
    arguments = joint_lm_args(
        dropout=0.0,
        attention_dropout=0.0,
        tokens_per_sample=LENGTH,
        max_target_positions=LENGTH,
        decoder_learned_pos=learned,
        no_scale_embedding=learned,
    )
    theirs = JointLanguageModel.build_model(arguments, task)
    config = config_of(task.vocab, sinusoidal_positions=not learned, scale_embeddings=not learned, **changes)
    ours = create_joint_transformer(config)
    # assignment keeps names honest: nothing may be missing or left over
    ours.load_state_dict(from_fairseq({"model": theirs.state_dict()}, config), strict=True)
    return theirs.double(), ours.double()


class Gang:
    """A data-parallel worker of `size`, whose fellows count `others`."""

    def __init__(self, size=1, rank=0, others=0):
        self.size, self.rank, self.others = size, rank, others

    def all_reduce(self, totals, op):
        totals += self.others


def gangs(**options):
    return SimpleNamespace(dp=Gang(**options), device=torch.device("cpu"))


def collated(data, rows, split="train"):
    dataset = data.open_split(split, LENGTH)
    return dataset.collater([dataset[row] for row in rows])
