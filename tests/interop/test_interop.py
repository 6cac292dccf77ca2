"""Import and export: round trips, detection, joins by id, and everything that cannot be right."""

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
from support.commands import sld

from sld_user_dir.interop import unit_format
from sld_user_dir.interop.detection import detect
from sld_user_dir.interop.importing import import_units
from sld_user_dir.interop.records import InteropError
from sld_user_dir.interop.roundtrip import format_table, round_trip
from sld_user_dir.interop.stated_provenance import Statement
from sld_user_dir.interop.unit_format import unit_formats
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.unit_manifest import Utterance, read_manifest, write_manifest

REPOSITORY = Path(__file__).parents[2]


# -- round trips ---------------------------------------------------------------------
@pytest.mark.parametrize("name", unit_formats())
def test_round_trip(name, tmp_path):
    done = round_trip(unit_formats()[name], tmp_path)
    assert done.detected and done.lost == []
    assert {"id", "units", "text"} | unit_formats()[name].holds <= set(done.kept)


def test_the_table_in_the_documentation_is_what_the_command_prints():
    assert format_table() in (REPOSITORY / "docs" / "interop.md").read_text(encoding="utf-8")


def test_a_lossy_export_is_not_reported_as_the_same(tmp_path, monkeypatch):
    # the comparison itself must be able to fail: a writer that drops a unit
    kind = unit_formats()["espnet"]

    def write(path, records, header):
        return kind.write(path, [type(r)(r.id, r.units[:-1], where=r.where) for r in records], header)

    done = round_trip(type(kind)(kind.name, kind.what, kind.suffix, kind.read, kind.write, kind.looks_like), tmp_path)
    assert done.lost == []
    broken = type(kind)(kind.name, kind.what, kind.suffix, kind.read, write, kind.looks_like)
    monkeypatch.setitem(unit_format._REGISTERED, "espnet", broken)
    assert "units" in round_trip(broken, tmp_path).lost


# -- files as the other programs write them -------------------------------------------
FRAMES = ["71 71 12", "57 57 12"]
FILES = {
    "textless": ("a.units", "b\t57 57 12\na\t71 71 12\n"),
    "gslm": ("q.txt", "b|57 57 12\na|71 71 12\n"),
    "gslm-json": (
        "m.jsonl",
        '{"audio": "x/b.flac", "duration": 0.06, "hubert_km100": "57 57 12", "speaker": "7"}\n'
        '{"audio": "x/a.flac", "duration": 0.06, "hubert_km100": "71 71 12", "speaker": "7"}\n',
    ),
    "resynthesis": ("m.txt", "{'audio': 'b.wav', 'hubert': '57 57 12'}\n{'audio': 'a.wav', 'hubert': '71 71 12'}\n"),
    "s2ut": (
        "t.tsv",
        "id\tsrc_audio\tsrc_n_frames\ttgt_audio\ttgt_n_frames\nb\tb.wav\t5\t57 57 12\t3\na\ta.wav\t5\t71 71 12\t3\n",
    ),
    "espnet": ("text", "b 57 57 12\na 71 71 12\n"),
    "espnet-cjk": (
        "text",
        f"b {''.join(chr(0x4E00 + u) for u in (57, 57, 12))}\na {chr(0x4E00 + 71) * 2}{chr(0x4E0C)}\n",
    ),
    "authors": ("t.json", '{"text": "six", "idx": [57, 57, 12]}\n{"text": "two", "idx": [71, 71, 12]}\n'),
    "slamkit": (
        "s.jsonl",
        '{"units": [57, 12], "duration": [2, 1], "file_name": "b.wav"}\n'
        '{"units": [71, 12], "duration": [2, 1], "file_name": "a.wav"}\n',
    ),
    "slamkit-tokens": (
        "s.jsonl",
        '{"file_name": "b.wav", "audio_repr": "<Un57><Un12>"}\n{"file_name": "a.wav", "audio_repr": "<Un71><Un12>"}\n',
    ),
    "km": ("t.km", "57 57 12\n71 71 12\n"),
}


