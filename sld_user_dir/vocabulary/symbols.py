"""Symbols and their ids, in the file format of fairseq's `dict.txt`.

The first four ids are the specials `<s> <pad> </s> <unk>`, which the file leaves out; then follows one symbol a line,
with its count. The same bytes as fairseq's `Dictionary` writes, and the same files are refused,
but for blank lines at the end and a byte order mark.
"""

from __future__ import annotations

from pathlib import Path
from typing import Iterable, Iterator, Optional, Union

from sld_user_dir.errors import InputError, line_of
from sld_user_dir.files import atomic_path, begins_with_mark, read_lines

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
_OVERWRITE = "#fairseq:overwrite"


class SymbolError(InputError):
    """A `dict.txt` that cannot be right."""


class SymbolTable:
    """Symbols in the order of their ids.

    Attributes:
        symbols: all, the specials first.
        counts: how often each was seen.
        bos, pad, eos, unk: ids of the specials.
    """

    bos, pad, eos, unk = range(len(SPECIALS))

    def __init__(self) -> None:
        self.symbols: list[str] = []
        self.counts: list[int] = []
        self._ids: dict[str, int] = {}
        for symbol in SPECIALS:
            self.add(symbol)

    def __len__(self) -> int:
        return len(self.symbols)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._ids

    def __getitem__(self, i: int) -> str:
        return self.symbols[i]

    def __iter__(self) -> Iterator[str]:
        return iter(self.symbols)

    def id_of(self, symbol: str) -> int:
        """The symbol's id; that of <unk> where it has none."""
        return self._ids.get(symbol, self.unk)

    def add(self, symbol: str, count: int = 1) -> int:
        """Add a symbol at the end, or to its count where it is there already; returns its id."""
        if symbol in self._ids:
            self.counts[self._ids[symbol]] += count
            return self._ids[symbol]
        return self._append(symbol, count)

    def _append(self, symbol: str, count: int) -> int:
        self._ids[symbol] = len(self.symbols)
        self.symbols.append(symbol)
        self.counts.append(count)
        return self._ids[symbol]

    def save(self, path: Path) -> None:
        """Write `dict.txt`, whole or not at all."""
        first = len(SPECIALS)
        rows = zip(self.symbols[first:], self.counts[first:])
        with atomic_path(path) as aside:
            aside.write_text("".join(f"{symbol} {count}\n" for symbol, count in rows), encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, path: Path) -> SymbolTable:
        """Read `dict.txt`.

        Raises:
            SymbolError: bytes that are no UTF-8, a line that is not `symbol count`, or a symbol twice.
        """
        lines = read_lines(path, SymbolError, keep_marks=True)  # which can be symbols
        while lines and begins_with_mark(lines[0]) and lines[0][1:2] not in (" ", ""):
            lines[0] = lines[0][1:]
        return cls.parse(lines, path)

    @classmethod
    def parse(cls, lines: Iterable[str], path: Union[str, Path] = "dict.txt") -> SymbolTable:
        """The table of lines `symbol count`; `path` is named in errors.

        A line that ends in `#fairseq:overwrite` may name a symbol again: the symbol's id is then the later one.
        """
        table = cls()
        for number, line in enumerate(lines, 1):
            entry, space, last = line.rstrip().rpartition(" ")
            overwrite = last == _OVERWRITE
            if overwrite:
                entry, space, last = entry.rpartition(" ")
            count = _whole_number(last)
            if not space or count is None:
                where, problem = line_of(path, number), f"{line.rstrip()!r} is not 'symbol count'"
                raise SymbolError(where, problem, "build the file again")
            if entry in table and not overwrite:
                raise SymbolError(line_of(path, number), f"duplicate symbol {entry!r}", "remove one of the lines")
            table._append(entry, count)
        return table


def _whole_number(text: str) -> Optional[int]:
    try:
        return int(text)
    except ValueError:
        return None
