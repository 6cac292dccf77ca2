"""Which task an utterance is read as, where a model learns several: `--task-mix asr=1,tts=0.5`."""

from __future__ import annotations

from typing import Dict, Sequence

import numpy as np

from sld_user_dir.errors import InputError
from sld_user_dir.sequences.sequence_format import TASK_REMEDY, TaskError, format_of
from sld_user_dir.vocabulary.joint import JointVocabulary, check_tasks

RECOGNITION = {"asr": 1.0}
"""The mixture of one task."""


def parse_mix(text: str, vocab: JointVocabulary) -> Dict[str, float]:
    """`"asr=1,tts=0.5"` to `{"asr": 1.0, "tts": 0.5}`; tasks of weight 0 are left out.

    Raises:
        TaskError: no `name=number`, a weight below 0, none above it, or a task that is unknown, named twice, or without
            a token in the vocabulary.
    """
    where = f"--task-mix {text}"
    pairs = [item.partition("=")[::2] for item in text.split(",")]
    names = [name.strip() for name, _ in pairs]
    try:
        check_tasks(names)
        weights = [float(weight) for _, weight in pairs]
    except InputError as error:
        raise TaskError(where, str(error)) from None
    except ValueError as error:
        raise TaskError(where, str(error), "write it as asr=1,tts=0.5,slm=0.2") from None
    if not all(0 <= weight < float("inf") for weight in weights) or not any(weights):
        raise TaskError(where, "no mixture", "no weight may be below 0, and one must be above it")
    if not vocab.tasks:
        raise TaskError(where, "the vocabulary is for speech recognition alone", TASK_REMEDY)
    for name in names:
        format_of(name, vocab)
    return {name: weight for name, weight in zip(names, weights) if weight}


def draw_tasks(rows: int, weights: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """(rows,) ascending numbers of tasks, each as often as its share of the weights asks.

    A share that is no whole number of rows is rounded up or down at random, right on average.
    """
    bounds = np.cumsum(weights) / np.sum(weights)
    positions = (np.arange(rows) + rng.random()) / rows
    return np.searchsorted(bounds[:-1], positions, side="right")
