"""Miniature data and a checkpoint that tests of several areas share."""

import os
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


@pytest.fixture(autouse=True, scope="session")
def disk_that_is_not_waited_for():
    """Tests write thousands of small files; `soak/test_outputs.py` counts what is forced to the disk."""
    forced, os.fsync = os.fsync, lambda descriptor: None
    yield
    os.fsync = forced
