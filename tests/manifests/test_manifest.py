"""The unit manifest: round trip, determinism, and every error with file, line and remedy."""

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import sld

from sld_user_dir.manifests.memory_map import open_manifest
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.unit_manifest import ManifestError, Utterance, read_manifest, write_manifest

K = 9
MADE_BY = UnitProvenance("mfcc-39", None, 25.0, "sha256:ab", K, extra={"note": "Größe"})
HEADER = f'# format: "speech-unit-manifest/1"\n# provenance: {json.dumps({"encoder": "x", "layer": 6, "frame_rate_hz": 50, "kmeans": "sha256:0", "num_units": K})}\n'  # noqa: E501
GOOD = HEADER + "id\tunits\ttext\tdurations\tspeaker\na\t1 2\tthree four\t1 4\tgeorge\nb\t8\tfive\t2\tjack\n"

COLLAPSED = json.dumps({**json.loads(HEADER.split("provenance: ")[1]), "deduplicated": True})
OTHER_HEADER = HEADER.replace('"x"', '"y"')

# whatever a cell may hold: anything but tab, the ends of lines and NUL
CELLS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\t\r\n\0"), max_size=12)
NAMES = CELLS.filter(lambda name: name and not name.startswith("\ufeff"))
SPOKEN = CELLS.filter(str.strip)
UNITS = st.lists(st.integers(0, K - 1), min_size=1, max_size=8).map(np.array)


@st.composite
def utterance_lists(draw):
    with_durations = draw(st.booleans())
    extra = draw(st.lists(st.sampled_from(["speaker", "n_samples", "origin id"]), unique=True))
    rows = []
    for name in draw(st.lists(NAMES, unique=True, max_size=5)):
        units = draw(UNITS)
        durations = None
        if with_durations:
            durations = np.array(draw(st.lists(st.integers(1, 9), min_size=len(units), max_size=len(units))))
        fields = {column: draw(CELLS) for column in extra}
        rows.append(Utterance(name, units, draw(SPOKEN), durations, fields))
    return rows


def as_tuple(u: Utterance) -> tuple:
    return u.id, u.units.tolist(), u.text, None if u.durations is None else u.durations.tolist(), u.fields


@given(rows=utterance_lists())
def test_what_is_written_is_read(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "train.tsv")
        assert write_manifest(path, iter(rows), MADE_BY, {"license": "CC BY-SA 4.0", "n": [1, None]}) == len(rows)
        read = read_manifest(path)
        first = path.read_bytes()
        write_manifest(path, read, read.provenance, read.header)
        assert path.read_bytes() == first
        assert [p.name for p in Path(folder).iterdir()] == ["train.tsv"]  # nothing left aside
    assert read.provenance == MADE_BY and read.provenance.fingerprint == MADE_BY.fingerprint
    assert read.header["license"] == "CC BY-SA 4.0" and read.header["n"] == [1, None]
    assert list(map(as_tuple, read)) == list(map(as_tuple, rows))


def test_views_of_a_manifest(tmp_path):
    (tmp_path / "m.tsv").write_text(GOOD)
    manifest = read_manifest(tmp_path / "m.tsv")
    assert len(manifest) == 2 and manifest.column("speaker") == ["george", "jack"]
    assert manifest.units.dtype == np.int32 and manifest.units.tolist() == [1, 2, 8]
    assert manifest.units_of(1).tolist() == [8]
    assert [manifest.line(i) for i in range(2)] == [4, 5]
    assert manifest[0].durations.tolist() == [1, 4]


def replaced(old: str, new: str) -> bytes:
    assert old in GOOD
    return GOOD.replace(old, new, 1).encode()


