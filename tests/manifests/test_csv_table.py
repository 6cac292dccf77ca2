"""Comma-separated tables: long values, quotation marks, and the line that an error names."""

import csv

import pytest

from sld_user_dir.errors import InputError
from sld_user_dir.manifests.csv_table import csv_rows
from sld_user_dir.pipeline.recording_table import read_table

COLUMNS = ("path", "text")


def rows(path, content: str):
    path.write_text(content, encoding="utf-8")
    return [(number, *row.values()) for number, row in csv_rows(path, COLUMNS, InputError)]


def test_rows_and_the_lines_that_they_begin_on(tmp_path):
    content = 'path,text\na.wav,one\n\nb.wav,"two\nlines, and ""more"""\nc.wav,three\n'
    assert rows(tmp_path / "t.csv", content) == [
        (2, "a.wav", "one"),
        (4, "b.wav", 'two\nlines, and "more"'),
        (6, "c.wav", "three"),
    ]
    assert [one.text for one in read_table(tmp_path / "t.csv", tmp_path)] == ["one", 'two lines, and "more"', "three"]


def test_a_value_may_be_longer_than_128_kilobytes(tmp_path):
    limit, text = csv.field_size_limit(), "word " * 100_000
    assert rows(tmp_path / "t.csv", f'path,text\na.wav,"{text}"\n') == [(2, "a.wav", text)]
    (row,) = read_table(tmp_path / "t.csv", tmp_path)
    assert row.text == text.strip()
    (tmp_path / "t.tsv").write_text(f"path\ttext\na.wav\t{text}\n")
    (row,) = read_table(tmp_path / "t.tsv", tmp_path)
    assert row.text == text.strip()
    assert csv.field_size_limit() == limit  # of the whole process


@pytest.mark.parametrize(
    "content, message",
    [
        ("", r":1: no column names; name them on a line: path, text"),
        ("path;text\na.wav;one\n", r":1: no column path, text among \['path;text'\]"),
        ('path,text\na.wav,one\nb.wav,"two\nc.wav,three\n', r":3: the row that begins here is no row .*unexpected end"),
        ('path,text\na.wav,"one" more\n', r":2: the row that begins here .*; close its quotation marks, and double"),
        ('path,text\na.wav,"one\ntwo"\nb.wav\n', r":4: 1 columns, expected 2; separate columns by one comma"),
        ('path,text\n"a\tb.wav",one\n', r":2: column path contains a tab; correct it"),
        ('path,text\n"a\nb.wav",one\n', r":2: column path contains a line break; correct it"),
        ('path,text,note\na.wav,one,"x\n"\n', r":2: column note contains a line break; correct it"),
        ("path,text\n,one\n", r":2: the path '' names no file; name the recording"),
        ("path,text\na.wav,one\na.flac,two\n", r":3: duplicate id 'a', first on line 2; rename or remove one"),
        ("path,text,speed\na.wav,one,0.9\n", r":1: a column speed, which is not taken from here; .*; --speeds lists"),
        ("\npath,text,warp\na.wav,one,0.9\n", r":2: a column warp, which is not taken from here; .*; --warps lists"),
        ("path,text,units\na.wav,one,7\n", r":1: a column units, which is not taken from here; rename it"),
        ("path,text,n_samples\na.wav,one,9.5\n", r":2: n_samples '9\.5' is no whole number"),
        ("path,text,sample_rate\na.wav,one,0\n", r":2: sample_rate '0' is no whole number from 1 on"),
        ("id,path,text\n1,a.wav,one\n2,b.wav,x\n1,c.wav,two\n", r":4: duplicate id '1', first on line 2"),
    ],
)
def test_errors_name_file_line_and_remedy(tmp_path, content, message):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(InputError, match=r"t\.csv" + message):
        read_table(tmp_path / "t.csv", tmp_path)


@pytest.mark.parametrize("content", ["path\ttext\na.wav\tone\na.flac\ttwo\n", "path\ttext\n\tone\n"])
def test_tables_with_tabs_are_refused_alike(tmp_path, content):
    (tmp_path / "t.tsv").write_text(content)
    with pytest.raises(InputError, match=r"t\.tsv:[23]: (duplicate id 'a'|the path '' names no file)"):
        read_table(tmp_path / "t.tsv", tmp_path)
