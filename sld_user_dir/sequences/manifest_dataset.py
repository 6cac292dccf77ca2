"""The dataset of a unit manifest."""

from __future__ import annotations

import logging
from typing import Any, Optional, Sequence, Type, TypeVar, Union

import numpy as np

from sld_user_dir.manifests.memory_map import MappedManifest
from sld_user_dir.manifests.ragged import Ragged, ragged
from sld_user_dir.manifests.unit_manifest import Manifest, ManifestError, encode_rows, refuse_empty
from sld_user_dir.sequences.dataset import SequenceDataset
from sld_user_dir.sequences.sequence_format import FORMATS
from sld_user_dir.vocabulary.joint import JointVocabulary

logger = logging.getLogger(__name__)

AnyManifest = Union[Manifest, MappedManifest]
Kind = TypeVar("Kind", bound=SequenceDataset)


class _LineNames(Sequence[str]):
    """`file:line` of the rows of a manifest, made when asked for."""

    def __init__(self, manifest: AnyManifest, rows: np.ndarray):
        self.manifest, self.rows = manifest, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return f"{self.manifest.path}:{self.manifest.line(int(self.rows[index]))}"


def dataset_from_manifest(
    manifest: AnyManifest,
    vocab: JointVocabulary,
    max_positions: Optional[int],
    kind: Type[Kind],
    skip_too_long: bool = False,
    add_bos: bool = False,
    **options: Any,
) -> Kind:
    """Dataset of a manifest; the `id` of an item is its row in the manifest, from 0.

    Args:
        manifest: of `memory_map.open_manifest`, or in memory.
        max_positions: longest input that the model holds, as a sequence to be recognised; None to check it later.
        kind: `SequenceDataset`, or a framework's own form of it.
        skip_too_long: leave longer lines out, counted and named, instead of an error.
        options: of `SequenceDataset`.

    Raises:
        ManifestError: another unit vocabulary, a line too long for the model, or no utterance.
    """
    refuse_empty(manifest)
    if manifest.provenance.num_units != vocab.num_units:
        raise ManifestError(
            manifest.path,
            f"units of a vocabulary of {manifest.provenance.num_units}, but dict.txt has {vocab.num_units}",
            "rebuild dict.txt with sld vocab",
        )
    units = Ragged(manifest.units, manifest.offsets)
    texts, unknown = encoded_texts(manifest, vocab)
    if unknown:
        logger.warning("%s: %d text symbols are not in dict.txt and become <unk>", manifest.path, unknown)
    lengths = FORMATS["asr"].lengths(units.lengths, texts.lengths, vocab, add_bos)
    rows = np.arange(len(lengths)) if max_positions is None else np.flatnonzero(lengths <= max_positions)
    if max_positions is not None and len(rows) < len(lengths):
        _report_too_long(manifest, lengths, max_positions, skip_too_long)
    if not len(rows):
        problem = f"all {len(lengths)} utterances are too long for the model"
        raise ManifestError(manifest.path, problem, "give shorter ones, or a model of more positions")
    return kind(
        units.take(rows),
        texts.take(rows),
        vocab,
        add_bos=add_bos,
        names=_LineNames(manifest, rows),
        ids=rows,
        **options,
    )


def encoded_texts(manifest: AnyManifest, vocab: JointVocabulary) -> tuple[Ragged, int]:
    """Text ids of all transcripts, and how many of them are <unk>."""
    if isinstance(manifest, MappedManifest):
        return manifest.encoded_texts(vocab)
    texts = ragged(list(encode_rows(manifest, vocab.encode_text, manifest.column("text"))))
    return texts, int((texts.flat == vocab.unk).sum())


def _report_too_long(manifest: AnyManifest, lengths: np.ndarray, max_positions: int, skip: bool) -> None:
    """What the model can't hold is an error, or with `skip` counted and named."""
    too_long = np.flatnonzero(lengths > max_positions)
    first = int(too_long[0])
    if not skip:
        raise ManifestError(
            f"{manifest.path}:{manifest.line(first)}",
            f"{lengths[first]} tokens, but the model holds {max_positions}",
            f"shorten or remove it ({too_long.size} such lines), raise --tokens-per-sample, or --max-target-positions "
            "where that is given, or leave such lines out with --skip-too-long",
        )
    lines = ", ".join(str(manifest.line(int(i))) for i in too_long[:10])
    logger.warning(
        "%s: %d of %d utterances are longer than %d tokens and left out (lines %s%s)",
        manifest.path,
        too_long.size,
        len(manifest),
        max_positions,
        lines,
        ", …" if too_long.size > 10 else "",
    )
