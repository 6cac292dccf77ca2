"""Files of lines `id text`, as Kaldi, LibriSpeech and most of the field's programs write them."""

from __future__ import annotations

import re
from typing import Iterator

from sld_user_dir.arrays import PathLike
from sld_user_dir.errors import InputError, line_of
from sld_user_dir.files import iter_lines, without_returns

_WHITE_SPACE = re.compile(r"\s")


def split_key(line: str) -> tuple[str, str]:
    """Id and text of a line, parted at its first tab where it has one, else at its first white space.

    So ids may hold spaces where a tab follows them. White space around the text goes.
    """
    name, tab, text = line.partition("\t")
    if not tab:
        name, text = (_WHITE_SPACE.split(line, maxsplit=1) + [""])[:2]
    return name, text.strip()


def keyed_lines(path: PathLike, error: type[InputError] = InputError) -> Iterator[tuple[str, str, str]]:
    """`FILE:LINE`, id and text of each line; the text can be empty. Blank lines are passed over.

    Raises:
        InputError: of the kind `error`: a line without an id; else as `files.iter_lines`.
    """
    for number, line in enumerate(iter_lines(path, error), 1):
        if not line.strip():
            continue
        name, text = split_key(line)
        if not name:
            raise error(line_of(path, number), f"no id before {line[:40]!r}", "write it as: id<TAB>text")
        yield line_of(path, number), name, without_returns(text)
