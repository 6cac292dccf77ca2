"""Examples of a mixture of tasks: the same utterances, read in several ways by one model.

::

    asr   [<s>] <asr> u_1 … u_N <sep> | w_1 … w_M </s>
    tts   [<s>] <tts> w_1 … w_M <sep> | u_1 … u_N </s>
    slm   [<s>] <slm>                 | u_1 … u_N </s>
    lm    [<s>] <lm>                  | w_1 … w_M </s>

To the left of the bar stands the prompt, to the right the answer.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

import numpy as np
import torch

from sld_user_dir.sequences.dataset import UnitDataset, _lengths
from sld_user_dir.vocabulary.joint import TASKS, JointVocabulary, SpeechRole, check_tasks

REMEDY = "a vocabulary with task tokens: scripts/build_vocab.py --data DIR --tasks asr,tts,slm,lm"


class MixtureError(ValueError):
    """A mixture that cannot be; names the remedy."""


def parse_mix(text: str, vocab: JointVocabulary) -> dict[str, float]:
    """``"asr=1,tts=0.5"`` to ``{"asr": 1.0, "tts": 0.5}``; tasks of weight 0 are left out.

    Raises:
        MixtureError: no ``name=number``, a weight below 0, none above it, or a task that is
            unknown, named twice, or without a token in the vocabulary.
    """
    pairs = [item.partition("=")[::2] for item in text.split(",")]
    names = [name.strip() for name, _ in pairs]
    try:
        check_tasks(names)
        weights = [float(weight) for _, weight in pairs]
    except ValueError as error:
        raise MixtureError(f"--task-mix {text}: {error}; write it as asr=1,tts=0.5,slm=0.2") from None
    if not all(0 <= weight < float("inf") for weight in weights) or not any(weights):
        raise MixtureError(f"--task-mix {text}: no weight may be below 0, and one must be above it")
    for name in names:
        require_task(name, vocab)
    return {name: weight for name, weight in zip(names, weights) if weight}


def require_task(task: str, vocab: JointVocabulary) -> None:
    """Refuse a task that the vocabulary has no token for.

    Raises:
        MixtureError: names the remedy.
    """
    if task not in TASKS:
        raise MixtureError(f"unknown task {task!r}; choose among {', '.join(TASKS)}")
    if not vocab.tasks:
        raise MixtureError(f"the vocabulary is for speech recognition alone; {task!r} needs {REMEDY}")
    if task not in vocab.tasks:
        raise MixtureError(f"the vocabulary has tokens of {', '.join(vocab.tasks)} only; {task!r} needs {REMEDY}")


class MixtureDataset(UnitDataset):
    """Utterances as sequences of one or several tasks; see the head of this module.

    An index stands for an utterance and a task, ``row + rows * number of the task``, whatever the
    epoch: sizes, batches and data-loading processes need not know of the draw, which only
    ``ordered_indices`` makes. In training it gives every utterance one task each epoch, with the
    weights as shares; else every utterance all tasks, one after the other, and no batch holds two.

    Args:
        units: raw units int [N] of each utterance.
        texts: text ids of each transcript.
        mix: weights of the tasks, as `parse_mix` gives them.
        add_bos, shuffle, names, ids: as of `UnitDataset`.
        prompt_fraction: for decoding: the batches of `slm` and `lm` are prompts without targets,
            this leading fraction of their tokens.
        labelled: whether the batches of `asr` and `tts` have targets.
    """

    def __init__(
        self,
        units: Sequence[np.ndarray],
        texts: Sequence[Any],
        vocab: JointVocabulary,
        mix: Mapping[str, float],
        add_bos: bool = False,
        shuffle: bool = False,
        names: Optional[Sequence[str]] = None,
        ids: Any = None,
        prompt_fraction: Optional[float] = None,
        labelled: bool = True,
    ):
        super().__init__(units, None, vocab, add_bos, shuffle, names, ids)
        self.transcripts, self.prompt_fraction, self.labelled = texts, prompt_fraction, labelled
        self.mix, self.rows = dict(mix), len(units)
        for task in mix:
            require_task(task, vocab)
        self.sizes = np.concatenate(
            [sequence_lengths(task, _lengths(units), _lengths(texts)) + add_bos for task in mix]
        )

    def __len__(self) -> int:
        return self.rows * len(self.mix)

    def __getitem__(self, index: int) -> dict[str, Any]:
        number, row = divmod(int(index), self.rows)
        task, vocab = list(self.mix)[number], self.vocab
        units = self.prompts[row]
        if self.augment is not None and TASKS[task] is SpeechRole.PROMPT:  # answers stay as they are
            units = self.augment(units, self.epoch, int(self.ids[row]))
        units = vocab.encode_units(units)
        prompt, answer = sequence(task, units, np.asarray(self.transcripts[row], dtype=np.int64), vocab, self.add_bos)
        open_ended = task in ("slm", "lm")
        if open_ended and self.prompt_fraction is not None:
            prompt = np.concatenate([prompt, answer[: round(self.prompt_fraction * (len(answer) - 1))]])
        item = {"id": int(self.ids[row]), "prompt": torch.from_numpy(prompt), "task": task}
        if self.prompt_fraction is None if open_ended else self.labelled:
            item["transcript"] = torch.from_numpy(answer)
        return item

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch of `collate_lm`, with two further tensors.

        ``tasks`` (B,): id of each row's task token; ``speech_role`` (B,): its `SpeechRole`.
        """
        batch = super().collater(samples)
        if samples:
            batch["tasks"] = torch.tensor([self.vocab.tasks[s["task"]] for s in samples])
            batch["speech_role"] = torch.tensor([int(TASKS[s["task"]]) for s in samples])
        return batch

    def name(self, index: int) -> str:
        return super().name(int(index) % self.rows)

    def ordered_indices(self) -> np.ndarray:
        """By length; in training one index of each utterance, else all, task after task.

        The draw depends on the epoch and on numpy's global generator, which fairseq seeds for this
        call: workers agree, and a resumed run draws the same.
        """
        if not self.shuffle:
            parts = np.arange(len(self)).reshape(len(self.mix), self.rows)
            return np.concatenate([part[np.argsort(self.sizes[part], kind="stable")] for part in parts])
        rng = np.random.default_rng([np.random.randint(2**31), self.epoch])
        order = rng.permutation(self.rows)
        order = order + self.rows * draw_tasks(self.rows, list(self.mix.values()), rng)
        order = order[rng.permutation(self.rows)]
        return order[np.argsort(self.sizes[order], kind="stable")]

    def batch_by_size(self, indices: np.ndarray, *args: Any, **kwargs: Any) -> list[np.ndarray]:
        """As in `UnitDataset`; outside training no batch holds two tasks, so that each has its own numbers."""
        if self.shuffle:
            return super().batch_by_size(indices, *args, **kwargs)
        parts = (indices[indices // self.rows == number] for number in range(len(self.mix)))
        return [batch for part in parts for batch in super(MixtureDataset, self).batch_by_size(part, *args, **kwargs)]

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """No: the next epoch draws other tasks, so its batches are others."""
        return not self.shuffle


def draw_tasks(rows: int, weights: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """(rows,) ascending numbers of tasks, each as often as its share of the weights asks.

    A share that is no whole number of rows is rounded up or down at random, right on average.
    """
    bounds = np.cumsum(weights) / np.sum(weights)
    positions = (np.arange(rows) + rng.random()) / rows
    return np.searchsorted(bounds[:-1], positions, side="right")


def sequence(
    task: str, units: np.ndarray, text: np.ndarray, vocab: JointVocabulary, add_bos: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Prompt and answer (int64 ids) of an utterance: `units` and `text` are ids without end symbols."""
    head = [vocab.bos] * add_bos + [vocab.tasks[task]]
    content = {"asr": [units, [vocab.separator]], "tts": [text, [vocab.separator]]}.get(task, [])
    answer = text if task in ("asr", "lm") else units
    prompt = np.concatenate([head, *content]).astype(np.int64)
    return prompt, np.append(answer, vocab.eos).astype(np.int64)


def sequence_lengths(task: str, units: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Tokens that the model reads, ``<s>`` not counted, for (rows,) lengths of units and texts."""
    return 1 + {"slm": units, "lm": texts}.get(task, units + 1 + texts)
