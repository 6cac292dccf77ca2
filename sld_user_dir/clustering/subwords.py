"""Unit subwords: a SentencePiece unigram model over units, whose pieces are the speech vocabulary.

Each unit is written as the character `chr(256 + unit)`, the convention of the published models.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Iterable, Iterator, Optional

import numpy as np
import numpy.typing as npt
import sentencepiece

from sld_user_dir.arrays import PathLike, UnitArray
from sld_user_dir.errors import InputError
from sld_user_dir.files import atomic_path, refuse_lfs_pointer
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.unit_manifest import Manifest, Utterance

FIRST_CHARACTER = 256  # of unit 0
MAX_UNITS = 0x1680 - FIRST_CHARACTER  # there Unicode has a space, which SentencePiece would treat as one


class SubwordError(InputError):
    """Units that cannot be written as subwords; the message tells why."""


def to_text(units: UnitArray) -> str:
    """Raw units (N,) to N characters."""
    return "".join(map(chr, (np.asarray(units) + FIRST_CHARACTER).tolist()))


def to_units(text: str) -> UnitArray:
    """The inverse of `to_text`."""
    return np.array([ord(c) - FIRST_CHARACTER for c in text], dtype=np.int32)


class UnitSubwords:
    """A trained model: units to pieces and back."""

    def __init__(self, model: bytes, path: Optional[PathLike] = None) -> None:
        self._model, self._path = model, path
        if not model:  # which SentencePiece takes for a model, and fails when it is used
            raise SubwordError(path, "an empty file", "train one with sld subwords")
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
            for piece in range(self.num_pieces):
                self._processor.id_to_piece(piece)  # is it text? Else whoever meets it would stumble
        except (RuntimeError, UnicodeDecodeError) as error:
            raise SubwordError(path, "not a SentencePiece model", "train one with sld subwords") from error

    @property
    def num_pieces(self) -> int:
        """Pieces, `<unk>` among them: ids that `encode` gives are below it."""
        return int(self._processor.get_piece_size())

    @property
    def sha256(self) -> str:
        """`sha256:...` of the model file."""
        return f"sha256:{hashlib.sha256(self._model).hexdigest()}"

    def encode(self, units: UnitArray) -> UnitArray:
        """Units (N,) to piece ids (M,), M <= N.

        Raises:
            SubwordError: a unit of another, larger k-means.
        """
        pieces = np.array(self._processor.encode(to_text(units)), dtype=np.int32)
        if (pieces == self._processor.unk_id()).any():
            known = {c for i in range(self.num_pieces) for c in self._processor.id_to_piece(i)}
            unknown = sorted({int(u) for u in units if chr(int(u) + FIRST_CHARACTER) not in known})
            raise SubwordError(
                self._path, f"units {unknown} are not in the subword model", "it belongs to another k-means"
            )
        return pieces

    def decode(self, pieces: UnitArray) -> UnitArray:
        """Piece ids back to units."""
        return to_units("".join(self._processor.id_to_piece(int(p)) for p in pieces))

    def lengths(self, pieces: UnitArray) -> npt.NDArray[np.int64]:
        """Units in each piece."""
        return np.array([len(self._processor.id_to_piece(int(p))) for p in pieces], dtype=np.int64)

    def save(self, path: PathLike) -> None:
        """Write SentencePiece's model file."""
        with atomic_path(path) as aside:
            aside.write_bytes(self._model)

    @classmethod
    def load(cls, path: PathLike) -> UnitSubwords:
        """Read a model file.

        Raises:
            SubwordError: missing, or not a model of SentencePiece.
        """
        refuse_lfs_pointer(path, SubwordError)
        try:
            return cls(Path(path).read_bytes(), path)
        except OSError as error:
            raise SubwordError(path, error.strerror or str(error), "train one with sld subwords") from None

    @classmethod
    def train(cls, sequences: Iterable[UnitArray], num_units: int, num_pieces: int) -> UnitSubwords:
        """Learn `num_pieces` pieces; every unit of 0 ... num_units - 1 is one of them.

        Raises:
            SubwordError: too many units, or too few pieces or too little speech for that many.
        """
        if num_units > MAX_UNITS:
            problem = f"{num_units} units: characters from chr({FIRST_CHARACTER}) on hold {MAX_UNITS} at most"
            raise SubwordError(None, problem, "take a k-means of fewer units")
        if num_pieces <= num_units:
            problem = f"{num_pieces} pieces must be more than the {num_units} units, and <unk>"
            raise SubwordError(f"--num-pieces {num_pieces}", problem, "take more pieces")
        every_unit = np.arange(num_units, dtype=np.int32)[:, None]  # each a line: test sets may hold any
        out = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=map(to_text, chain(every_unit, sequences)),
                model_writer=out,
                model_type="unigram",
                vocab_size=num_pieces,
                character_coverage=1.0,
                normalization_rule_name="identity",
                add_dummy_prefix=False,
                remove_extra_whitespaces=False,
                split_by_whitespace=False,
                split_by_unicode_script=False,
                split_by_number=False,
                max_sentence_length=1 << 20,
                bos_id=-1,
                eos_id=-1,
                pad_id=-1,
                unk_id=0,
                num_threads=1,
                minloglevel=2,
            )
        except (RuntimeError, ValueError) as error:  # the latter for a number that its int does not hold
            said = str(error).strip().rpartition("\n")[2]  # before it: where in its sources
            raise SubwordError(
                f"--num-pieces {num_pieces}", f"SentencePiece: {said}", "take fewer pieces, or more units"
            ) from error
        return cls(out.getvalue())


def encode_manifest(manifest: Manifest, subwords: UnitSubwords) -> tuple[Iterator[Utterance], UnitProvenance]:
    """The manifest's utterances in pieces, and their provenance.

    Pieces get durations in frames, the sums of those of their units, so that words can be timed; none where units of
    collapsed runs have none.
    """
    provenance = replace(manifest.provenance, num_units=subwords.num_pieces, subword=subwords.sha256)
    return (_encode(one, subwords, manifest.provenance.deduplicated) for one in manifest), provenance


def _encode(one: Utterance, subwords: UnitSubwords, deduplicated: bool) -> Utterance:
    pieces = subwords.encode(one.units)
    lengths = subwords.lengths(pieces)
    durations: Optional[npt.NDArray[np.int64]] = None
    if one.durations is not None:
        durations = np.add.reduceat(one.durations, np.cumsum(lengths) - lengths)
    elif not deduplicated:  # each unit is a frame
        durations = lengths
    return Utterance(one.id, pieces, one.text, durations, one.fields)
