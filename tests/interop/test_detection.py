"""What the reader of a format reads is told as that format, in every form of its lines, and as no other."""

import json
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.text_readers import UNIT_FILES

from sld_user_dir.errors import InputError
from sld_user_dir.interop.detection import HEAD_LINES, detect
from sld_user_dir.interop.unit_format import unit_formats

Units = List[int]


def numbers(units: Units) -> str:
    return " ".join(map(str, units))


def characters(units: Units) -> str:
    return "".join(chr(0x4E00 + unit) for unit in units)


def tokens(units: Units) -> str:
    return "".join(f"<Un{unit}>" for unit in units)


def spaced(item: dict) -> str:
    """JSON with a space after the brace, as some programs write it."""
    return "{ " + json.dumps(item)[1:]


# -- lines as their programs and their users write them: the file's name, and each form of a line ------------------
Line = Callable[[str, Units], str]
FORMS: Dict[str, Tuple[str, Dict[str, Line]]] = {
    "textless": (
        "x.units",
        {
            "plain": lambda name, units: f"{name}\t{numbers(units)}",
            "space after the tab": lambda name, units: f"{name}\t {numbers(units)}",
            "tab at the end": lambda name, units: f"{name}\t{numbers(units)}\t",
        },
    ),
    "gslm": (
        "x.txt",
        {
            "plain": lambda name, units: f"{name}|{numbers(units)}",
            "space after the bar": lambda name, units: f"{name}| {numbers(units)}",
        },
    ),
    "espnet": (
        "x",
        {
            "plain": lambda name, units: f"{name} {numbers(units)}",
            "two spaces": lambda name, units: f"{name}  {numbers(units)}",
            "no-break space": lambda name, units: f"{name}\xa0{numbers(units)}",
        },
    ),
    "espnet-cjk": (
        "x",
        {
            "plain": lambda name, units: f"{name} {characters(units)}",
            "two spaces": lambda name, units: f"{name}  {characters(units)}",
            "tab": lambda name, units: f"{name}\t{characters(units)}",
        },
    ),
    "gslm-json": (
        "x.jsonl",
        {
            "plain": lambda name, units: json.dumps({"audio": name, "hubert": numbers(units)}),
            "space after the brace": lambda name, units: spaced({"audio": name, "hubert": numbers(units)}),
            "space before the brace": lambda name, units: " " + json.dumps({"audio": name, "hubert_km100": units}),
        },
    ),
    "resynthesis": (
        "x.txt",
        {
            "plain": lambda name, units: repr({"audio": name, "hubert": numbers(units)}),
            "space after the brace": lambda name, units: "{ " + repr({"audio": name, "hubert": numbers(units)})[1:],
            "mixed quotation marks": lambda name, units: f"{{\"audio\": {name!r}, 'hubert': '{numbers(units)}'}}",
        },
    ),
    "authors": (
        "x.json",
        {
            "plain": lambda name, units: json.dumps({"text": name, "idx": units}),
            "space after the brace": lambda name, units: spaced({"text": name, "idx": units}),
            "Python": lambda name, units: repr({"text": name, "idx": units}),
        },
    ),
    "slamkit": (
        "x.jsonl",
        {
            "plain": lambda name, units: json.dumps({"units": units, "file_name": name}),
            "space after the brace": lambda name, units: spaced({"units": units, "file_name": name}),
            "Python": lambda name, units: repr({"units": units, "file_name": name}),
        },
    ),
    "slamkit-tokens": (
        "x.jsonl",
        {
            "plain": lambda name, units: json.dumps({"audio_repr": tokens(units), "file_name": name}),
            "space after the brace": lambda name, units: spaced({"audio_repr": tokens(units), "file_name": name}),
            "Python": lambda name, units: repr({"audio_repr": tokens(units), "file_name": name}),
        },
    ),
    "s2ut": (
        "x.tsv",
        {
            "plain": lambda name, units: f"{name}\ta.wav\t5\t{numbers(units)}\t{len(units)}",
            "further column": lambda name, units: f"{name}\ta.wav\t5\t{numbers(units)}\t{len(units)}\tzwei drei",
            "few columns": lambda name, units: f"{name}\t{numbers(units)}\t{len(units)}",
        },
    ),
    "km": ("x.km", {"plain": lambda name, units: numbers(units), "indented": lambda name, units: " " + numbers(units)}),
}
S2UT_COLUMNS = {
    "plain": "id\tsrc_audio\tsrc_n_frames\ttgt_audio\ttgt_n_frames",
    "further column": "id\tsrc_audio\tsrc_n_frames\ttgt_audio\ttgt_n_frames\ttgt_text",
    "few columns": "id\ttgt_audio\ttgt_n_frames",
}
CASES = [(name, form) for name, (_, forms) in FORMS.items() for form in forms]
ABOVE = {"nothing": [], "blank line": [""], "remark": ["# made by a program"], "odd line": ["nonsense"]}
ENDS = {"bare": "", "blank": " ", "blanks": "  "}