def put(folder: Path, name: str) -> Path:
    file, content = FILES[name]
    (folder / file).write_text(content, encoding="utf-8")
    (folder / "text.txt").write_text("a\ttwo\nb\tsix\n")
    if name == "km":
        (folder / "t.tsv").write_text("/corpora\nb.flac\t1040\na.flac\t1040\n")
        (folder / "t.ltr").write_text("S I X |\nT W O |\n")
    return folder / file


@pytest.mark.parametrize("name", FILES)
def test_foreign_files_are_recognised_and_joined_by_id(name, tmp_path):
    path, out = put(tmp_path, name), tmp_path / "out.tsv"
    assert detect(path).name == name
    text = None if name in ("authors", "km") else tmp_path / "text.txt"
    done = import_units([path], out, text=text, statement=Statement(num_units=100))
    manifest = read_manifest(out)
    assert done.written == 2 and manifest.provenance == done.provenance
    units = {u.text.lower(): u.units.tolist() for u in manifest}
    durations = {u.text: u.durations for u in manifest}
    if name.startswith("slamkit"):
        assert units == {"two": [71, 12], "six": [57, 12]} and done.provenance.deduplicated
        assert name == "slamkit-tokens" or durations["two"].tolist() == [2, 1]
    else:
        assert units == {"two": [71, 71, 12], "six": [57, 57, 12]} and not done.provenance.deduplicated
    assert set(manifest.column("id")) == ({"t-000001", "t-000002"} if name == "authors" else {"a", "b"}) or (
        name == "gslm-json" and set(manifest.column("id")) == {"a", "b"}
    )


@pytest.mark.parametrize("name", sorted(set(FILES) - {"km", "authors", "s2ut"}))
def test_line_order_never_matters(name, tmp_path):
    path, out = put(tmp_path, name), tmp_path / "out.tsv"
    rows = {}
    for seed in range(3):
        for file in (path, tmp_path / "text.txt"):
            lines = file.read_text(encoding="utf-8").splitlines()
            random.Random(seed).shuffle(lines)
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        import_units([path], out, text=tmp_path / "text.txt", statement=Statement(num_units=100))
        rows[seed] = {(u.id, u.text, tuple(u.units.tolist())) for u in read_manifest(out)}
    assert rows[0] == rows[1] == rows[2]


def test_shards_of_one_format_are_one_manifest(tmp_path):
    (tmp_path / "0.units").write_text("a\t1 1\n")
    (tmp_path / "1.units").write_text("b\t2 2\n")
    (tmp_path / "t").write_text("a x\nb y\n")
    paths = [tmp_path / "0.units", tmp_path / "1.units"]
    import_units(paths, tmp_path / "o.tsv", text=tmp_path / "t", statement=Statement(num_units=3))
    assert read_manifest(tmp_path / "o.tsv").column("id") == ["a", "b"]
    (tmp_path / "2.txt").write_text("c|2 2\n")
    with pytest.raises(InteropError, match=r"2\.txt is gslm, .*0\.units is textless; import them one by one"):
        import_units([*paths, tmp_path / "2.txt"], tmp_path / "o.tsv")


def test_names_that_lost_letters_are_repaired_for_gslm_only(tmp_path):
    # GSLM's rstrip('.flac') makes `b` of ball.flac
    (tmp_path / "q.txt").write_text("b|1 1\nzoo|2 2\n")
    (tmp_path / "t").write_text("x/ball one\nx/zoo two\n")
    out = tmp_path / "o.tsv"
    import_units([tmp_path / "q.txt"], out, text=tmp_path / "t", statement=Statement(num_units=3))
    assert [(u.id, u.text) for u in read_manifest(out)] == [("x/ball", "one"), ("x/zoo", "two")]
    (tmp_path / "q.units").write_text("b\t1 1\nzoo\t2 2\n")
    with pytest.raises(InteropError, match=r"q\.units:1: 'b' is not in .*t \(1 such\)"):
        import_units([tmp_path / "q.units"], out, text=tmp_path / "t", statement=Statement(num_units=3))
    (tmp_path / "t").write_text("x/ball one\nx/bal two\n")
    with pytest.raises(InteropError, match=r"q\.txt:1: 'b' could be 'x/ball' \(.*t:1\) or 'x/bal' \(.*t:2\)"):
        import_units([tmp_path / "q.txt"], out, text=tmp_path / "t", statement=Statement(num_units=3))