BAD = {
    "missing column": (replaced("\ttext\t", "\twords\t"), 3, "no column text among", "names the columns"),
    "two missing columns": (replaced("units\ttext\t", ""), 3, "no column units, text", "names the columns"),
    "unit outside": (replaced("b\t8", "b\t9"), 5, "unit 9 is outside the vocabulary of 9 (0 … 8)", "k-means"),
    "negative unit": (replaced("1 2", "1 -2"), 4, "bad units", "write them as: 71 12 57"),
    "fraction": (replaced("1 2", "1 2.5"), 4, "bad units", "write them as"),
    "letters": (replaced("1 2", "1 x"), 4, "bad units", "write them as"),
    "other digits": (replaced("1 2", "1 ２"), 4, "bad units", "write them as"),
    "huge unit": (replaced("1 2", "1 99999999999999999999"), 4, "bad units", "write them as"),
    "beyond int32": (replaced("1 2", "1 2147483648"), 4, "2147483648 is no unit id", "write them as"),
    "no units": (replaced("1 2", " "), 4, "no units", "extract its units again"),
    "empty transcript": (replaced("five", ""), 5, "empty transcript of 'b'", "add the text or remove"),
    "blank transcript": (replaced("five", "  "), 5, "empty transcript of 'b'", "add the text or remove"),
    "duplicate id": (replaced("\nb\t", "\na\t"), 5, "duplicate id 'a', first on line 4", "rename or remove"),
    "empty id": (replaced("\nb\t", "\n\t"), 5, "empty id", "give every utterance an id"),
    "column too few": (replaced("\tjack", ""), 5, "4 columns, expected 5", "one tab"),
    "column too many": (replaced("jack", "jack\tx"), 5, "6 columns, expected 5", "one tab"),
    "blank line": (replaced("george\n", "george\n\n"), 5, "1 columns, expected 5", "one tab"),
    "durations too few": (replaced("1 4", "5"), 4, "1 durations for 2 units", "number of frames"),
    "durations below one": (replaced("1 4", "5 0"), 4, "below 1 frame", "number of frames"),
    "bad durations": (replaced("1 4", "1 four"), 4, "bad durations", "write them as: 1 4 2"),
    "not utf-8": (GOOD.encode().replace(b"five", b"f\xfcnf"), 5, "byte 0xfc is not UTF-8", "save the file as UTF-8"),
    "utf-16": (GOOD.encode("utf-16"), 1, "the file is UTF-16, not UTF-8 text", "convert it: iconv -f UTF-16 -t UTF-8"),
    "NUL": (GOOD.encode().replace(b"five", b"fi\0e"), 5, "a NUL character", "save the file as UTF-8"),
    "repeated column": (replaced("speaker", "text"), 3, "column", "once"),
    "bad header": (
        replaced("# provenance: {", "# provenance: "),
        2,
        "header line is not '# key: JSON value'",
        "correct",
    ),
    "no format": (GOOD.encode().split(b"\n", 1)[1], 1, "not a unit manifest", "sld import"),
    "empty file": (b"", 1, "not a unit manifest", "sld import"),
    "raw among de-duplicated": (
        re.sub("provenance: .*", f"provenance: {COLLAPSED}", GOOD).replace("1 2\t", "1 1\t").encode(),
        4,
        "unit 1 of 'a' follows itself, but the header says that units are de-duplicated",
        "raw and de-duplicated units do not mix",
    ),
    "units of two encoders": (
        (GOOD + OTHER_HEADER + "id\tunits\ttext\nc\t1\tsix\n").encode(),
        6,
        "a second manifest begins here, whose units are",
        "units of two encoders or k-means do not mix: keep the files apart",
    ),
    "a manifest twice": ((GOOD + GOOD).encode(), 6, "a second header among the rows, of the same units", "remove its"),
    "half a second header": ((GOOD + HEADER.split("\n")[0]).encode(), 6, "a second header among the rows", "keep them"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_names_file_line_and_remedy(tmp_path, case):
    content, line, problem, remedy = BAD[case]
    path = tmp_path / "m.tsv"
    path.write_bytes(content)
    with pytest.raises(ManifestError) as error:
        read_manifest(path)
    message = str(error.value)
    assert message.startswith(f"{path}:{line}: ")
    assert problem in message and re.search(r"; .*" + re.escape(remedy), message)


def test_units_of_two_encoders_are_both_named(tmp_path):
    (tmp_path / "m.tsv").write_text(BAD["units of two encoders"][0].decode())
    with pytest.raises(ManifestError, match=r"\(y layer 6, 50 Hz, .*but those above are .*\(x layer 6, 50 Hz, "):
        read_manifest(tmp_path / "m.tsv")


@pytest.mark.parametrize("subword, fine", [(None, False), ("sha256:1", True)])
def test_subwords_of_deduplicated_units_may_repeat(tmp_path, subword, fine):
    made_by = UnitProvenance("x", None, 50.0, "sha256:0", K, deduplicated=True, subword=subword)
    write_manifest(tmp_path / "m.tsv", [Utterance("a", np.array([3, 3]), "x")], made_by)
    if fine:
        assert read_manifest(tmp_path / "m.tsv")[0].units.tolist() == [3, 3]
    else:
        with pytest.raises(ManifestError, match="unit 3 of 'a' follows itself"):
            read_manifest(tmp_path / "m.tsv")


@pytest.mark.parametrize(
    "value",
    [
        "null",
        "3",
        "{}",
        '{"encoder": "x"}',
        '{"encoder": "x", "layer": 1, "frame_rate_hz": 1, "kmeans": "", "num_units": "9"}',
    ],
)
def test_a_provenance_that_cannot_be_right_is_refused(tmp_path, value):
    path = tmp_path / "m.tsv"
    path.write_text(re.sub(r"# provenance: .*", f"# provenance: {value}", GOOD))
    with pytest.raises(ManifestError, match=r"m\.tsv.*provenance.*; state what made the units"):
        read_manifest(path)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(ManifestError, match=r"dev\.tsv: no such manifest; check the path"):
        read_manifest(tmp_path / "dev.tsv")


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("u1", "a\tb", r"u1: column text contains a tab; remove it"),
        ("u1", "a\nb", r"u1: column text contains a line break; remove it"),
        ("u1", "ab\r", r"u1: column text contains a carriage return; remove it"),
        ("u1", "a\0b", r"u1: column text contains a NUL character; remove it"),
        ("u\t1", "ab", r"u\\t1: column id contains a tab; rename it"),
        ("\ufeffu1", "ab", r"\\ufeffu1: column id begins with a byte order mark; rename it"),
        ("caf\udce9", "ab", r"caf\\xe9: column id is not UTF-8; rename it"),
    ],
)
def test_a_cell_that_would_not_come_back_is_refused_and_the_old_file_stays(tmp_path, name, text, message):
    path = tmp_path / "m.tsv"
    path.write_text(GOOD)
    with pytest.raises(ValueError, match=message):
        write_manifest(path, [Utterance(name, np.array([1]), text)], MADE_BY)
    assert path.read_text() == GOOD
    assert list(tmp_path.iterdir()) == [path]


