"""Miniature data and a checkpoint that tests of several areas share."""

from pathlib import Path

import pytest
from support.miniature import make_data, train


@pytest.fixture(scope="session")
def mini(tmp_path_factory) -> Path:
    """Data of 30 training, 7 validation and 11 test utterances."""
    return make_data(tmp_path_factory.mktemp("mini"), train=30, valid=7, test=11)


@pytest.fixture(scope="session")
def checkpoint(mini, tmp_path_factory) -> Path:
    """A checkpoint of 4 updates on ``mini``."""
    save_dir = tmp_path_factory.mktemp("checkpoint")
    train(mini, save_dir)
    return save_dir / "checkpoint_last.pt"