def test_transcripts_and_speakers_from_an_audio_manifest(tmp_path):
    (tmp_path / "a.tsv").write_text(
        '# format: "audio-manifest/1"\n# root: "/c"\nid\tpath\tn_samples\tsample_rate\ttext\tspeaker\n'
        "g/a\ta.wav\t960\t16000\ttwo\tgeorge\n"
    )
    (tmp_path / "x.units").write_text("a\t7 7 8\n")
    statement = Statement(num_units=9, frame_rate_hz=50.0)
    import_units([tmp_path / "x.units"], tmp_path / "o.tsv", audio=tmp_path / "a.tsv", statement=statement)
    (row,) = read_manifest(tmp_path / "o.tsv")
    assert (row.id, row.text, row.fields["speaker"], row.fields["n_samples"]) == ("g/a", "two", "george", "960")


def put_features(folder: Path) -> None:
    """Two shards of dumped features of three recordings, and a k-means of three centroids."""
    from sld_user_dir.clustering.kmeans import KMeans

    KMeans(np.eye(3, dtype=np.float32)).save(folder / "k.npz")
    (folder / "dev.tsv").write_text("/c\na.wav\t960\nb.wav\t640\nc.wav\t320\n")
    (folder / "dev.wrd").write_text("one\ntwo\nthree\n")
    np.save(folder / "dev_0_2.npy", np.eye(3, dtype=np.float32)[[0, 0, 2, 1, 1]])
    np.save(folder / "dev_1_2.npy", np.eye(3, dtype=np.float16)[[2]])
    (folder / "dev_0_2.len").write_text("3\n2\n")
    (folder / "dev_1_2.len").write_text("1\n")


def test_dumped_features_become_units_by_a_kmeans(tmp_path):
    put_features(tmp_path)
    said = Statement(kmeans=str(tmp_path / "k.npz"))
    import_units([tmp_path / "dev_1_2.npy"], tmp_path / "o.tsv", statement=said)
    units = {u.id: (u.units.tolist(), u.text) for u in read_manifest(tmp_path / "o.tsv")}
    assert units == {"a": ([0, 0, 2], "one"), "b": ([1, 1], "two"), "c": ([2], "three")}


