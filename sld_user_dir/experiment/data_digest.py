"""Hashes of the files that a training or a decoding reads, so that what was made from others is not taken for it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Iterable, Mapping

from sld_user_dir.errors import InputError
from sld_user_dir.files import sha256_of

VOCABULARY = ("dict.txt", "vocab.json")


def training_files(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The files of a data directory that `fairseq-train` reads with these options."""
    subsets = [options.get("train_subset") or "train", *(options.get("valid_subset") or "valid").split(",")]
    return (*(f"{subset}.tsv" for subset in subsets), *VOCABULARY)


def data_digest(data: Path, names: Iterable[str]) -> bytes:
    """The SHA-256 of each of these files of a data directory, joined: stored fingerprints of sweeps rest on this form.

    Raises:
        InputError: one cannot be read.
    """
    digests = []
    for name in names:
        path = data / name
        try:
            state = path.stat()
            digests.append(_digest_of(path, state.st_mtime_ns, state.st_size))
        except OSError as error:
            raise InputError(path, error.strerror or str(error), "restore it, or make the data again") from error
    return b"".join(digests)


@functools.cache
def _digest_of(path: Path, mtime_ns: int, size: int) -> bytes:
    """Of a file's bytes, read once as long as the file is the same."""
    return bytes.fromhex(sha256_of(path))
