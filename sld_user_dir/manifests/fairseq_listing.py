"""fairseq's list of recordings: `X.tsv`, and their transcripts line by line in `X.wrd` or `X.ltr` beside it.

/corpora/LibriSpeech
dev/84/84-121123-0000.flac<TAB>166960
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Optional, Sequence

from sld_user_dir.errors import InputError, line_of
from sld_user_dir.files import (
    atomic_path,
    printable,
    read_lines,
    unwritable,
    unwritable_line,
    whole_number,
    without_returns,
)
from sld_user_dir.manifests.named_columns import cell_problem


class ListedFile(NamedTuple):
    """A recording of such a list; `where` is `FILE:LINE`, or its id where it is to be written."""

    where: str
    name: str
    """path from the root"""
    n_samples: int
    text: str


def read_listing(path: Path, lines: Sequence[str], error: type[InputError]) -> list[ListedFile]:
    """The files of a list, whose lines these are, with their transcripts where some lie beside.

    Raises:
        InputError: of the kind `error`: a line that is not `path<TAB>samples`, transcripts that are not parallel.
    """
    texts = _parallel_texts(path, len(lines) - 1, error)
    files = []
    for number, (line, text) in enumerate(zip(lines[1:], texts), 2):
        name, tab, samples = line.partition("\t")
        n_samples = whole_number(samples)
        if not tab or n_samples is None:
            raise error(line_of(path, number), "not 'path<TAB>samples'", "see docs/units.md")
        files.append(ListedFile(line_of(path, number), name, n_samples, text))
    return files


def write_listing(path: Path, root: str, files: Sequence[ListedFile], error: type[InputError]) -> None:
    """Write `X.tsv`, `X.wrd` and `X.ltr`.

    Raises:
        InputError: of the kind `error`: a path or a text that would not be read as it was written.
    """
    if unwritable(root):
        raise error(printable(root), f"the folder's name {unwritable(root)}", "rename it")
    for one in files:
        problem, remedy = _problem(one)
        if problem:
            raise error(one.where, problem, remedy)
    texts = {
        ".tsv": [root, *(f"{one.name}\t{one.n_samples}" for one in files)],
        ".wrd": [one.text for one in files],
        ".ltr": [words_to_letters(one.text) for one in files],
    }
    for suffix, lines in texts.items():
        with atomic_path(path.with_suffix(suffix)) as aside:
            aside.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def words_to_letters(text: str) -> str:
    """`TWO SIX` to fairseq's `.ltr` line: `T W O | S I X |`."""
    return " ".join("|".join(text.split())) + " |"


def letters_to_words(line: str) -> str:
    """fairseq's `.ltr` line to words: `T W O | S I X |` -> `TWO SIX`."""
    return " ".join("".join(line.split()).replace("|", " ").split())


def _problem(one: ListedFile) -> tuple[Optional[str], str]:
    of_path = cell_problem(one.name, first=True)
    if of_path:
        return f"the path {of_path}", "rename the file"
    of_text = unwritable_line(one.text)
    if of_text:
        return f"the transcript {of_text}", "remove it"
    if "|" in one.text:
        return "the transcript contains '|', which stands for the space in .ltr", "remove it from the text"
    return None, ""


def _parallel_texts(path: Path, n_files: int, error: type[InputError]) -> list[str]:
    for suffix in (".wrd", ".ltr"):
        beside = path.with_suffix(suffix)
        if not beside.exists():
            continue
        texts = read_lines(beside, error, keep_blank_end=True)  # a line can be an empty transcript
        if not any(text.strip() for text in texts[n_files:]):
            texts = texts[:n_files]
        if len(texts) != n_files:
            raise error(beside, f"{len(texts)} lines, {path.name} lists {n_files} files", "make them parallel")
        return [letters_to_words(text) for text in texts] if suffix == ".ltr" else list(map(without_returns, texts))
    return [""] * n_files