@pytest.mark.parametrize(
    "file, content, pattern",
    [
        ("dev_0_2.len", "3\n1\n", r"dev_0_2\.npy: 5 frames, but .*dev_0_2\.len adds up to 4"),
        ("dev_0_2.len", "3\nx\n", r"dev_0_2\.len:2: 'x' is no number of frames"),
        ("dev_1_2.len", "1\n1\n", r"dev_0_2\.len: 4 lengths in all, but .*dev\.tsv lists 3"),
        ("dev_1_2.npy", "x", r"dev_1_2\.npy: no array of frames"),
        ("dev_1_2.len", None, r"dev_1_2\.len: No such file"),
        ("dev.tsv", None, r"no dev\.tsv beside"),
        ("k.npz", None, r"k\.npz: no such file"),
    ],
)
def test_dumped_features_that_disagree(tmp_path, file, content, pattern):
    put_features(tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(content)
    said = Statement(kmeans=str(tmp_path / "k.npz"))
    with pytest.raises(ValueError, match=pattern):
        import_units([tmp_path / "dev_0_2.npy"], tmp_path / "o.tsv", statement=said)
    with pytest.raises(InteropError, match=r"frames, not units; name the k-means file .* by --kmeans FILE\.npz"):
        import_units([tmp_path / "dev_0_2.npy"], tmp_path / "o.tsv")


# -- what cannot be right ---------------------------------------------------------------
def refused(folder: Path, content: str, pattern: str, file: str = "x.units", texts: str = "a x\nb y\n", **options):
    (folder / file).write_text(content, encoding="utf-8")
    (folder / "t").write_text(texts)
    options.setdefault("statement", Statement(num_units=9))
    options.setdefault("text", folder / "t")
    with pytest.raises(InteropError, match=pattern):
        import_units([folder / file], folder / "o.tsv", **options)
    assert not (folder / "o.tsv").exists()


@pytest.mark.parametrize(
    "content, pattern",
    [
        ("a\t1 2\n", r"t:2: 'b' has no units in .*x\.units \(1 such\); .*--allow-missing"),
        ("a\t1\nb\t1\nc\t1\n", r"x\.units:3: 'c' is not in .*t \(1 such\); add it"),
        ("a\t1\nb\t1\na\t2\n", r"x\.units:3: 'a' belongs to 'a' \(.*t:1\), as do the units at .*x\.units:1"),
        ("a\t1\nb\t9\n", r"x\.units:2: unit 9 of 'b' is outside 0 … 8; bos, eos and padding"),
        ("a\t1\nb\t-1\n", r"x\.units:2: bad units '-1'.*write them as: 71 12 57"),
        ("a\t1\nb\t\n", r"x\.units:2: no units; remove the utterance"),
        ("a\t1\nb\n", r"x\.units:2: 'b' is not 'name<TAB>units'; correct the line"),
        ("a\t1\n\n\t2\n", r"x\.units:2: '' is not 'name<TAB>units'"),
        ("1 2\n3 4\n", r"x\.units:1: no name .*several workers.*--preserve_name"),
    ],
)
def test_bad_units_name_both_files_and_lines(tmp_path, content, pattern):
    refused(tmp_path, content, pattern, format_name="textless")


def test_what_is_missing_on_one_side_can_be_left_out_by_name(tmp_path):
    (tmp_path / "x.units").write_text("a\t1\nc\t1\n")
    (tmp_path / "t").write_text("a x\nb y\n")
    done = import_units(
        [tmp_path / "x.units"],
        tmp_path / "o.tsv",
        text=tmp_path / "t",
        statement=Statement(num_units=9),
        allow_missing=True,
    )
    assert (done.written, done.without_units, done.without_row) == (1, ["b"], ["c"])


def test_duplicate_transcripts_and_empty_ones(tmp_path):
    refused(tmp_path, "a\t1\n", r"t:2: 'a' again, first at .*t:1; remove one", texts="a x\na y\n")
    refused(tmp_path, "a\t1\n", r"t:1: no id and transcript in 'a'", texts="a\n")
    refused(tmp_path, "a\t1\n", r"x\.units:1: no transcript of 'a'; give transcripts by --text or --audio", text=None)


def test_streams_of_textless_that_disagree(tmp_path):
    (tmp_path / "x.durations").write_text("a\t1 2\nb\t1\n")
    refused(tmp_path, "a\t1 2\nb\t1 2\n", r"x\.units:2: 2 units of 'b', but 1 values at .*x\.durations:2")
    refused(tmp_path, "a\t1 2\nc\t1\n", r"x\.units:2: 'c' is not in .*x\.durations")
    refused(tmp_path, "a\t1 2\n", r"x\.durations:2: 'b' is not in .*x\.units")
    (tmp_path / "x.durations").write_text("a\t1 2\na\t1\n")
    refused(tmp_path, "a\t1 2\n", r"x\.durations:2: 'a' again, first at .*:1")


def test_km_needs_a_parallel_manifest(tmp_path):
    refused(tmp_path, "1 1\n", r"x\.km: no x\.tsv beside", "x.km")
    (tmp_path / "x.tsv").write_text("/c\na.wav\t960\nb.wav\t960\n")
    refused(tmp_path, "1 1\n", r"x\.km: 1 lines, but .*x\.tsv lists 2 recordings", "x.km")


def test_counts_that_the_audio_does_not_allow(tmp_path):
    (tmp_path / "x.tsv").write_text("/c\na.wav\t960\nb.wav\t16000\n")  # 3 and 50 frames at 50 Hz
    rate = Statement(num_units=9, frame_rate_hz=50.0)
    pattern = r"x\.km:2: 3 frames of units, but 'b' at .*x\.tsv:3 has 1\.00 s, which make 50 at 50 Hz"
    refused(tmp_path, "1 1\n1 1 1\n", pattern, "x.km", statement=rate)
    pattern = r"x\.km:1: 5 frames of units, but 'a' at .*x\.tsv:2 has 0\.06 s"
    refused(tmp_path, "1 1 1 1 1\n" + "1 " * 49 + "\n", pattern, "x.km", statement=rate)
    (tmp_path / "x.km").write_text("1 1\n" + "1 " * 49 + "\n")
    import_units([tmp_path / "x.km"], tmp_path / "o.tsv", text=tmp_path / "t", statement=rate)


def test_encoders_do_not_mix(tmp_path):
    content = '{"audio": "a.wav", "hubert_km100": "1 1"}\n{"audio": "b.wav", "cpc_km100": "1 1"}\n'
    refused(tmp_path, content, r"m\.jsonl:2: units of cpc_km100, but of hubert_km100 at .*m\.jsonl:1", "m.jsonl")
    refused(tmp_path, '{"audio": "a.wav", "hubert": "1", "codes": "1"}\n', "one of", "m.jsonl", format_name="gslm-json")
    refused(
        tmp_path,
        content.splitlines()[0],
        r"m\.jsonl:1: units of K=100, stated is K=9; correct",
        "m.jsonl",
        texts="a x\n",
    )


def test_raw_and_deduplicated_units_do_not_mix(tmp_path):
    (tmp_path / "x.durations").write_text("a\t3 2\nb\t1 1\n")
    refused(
        tmp_path, "a\t1 2\nb\t5 5\n", r"x\.units:2: unit 5 of 'b' follows itself, but those at .*x\.units:1 are de-dup"
    )
    (tmp_path / "x.durations").unlink()
    said = Statement(num_units=9, deduplicated=True)
    refused(tmp_path, "a\t1 2\nb\t5 5\n", r"x\.units:2: unit 5 of 'b' follows itself", statement=said)
    content = '{"units": [5, 5], "file_name": "a.wav"}\n'
    refused(tmp_path, content, r"s\.jsonl:1: unit 5 of 'a' follows itself", "s.jsonl", texts="a x\n")
    raw = Statement(num_units=9, deduplicated=False)
    content = content.replace("5, 5", "5, 6")
    refused(
        tmp_path, content, r"this format is de-duplicated; correct --dedup", "s.jsonl", texts="a x\n", statement=raw
    )


@pytest.mark.parametrize(
    "file, content, pattern",
    [
        (
            "s.jsonl",
            '{"units": [1.5], "file_name": "a"}\n',
            r"s\.jsonl:1: units are '\[1\.5\]', no list of whole numbers",
        ),
        ("s.jsonl", '{"units": [true], "file_name": "a"}\n', "no list of whole numbers"),
        ("s.jsonl", '{"units": [1], "duration": [1, 2], "file_name": "a"}\n', "1 units but 2 durations"),
        ("s.jsonl", '{"audio_repr": "<Un1>x", "file_name": "a"}\n', "expected <Un3><Un49>"),
        ("s.jsonl", '{"units": [1], "file_name": "a"}\n{"units": [1]}\n', r"s\.jsonl:2: wanted keys"),
        (
            "s.jsonl",
            '{"units": [1], "file_name": "a"}\n{oops\n',
            r"s\.jsonl:2: neither a JSON object nor a Python dict",
        ),
        ("a.json", '{"text": "six", "idx": [1], "subword": "\u0102"}\n', "`subword` spells 1 units, `idx` has 1"),
        ("a.json", '{"text": "six", "idx": [1]}\n[1]\n', r"a\.json:2: a list, expected an object"),
        ("s.tsv", FILES["s2ut"][1].replace("\t3\na", "\t4\na"), r"s\.tsv:2: tgt_n_frames is 4, tgt_audio has 3 units"),
        ("s.tsv", FILES["s2ut"][1] + "c\n", r"s\.tsv:4: 1 columns, expected 5"),
        ("q.txt", "a|1\nb 1\n", r"q\.txt: could be espnet, gslm \(it begins 'a\|1'\); name its format"),
        ("q.txt", "one two\nb|x\na|1\n", r"q\.txt: is in no format that is known \(it begins 'one two'\); name its"),
        ("q.txt", "", r"q\.txt: is in no format that is known \(it is empty\)"),
    ],
)
def test_bad_lines_of_each_format(tmp_path, file, content, pattern):
    refused(tmp_path, content, pattern, file, text=None)


@pytest.mark.parametrize(
    "file, content, pattern",
    [
        ("s.jsonl", {"units": [1], "file_name": "a\tb.wav"}, r"`file_name` 'a\\tb\.wav' contains a tab; rename"),
        ("m.jsonl", {"audio": "a\nb.wav", "hubert": "1"}, r"`audio` 'a\\nb\.wav' contains a line break; rename"),
        ("s.jsonl", {"units": [1], "file_name": "a.wav", "id": "a\tb"}, r"the id 'a\\tb' contains a tab; rename it"),
        ("t.json", {"text": "six", "idx": [1], "id": "\ufeffa"}, r"the id .* begins with a byte order mark; rename"),
    ],
)
def test_names_that_a_manifest_cannot_hold_are_named_with_their_line(tmp_path, file, content, pattern):
    refused(tmp_path, json.dumps(content) + "\n", re.escape(file) + ":1: " + pattern, file, text=None)


def test_other_values_are_kept_as_they_are(tmp_path):
    item = {"text": "six", "idx": [1], "id": "a", "note": "two  spaces\u2028and a\ttab\n", "n": 3}
    (tmp_path / "t.json").write_text(json.dumps(item) + "\n")
    import_units([tmp_path / "t.json"], tmp_path / "o.tsv", statement=Statement(num_units=9))
    assert read_manifest(tmp_path / "o.tsv")[0].fields == {"note": "two  spaces\u2028and a tab ", "n": "3"}


@pytest.mark.parametrize("name", ["a b", "a\u2028b", "a\xa0b", "a\x85b"])
def test_ids_with_white_space_go_where_a_format_can_hold_them(name, tmp_path):
    path = tmp_path / "m.tsv"
    write_manifest(path, [Utterance(name, np.array([1]), "six")], UnitProvenance.unknown(9))
    for kind in ("textless", "gslm", "gslm-json", "resynthesis", "authors"):
        assert sld("export", "--manifest", path, "--format", kind, "--out", tmp_path / kind / "x") == 0
        (main,) = [
            p for p in (tmp_path / kind).iterdir() if not p.name.endswith((".text", ".provenance.json", ".ledger.json"))
        ]
        text = main.with_name(main.name + ".text")
        statement = Statement(provenance=main.with_name(main.name + ".provenance.json"))
        import_units([main], tmp_path / "o.tsv", text=text if text.exists() else None, statement=statement)
        assert read_manifest(tmp_path / "o.tsv").column("id") == [name]
    for kind in ("espnet", "espnet-cjk"):
        assert sld("export", "--manifest", path, "--format", kind, "--out", tmp_path / kind / "x") == 1


def test_python_dicts_are_read_without_being_run(tmp_path):
    content = "{'audio': 'a.wav', 'hubert': '1'}\n{'audio': __import__('os').system('true'), 'hubert': '1'}\n"
    refused(tmp_path, content, r"m\.txt:2: neither a JSON object nor a Python dict", "m.txt")


def test_bytes_that_are_not_utf8_and_missing_files(tmp_path):
    (tmp_path / "x.units").write_bytes(b"a\t1\n\xff\t2\n")
    with pytest.raises(InteropError, match=r"x\.units:2: byte 0xff is not UTF-8; save the file as UTF-8"):
        import_units([tmp_path / "x.units"], tmp_path / "o.tsv")
    with pytest.raises(InteropError, match=r"y\.units: No such file or directory; check the path"):
        import_units([tmp_path / "y.units"], tmp_path / "o.tsv")


def test_paths_and_lengths_for_an_export_come_from_the_audio_manifest(tmp_path, capsys):
    manifest, audio, out = tmp_path / "m.tsv", tmp_path / "a.tsv", tmp_path / "o" / "x.km"
    write_manifest(manifest, [Utterance("g/a", np.array([1, 1]), "two six")], UnitProvenance("x", 6, 50.0, "s", 9))
    options = ["--manifest", manifest, "--format", "km", "--out", out]
    assert sld("export", *options) == 1
    assert re.search(r"m\.tsv:4: .*columns path and n_samples.*--audio", capsys.readouterr().err)
    audio.write_text("/c\ng/b.wav\t320\n")
    assert sld("export", *options, "--audio", audio) == 1
    assert re.search(r"m\.tsv:4: 'g/a' is not in .*a\.tsv", capsys.readouterr().err)
    audio.write_text("/c\ng/a.wav\t320\n")
    assert sld("export", *options, "--audio", audio) == 0
    written = {p.name: p.read_text() for p in out.parent.iterdir() if p.suffix in (".km", ".ltr", ".wrd")}
    assert written == {"x.km": "1 1\n", "x.ltr": "t w o | s i x |\n", "x.wrd": "two six\n"}
    back = Statement(provenance=manifest, sample_rate=8000)  # 320 samples are 2 frames at 8 kHz
    import_units([out], tmp_path / "b.tsv", statement=back)
    assert read_manifest(tmp_path / "b.tsv").column("id") == ["g/a"]


def test_ids_and_units_that_a_format_cannot_hold(tmp_path):
    path = tmp_path / "m.tsv"
    for name, format_name in (("a b", "espnet"), ("a|b", "gslm")):
        write_manifest(path, [Utterance(name, np.array([1]), "x")], UnitProvenance.unknown(9))
        assert sld("export", "--manifest", path, "--format", format_name, "--out", tmp_path / "o") == 1
    write_manifest(path, [Utterance("a", np.array([40_000]), "x")], UnitProvenance.unknown(50_000))
    assert sld("export", "--manifest", path, "--format", "espnet-cjk", "--out", tmp_path / "o") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.tsv"]


# -- provenance ---------------------------------------------------------------------------
def test_provenance_is_unknown_until_it_is_stated(tmp_path):
    path, out = put(tmp_path, "textless"), tmp_path / "out.tsv"
    with pytest.raises(
        InteropError, match=r"does not tell the number of units \(the largest is 71\); state --num-units"
    ):
        import_units([path], out, text=tmp_path / "text.txt")
    done = import_units([path], out, text=tmp_path / "text.txt", statement=Statement(num_units=100))
    assert done.provenance == UnitProvenance.unknown(100)
    said = Statement(100, "hubert-base-ls960", 6, 50.0, "sha256:ab", deduplicated=False)
    done = import_units([path], out, text=tmp_path / "text.txt", statement=said)
    assert done.provenance == UnitProvenance("hubert-base-ls960", 6, 50.0, "sha256:ab", 100, False)
    again = import_units([path], tmp_path / "o2.tsv", text=tmp_path / "text.txt", statement=Statement(provenance=out))
    assert again.provenance.fingerprint == done.provenance.fingerprint


def test_a_stated_kmeans_file_gives_k_and_hash(tmp_path):
    from sld_user_dir.clustering.kmeans import KMeans

    kmeans = KMeans(np.arange(150, dtype=np.float32).reshape(75, 2))
    kmeans.save(tmp_path / "k.npz")
    path = put(tmp_path, "textless")
    said = Statement(kmeans=str(tmp_path / "k.npz"))
    done = import_units([path], tmp_path / "o.tsv", text=tmp_path / "text.txt", statement=said)
    assert (done.provenance.num_units, done.provenance.kmeans) == (75, kmeans.sha256)
    said.num_units = 100
    with pytest.raises(InteropError, match=r"k\.npz: 75 units, --num-units says 100"):
        import_units([path], tmp_path / "o.tsv", text=tmp_path / "text.txt", statement=said)


# -- the commands ---------------------------------------------------------------------------
def test_commands_import_and_export(tmp_path, capsys):
    path, out = put(tmp_path, "gslm-json"), tmp_path / "data" / "train.tsv"
    options = ["--units", path, "--out", out, "--text", tmp_path / "text.txt", "--header", "license=CC0"]
    assert sld("import", *options) == 0
    printed = capsys.readouterr().out
    assert "2 utterances of format gslm-json" in printed and "K=100" in printed and "is unknown: state" in printed
    assert read_manifest(out).header["license"] == "CC0"
    assert sld("export", "--manifest", out, "--format", "textless", "--out", tmp_path / "e" / "t") == 0
    printed = capsys.readouterr().out
    assert re.search(r"no place for: .*speaker", printed)
    names = ["t.units", "t.units.ledger.json", "t.units.provenance.json", "t.units.text"]
    assert sorted(p.name for p in (tmp_path / "e").iterdir()) == names
    assert json.loads((tmp_path / "e" / "t.units.provenance.json").read_text())["num_units"] == 100
    assert sld("import", "--units", path, "--out", out) == 1
    assert "sld import: " in capsys.readouterr().err