UNITS = st.lists(st.integers(0, 99), min_size=1, max_size=6)
NAMES = st.from_regex(r"[a-z#/][a-z0-9/.|_#-]{0,8}[a-z]", fullmatch=True)
"""None that is a number alone, or ends in a bar or in one and a number: whether that is ESPnet's or GSLM's is open."""
SPACED_NAMES = st.tuples(NAMES, NAMES).map(" ".join)
HOLD_SPACES = {("espnet-cjk", "tab"), *((name, form) for name, form in CASES if name not in ("espnet", "espnet-cjk"))}


def lines_of(name: str, form: str, rows: List[Tuple[str, Units]]) -> List[str]:
    line = FORMS[name][1][form]
    head = [S2UT_COLUMNS[form]] if name == "s2ut" else []
    return [*head, *(line(key, units) for key, units in rows)]


def written(folder: str, name: str, lines: List[str]) -> Path:
    path = Path(folder, FORMS[name][0])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if name == "km":
        path.with_suffix(".tsv").write_text("/c\n" + "".join(f"{i}.wav\t960\n" for i in range(len(lines))))
    return path


def test_every_format_has_its_forms():
    assert set(FORMS) == set(unit_formats()) == set(UNIT_FILES)


@pytest.mark.parametrize("name, form", CASES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_a_reader_reads_is_told_as_its_format(name, form, data):
    names = st.one_of(NAMES, SPACED_NAMES) if (name, form) in HOLD_SPACES else NAMES
    rows = data.draw(st.lists(st.tuples(names, UNITS), min_size=1, max_size=4, unique_by=lambda row: row[0]))
    end, above = data.draw(st.sampled_from(list(ENDS))), data.draw(st.sampled_from(list(ABOVE)))
    lines = [line + ENDS[end] for line in lines_of(name, form, rows)]
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, name, lines)
        if not (name == "s2ut" and ENDS[end]):  # a column's name, or the number of units, with a blank in it
            assert len(unit_formats()[name].read(path).records) == len(rows)
        path = written(folder, name, ABOVE[above] + lines)
        assert detect(path).name == name


@pytest.mark.parametrize("name", sorted(set(FORMS) - {"s2ut"}))
def test_an_odd_line_above_many_blank_ones_is_named(name, tmp_path):
    lines = [""] * HEAD_LINES + lines_of(name, "plain", [("a", [1]), ("b", [2])])
    path = written(str(tmp_path), name, lines)
    assert detect(path).name == name
    with pytest.raises(InputError, match=rf"{path.name}:1: "):
        unit_formats()[name].read(path)


def test_what_a_table_lacks_is_named_where_its_column_names_do_not_stand_first(tmp_path):
    lines = lines_of("s2ut", "plain", [("a", [1]), ("b", [2])])
    for above in ("", "# remark"):
        path = written(str(tmp_path), "s2ut", [above, *lines])
        assert detect(path).name == "s2ut"
        with pytest.raises(InputError, match=r"x\.tsv:1: no column id, tgt_audio, tgt_n_frames among"):
            unit_formats()["s2ut"].read(path)


def test_units_by_name_and_tab_are_textless_libs_whatever_else_would_read_them(tmp_path):
    path = tmp_path / "x"
    path.write_text("a b|\t1 2\n")  # ESPnet's reader and GSLM's take such a line, too
    for name in ("textless", "espnet", "gslm"):
        assert unit_formats()[name].read(path).records[0].units.tolist() == [1, 2]
    assert detect(path).name == "textless"


def test_the_listing_of_a_km_file_is_told_with_blanks_at_its_ends(tmp_path):
    written(str(tmp_path), "km", ["1 2", "3"])
    (tmp_path / "x.tsv").write_text("/c\na.wav\t960 \nb.wav\t960 \n")
    assert detect(tmp_path / "x.tsv").name == "km"


SIZE = 1 << 21
HOSTILE = {
    "units and a word": "1 " * SIZE + "x",
    "bars": "|1" * SIZE + "x",
    "bars and spaces": "| 1 " * (SIZE // 2) + "x",
    "spaces": " " * SIZE + "x",
    "digits": "1" * SIZE + "x",
    "spaces among digits": "a 1" + " " * SIZE + "1 x",
    "braces": "{" * SIZE,
    "brackets": '{"units": ' + "[" * SIZE,
    "tabs": "a\t" * SIZE,
    "characters": "a " + "\u4e01" * SIZE + "x",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_long_lines_are_told_fast(kind, tmp_path):
    (tmp_path / "x").write_text(HOSTILE[kind] + "\n", encoding="utf-8")
    start = time.process_time()
    with pytest.raises(InputError, match="is in no format that is known"):
        detect(tmp_path / "x")
    assert time.process_time() - start < 5
