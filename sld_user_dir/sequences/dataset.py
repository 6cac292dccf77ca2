"""The examples of a training or decoding: utterances as sequences of one or several tasks, and their batches.

`sequence_format` says how a sequence is built; the model reads all but its last token and predicts all but its first.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

import numpy as np
import torch

from sld_user_dir.errors import InputError
from sld_user_dir.manifests.ragged import Ragged
from sld_user_dir.sequences.augmentation import Augmentation
from sld_user_dir.sequences.batching import batches_by_size, collate
from sld_user_dir.sequences.packed_batch import pack_batch
from sld_user_dir.sequences.sequence_format import SPEECH, format_of
from sld_user_dir.sequences.task_mix import RECOGNITION, draw_tasks
from sld_user_dir.sequences.usable_lengths import LengthLimit, keep_usable
from sld_user_dir.vocabulary.joint import JointVocabulary


class SequenceDataset:
    """Utterances, each read as every task of a mixture; speech recognition is the mixture of one.

    An index stands for an utterance and a task, `row + rows * number of the task`, whatever the epoch: sizes, batches
    and data-loading processes need not know of the draw, which only `ordered_indices` makes. In training it gives
    every utterance one task each epoch, with the weights as shares; else every utterance all tasks, one after the
    other, and no batch holds two.

    Args:
        units: raw units int (N,) of each utterance.
        texts: text ids (M,) of each transcript; None for prompts of speech alone, whose batches have no targets.
        vocab: the joint vocabulary.
        mix: weight of each task.
        add_bos: start every sequence with <s>, so that its first token is predicted too.
        shuffle: for training.
        names: what to call an utterance in an error message.
        ids: what each utterance's `id` is in a batch (default: its row).
        packed: pack batches (`packed_batch`); then `max_tokens` counts no padding.
        mixed_lengths: batches of utterances of any length instead of similar ones.
        seed: of the draw of tasks.
        prompt_fraction: for decoding: open-ended tasks get this leading fraction of their answer as the prompt, and no
            targets.
        labelled: whether batches of the other tasks have targets.

    Attributes:
        sizes: int64, tokens that the model reads, by index.
        augment: of a training set's units, or None.
        max_tokens: of a batch, so that an error can name that limit; None for any number.
        keeps_all: nothing may be left out because of its length, whatever is asked for.
        epoch: which one is being read.
    """

    def __init__(
        self,
        units: Sequence[np.ndarray],
        texts: Optional[Sequence[Any]],
        vocab: JointVocabulary,
        mix: Mapping[str, float] = RECOGNITION,
        *,
        add_bos: bool = False,
        shuffle: bool = False,
        names: Optional[Sequence[str]] = None,
        ids: Any = None,
        packed: bool = False,
        mixed_lengths: bool = False,
        seed: int = 1,
        prompt_fraction: Optional[float] = None,
        labelled: bool = True,
    ):
        self.units, self.vocab, self.mix = units, vocab, dict(mix)
        self.texts: Sequence[Any] = [[]] * len(units) if texts is None else texts
        self.labelled = labelled and texts is not None
        self.formats = [format_of(task, vocab) for task in mix]
        self.rows, self.ids, self.names = len(units), range(len(units)) if ids is None else ids, names
        self.add_bos, self.shuffle, self.prompt_fraction = add_bos, shuffle, prompt_fraction
        self.packed, self.mixed_lengths, self.seed = packed, mixed_lengths, seed
        self.augment: Optional[Augmentation] = None
        self.max_tokens: Optional[int] = None
        self.keeps_all = False
        self.epoch = 1
        lengths = lengths_of(units), lengths_of(self.texts)
        self.sizes = np.concatenate([one.lengths(*lengths, vocab, add_bos) for one in self.formats])

    def __len__(self) -> int:
        return self.rows * len(self.formats)

    def __getitem__(self, index: int) -> dict[str, Any]:
        number, row = divmod(int(index), self.rows)
        one, identity = self.formats[number], int(self.ids[row])
        units = self.units[row]
        if self.augment is not None and one.prompt == SPEECH:  # answers stay as they are
            units = self.augment(units, self.epoch, identity)
        text = np.asarray(self.texts[row], dtype=np.int64)
        prompt, answer = one.build(self.vocab.encode_units(units), text, self.vocab, self.add_bos)
        open_prompt = one.is_open_ended and self.prompt_fraction is not None
        if open_prompt:
            given = round((self.prompt_fraction or 0) * (len(answer) - 1))
            prompt = np.concatenate([prompt, answer[:given]])
        item = {
            "id": identity,
            "prompt": torch.from_numpy(prompt),
            "task": one.task,
            "segment_flags": one.segment_flags,
        }
        if not open_prompt and (one.is_open_ended or self.labelled):
            item["answer"] = torch.from_numpy(answer)
        return item

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch of `batching.collate`, and the name of each row's task, `tasks`."""
        batch = collate(samples, self.vocab.pad)
        if not batch:
            return batch
        batch["tasks"] = [one["task"] for one in samples]
        return pack_batch(batch, self.vocab.pad) if self.packed else batch

    def set_epoch(self, epoch: int) -> None:
        """Read this epoch from now on; before its workers are started."""
        self.epoch = epoch

    def num_tokens(self, index: int) -> int:
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        return self.sizes[indices]

    def size(self, index: int) -> int:
        return int(self.sizes[index])

    def name(self, index: int) -> str:
        """How to name an index to a person: file and line where they are known."""
        row = int(index) % self.rows
        return self.names[row] if self.names is not None else f"utterance {row}"

    @property
    def draws_tasks(self) -> bool:
        """Whether each epoch reads the utterances as other tasks."""
        return self.shuffle and len(self.formats) > 1

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """Whether the next epoch has the same batches."""
        return not self.draws_tasks

    def ordered_indices(self) -> np.ndarray:
        """By length but for `mixed_lengths`; in training one index of each utterance, else all, task after task.

        A draw of tasks depends on the seed and the epoch alone: workers agree, and a resumed run draws the same. Ties
        are in random order in training, in file order otherwise.
        """
        if not self.shuffle:
            parts = np.arange(len(self)).reshape(len(self.formats), self.rows)
            return np.concatenate([self._by_length(part) for part in parts])
        if not self.draws_tasks:
            # the same in every epoch: fairseq keeps its batches, but a run that goes on makes them anew
            return self._by_length(np.random.default_rng(0).permutation(self.rows))
        # what fairseq-fixed's numpy_seed would give here; fairseq 0.12.2 seeds numpy in another way
        drawn = np.random.RandomState(self.seed + self.epoch).randint(2**31)
        rng = np.random.default_rng([drawn, self.epoch])
        order = rng.permutation(self.rows)
        order = order + self.rows * draw_tasks(self.rows, list(self.mix.values()), rng)
        return self._by_length(order[rng.permutation(self.rows)])

    def _by_length(self, order: np.ndarray) -> np.ndarray:
        return order if self.mixed_lengths else order[np.argsort(self.sizes[order], kind="stable")]

    def filter_indices_by_size(self, indices: np.ndarray, max_sizes: Any) -> tuple[np.ndarray, list[int]]:
        """Nothing is left out in silence: what the model cannot hold is an error.

        Raises:
            InputError: names the first.
        """
        return self.usable_indices(indices, max_sizes, skip=False), []

    def usable_indices(self, indices: np.ndarray, max_sizes: Any, skip: bool) -> np.ndarray:
        """Those of `indices` that the model holds and a batch takes; see `keep_usable`.

        Args:
            max_sizes: positions of the model, or several limits.
            skip: leave the others out, if this data set may (`keeps_all`), instead of an error.

        Raises:
            InputError: names the first; or nothing is left of labelled data.
        """
        positions = int(max_sizes if isinstance(max_sizes, (int, float)) else min(max_sizes))
        may_skip = not self.keeps_all
        kept = keep_usable(
            indices, self.sizes, self.name, positions, self.max_tokens, skip=skip and may_skip, may_skip=may_skip
        )
        if len(indices) and not len(kept) and self.labelled:
            limit = LengthLimit.lower_of(positions, self.max_tokens)
            problem = f"like all {len(indices)} utterances, it is longer than {limit}"
            remedy = "a higher --max-tokens" if limit.by_batch else "a model of more positions"
            raise InputError(self.name(int(indices.min())), problem, f"give shorter ones, or {remedy}")
        return kept

    def batch_by_size(
        self,
        indices: np.ndarray,
        max_tokens: Optional[int] = None,
        max_sentences: Optional[int] = None,
        required_batch_size_multiple: int = 1,
    ) -> list[np.ndarray]:
        """See `batches_by_size`; outside training no batch holds two tasks, so that each has its own numbers."""
        parts = [indices]
        if not self.shuffle:
            parts = [indices[indices // max(self.rows, 1) == number] for number in range(len(self.formats))]
        return [
            batch
            for part in parts
            for batch in batches_by_size(
                part, self.sizes, self.name, max_tokens, max_sentences, required_batch_size_multiple, self.packed
            )
        ]


def lengths_of(rows: Sequence[Any]) -> np.ndarray:
    """Their lengths, int64 (rows,)."""
    return rows.lengths if isinstance(rows, Ragged) else np.array([len(row) for row in rows], dtype=np.int64)
