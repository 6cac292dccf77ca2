"""Which file of a directory in Hugging Face's form cannot be read, where transformers only says that it cannot load."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Iterator, Union

from sld_user_dir.errors import InputError, line_of, reason_of
from sld_user_dir.files import BYTE_ORDER_MARK, read_json, refuse_lfs_pointer

JSON_FILES = (
    "config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
)
"""What transformers reads to load a model or a tokenizer; each holds an object."""
REMEDY = "save it as JSON in UTF-8 without a byte order mark, or fetch it again"


@contextlib.contextmanager
def naming_source(source: Union[str, Path], what: str, remedy: str) -> Iterator[None]:
    """Around what loads a directory or hub name; whatever stops it becomes an error that names it.

    Args:
        what: should be there, such as a tokenizer.

    Raises:
        InputError: a file that cannot be read, or no such thing there.
    """
    try:
        yield
    except Exception as error:  # transformers, its hub and safetensors raise many kinds
        refuse_unreadable_files(source)
        raise InputError(source, f"no {what} can be loaded from there: {reason_of(error)}", remedy) from error


def refuse_unreadable_files(source: Union[str, Path], error: type[InputError] = InputError) -> None:
    """Say so where a pointer of Git LFS, or JSON that is none to transformers, is why a directory cannot be loaded.

    Args:
        source: a directory; of anything else, such as a name on the hub, nothing is known.

    Raises:
        InputError: of the kind `error`.
    """
    refuse_lfs_pointer(source, error)
    for path in (Path(source) / name for name in JSON_FILES):
        if path.is_file():
            _refuse_unreadable(path, error)


def _refuse_unreadable(path: Path, error: type[InputError]) -> None:
    value = read_json(path, error)
    with path.open("rb") as raw:
        marked = raw.read(len(BYTE_ORDER_MARK.encode())) == BYTE_ORDER_MARK.encode()
    if marked:  # this package's own rules take it
        raise error(line_of(path, 1), "begins with a byte order mark, which transformers does not take", REMEDY)
    if not isinstance(value, dict):
        raise error(
            path, f"holds {type(value).__name__}, not an object in braces", "correct the file, or fetch it again"
        )
