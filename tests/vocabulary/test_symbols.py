"""The symbol table against fairseq's Dictionary: the same ids, the same bytes, the same refusals."""

import io

import pytest
from fairseq.data import Dictionary
from hypothesis import given
from hypothesis import strategies as st

from sld_user_dir.errors import InputError
from sld_user_dir.vocabulary.symbols import SPECIALS, SymbolError, SymbolTable

SYMBOLS = st.text("ab|é漢\u2028\u00a0", min_size=1, max_size=3) | st.sampled_from(SPECIALS)
COUNTS = st.integers(0, 10**6)


def fairseqs(entries) -> Dictionary:
    dictionary = Dictionary()
    for symbol, count in entries:
        dictionary.add_symbol(symbol, n=count)
    return dictionary


@given(entries=st.lists(st.tuples(SYMBOLS, COUNTS)))
def test_ids_and_counts_are_fairseqs(entries):
    table, dictionary = SymbolTable(), Dictionary()
    assert [table.add(*entry) for entry in entries] == [dictionary.add_symbol(s, n=count) for s, count in entries]
    assert (table.symbols, table.counts) == (dictionary.symbols, dictionary.count)
    assert (table.bos, table.pad, table.eos, table.unk) == (
        dictionary.bos(),
        dictionary.pad(),
        dictionary.eos(),
        dictionary.unk(),
    )
    for symbol in [*dictionary.symbols, "never seen"]:
        assert table.id_of(symbol) == dictionary.index(symbol) and (symbol in table) == (symbol in dictionary)


@given(entries=st.lists(st.tuples(st.text("ab|é漢", min_size=1, max_size=3), COUNTS)))
def test_the_bytes_of_the_file_are_fairseqs(tmp_path_factory, entries):
    folder = tmp_path_factory.mktemp("symbols")
    table = SymbolTable()
    for entry in entries:
        table.add(*entry)
    table.save(folder / "ours.txt")
    fairseqs(entries).save(str(folder / "theirs.txt"))
    assert (folder / "ours.txt").read_bytes() == (folder / "theirs.txt").read_bytes()
    loaded = SymbolTable.load(folder / "theirs.txt")
    assert (loaded.symbols, loaded.counts) == (table.symbols, table.counts)


# blank lines at the end apart, which are no lines here
LINES = ["a 1", "b 2", "a 3", "b 1 ", "a  7", " 4", "a b 5", "a +6", "a -6", "a 1_0", "<pad> 1"]
LINES += ["a", "", "a x", "a 1.5", "</s>", "c #fairseq:overwrite", "#fairseq:overwrite"]
LINES += ["a 8 #fairseq:overwrite", "<s> 9 #fairseq:overwrite"]


@given(lines=st.lists(st.sampled_from(LINES), max_size=3))
def test_a_file_is_refused_where_fairseq_refuses_it_and_read_alike_otherwise(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("symbols") / "dict.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    try:
        expected = Dictionary.load(io.StringIO(path.read_text().rstrip("\n") + "\n" * bool(any(lines))))
    except (ValueError, RuntimeError):
        with pytest.raises(SymbolError, match=r"dict\.txt:\d+: "):
            SymbolTable.load(path)
        return
    found = SymbolTable.load(path)
    assert (found.symbols, found.counts) == (expected.symbols, expected.count)
    assert all(found.id_of(symbol) == expected.index(symbol) for symbol in expected.symbols)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"a 1\nb\n", "dict.txt:2: 'b' is not 'symbol count'; build the file again"),
        (b"a 1\na 2\n", "dict.txt:2: duplicate symbol 'a'; remove one of the lines"),
        (b"a 1\n\xff 1\n", "dict.txt:2: byte 0xff is not UTF-8; save the file as UTF-8"),
        ("a 1\n".encode("utf-16"), "dict.txt:1: the file is UTF-16, not UTF-8 text; convert it: iconv -f UTF-16"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, content, message):
    (tmp_path / "dict.txt").write_bytes(content)
    with pytest.raises(InputError) as error:
        SymbolTable.load(tmp_path / "dict.txt")
    assert message in str(error.value) and str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    "content, symbols",
    [
        ("\ufeffa 2\nb 1\n", ["a", "b"]),  # a byte order mark
        ("\ufeff 2\nb 1\n", ["\ufeff", "b"]),  # the same character as a symbol
        ("a 2\n\ufeff 1\n", ["a", "\ufeff"]),
        ("a 2\r\nb 1\r\n\r\n", ["a", "b"]),
        ("\u2028 2\n\x85 1\n", ["\u2028", "\x85"]),
    ],
)
def test_marks_and_ends_of_lines(tmp_path, content, symbols):
    (tmp_path / "dict.txt").write_bytes(content.encode())
    assert SymbolTable.load(tmp_path / "dict.txt").symbols[len(SPECIALS) :] == symbols