def test_rows_with_other_columns_are_refused(tmp_path):
    rows = [Utterance("a", np.array([1]), "x", fields={"speaker": "g"}), Utterance("b", np.array([1]), "x")]
    with pytest.raises(ValueError, match=r"b: .*speaker"):
        write_manifest(tmp_path / "m.tsv", rows, MADE_BY)
    with pytest.raises(ValueError, match=r"a: .*speaker"):
        write_manifest(tmp_path / "m.tsv", rows[::-1], MADE_BY)


@pytest.mark.parametrize("column", ["id", "units", "text", "durations"])
def test_a_further_column_cannot_take_the_place_of_a_manifests_own(tmp_path, column):
    rows = [Utterance("a", np.array([1, 2]), "x", fields={column: "7"})]
    with pytest.raises(ManifestError, match=f"a: a further column {column}, of which a manifest has one; rename it"):
        write_manifest(tmp_path / "m.tsv", rows, MADE_BY)
    assert not list(tmp_path.iterdir())


def test_the_fingerprint_tells_every_field_apart():
    changes = [
        {"encoder": "y"},
        {"layer": 6},
        {"frame_rate_hz": 50.0},
        {"kmeans": "sha256:0"},
        {"num_units": 8},
        {"deduplicated": True},
        {"subword": "sha256:1"},
        {"extra": {}},
    ]
    prints = {UnitProvenance(**{**MADE_BY.__dict__, **change}).fingerprint for change in changes}
    assert len(prints | {MADE_BY.fingerprint}) == 9
    assert UnitProvenance(**json.loads(json.dumps(MADE_BY.__dict__))).fingerprint == MADE_BY.fingerprint


# -- carriage returns that end no line ------------------------------------------------------
def test_a_carriage_return_alone_is_a_space_in_every_column_but_the_id(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path, again = tmp_path / "m.tsv", tmp_path / "again.tsv"
    path.write_bytes(GOOD.replace("three four", "three\rfour").replace("george", "geo\rrge").encode())
    for manifest in (read_manifest(path), open_manifest(path)):
        assert manifest[0].text == manifest.column("text")[0] == "three four"
        assert manifest[0].fields["speaker"] == manifest.column("speaker")[0] == "geo rge"
        write_manifest(again, manifest, manifest.provenance)
        assert "\tthree four\t1 4\tgeo rge\n" in again.read_text()


@pytest.mark.parametrize("columns", ["id\tunits\ttext", "text\tunits\tid"])
@pytest.mark.parametrize("name, problem", [("a\rb", "contains a carriage return"), ("\ufeffa", "begins with a byte")])
def test_an_id_that_no_table_can_hold_is_refused_where_it_stands(columns, name, problem, tmp_path):
    path = tmp_path / "m.tsv"
    row = {"id": name, "units": "1", "text": "x"}
    path.write_bytes((HEADER + columns + "\n" + "\t".join(row[c] for c in columns.split("\t")) + "\n").encode())
    if name.startswith("\ufeff") and columns.startswith("id"):
        assert read_manifest(path)[0].id == "a"  # at the start of a line it is dropped
        return
    with pytest.raises(ManifestError, match=rf"m\.tsv:4: the id .* {problem}.*; rename it"):
        read_manifest(path)


def test_every_command_takes_a_carriage_return_in_a_transcript_as_a_space(tmp_path):
    written = {}
    for kind, text in (("space", "three four"), ("return", "three\rfour")):
        data = tmp_path / kind
        data.mkdir()
        (data / "train.tsv").write_bytes(GOOD.replace("three four", text).encode())
        assert sld("vocab", "--data", data, "--text-tokenizer", "word") == 0
        assert sld("limit", "--data", data, "--split", "train", "--out", "short") == 0
        assert sld("export", "--manifest", data / "train.tsv", "--format", "textless", "--out", data / "x") == 0
        written[kind] = {p.name: p.read_bytes() for p in data.iterdir() if p.is_file() and "ledger" not in p.name}
        written[kind].pop("train.tsv")
    assert {"short.tsv", "x.units.text", "dict.txt"} <= set(written["space"])
    assert written["return"] == written["space"]
