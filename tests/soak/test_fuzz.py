"""Every reader with files that are not as it expects them: a value or an error of ours; `make fuzz` tries many more."""

import io
import os
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fuzz_case import GOOD, CaseFolder, try_one
from support.fuzz_mutations import mutated
from support.fuzz_targets import all_readers
from support.text_readers import READERS

from sld_user_dir import files
from sld_user_dir.errors import InputError

ALL = all_readers()
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    return folder / "case"


@pytest.mark.parametrize("reader", ALL, ids=lambda reader: reader.name)
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=QUIET)
@given(seed=st.integers(0, 2**40))
def test_a_strange_file_is_read_or_refused(reader, seed, scratch):
    case = CaseFolder(reader, scratch)
    tried = try_one(case, mutated(case.good, Random(seed)))
    assert tried.outcome in GOOD, tried


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_line_without_an_end_is_refused_before_it_is_read(reader, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 500)
    monkeypatch.setattr(files, "MAX_WHOLE_BYTES", 1500)
    monkeypatch.setattr("sld_user_dir.manifests.fast_reader.MAX_LINE_BYTES", 500)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    reader.write(tmp_path, lambda content: content + b"a" * 3000)
    with pytest.raises(InputError, match=r"a line of more than|a file of more than"):
        reader.read(tmp_path)


def test_an_endless_file_takes_no_memory():
    """Of /dev/zero no more than the longest line is read."""

    class Endless(io.RawIOBase):
        given = 0

        def readline(self, size=-1):
            assert size > 0, "a line is asked for without a bound"
            self.given += 10
            return b"a" * 10

    endless = Endless()
    assert next(files.bounded_lines(endless)) and endless.given == 10


@pytest.mark.parametrize(
    "name, content",
    [
        ("dumped features, dev_0_1.len", b"\x1f11\n(\nc"),
        ("dumped features, dev_0_1.len", b"9" * 5000),
        ("fairseq-generate", b"T-" + b"9" * 5000 + b"\ta\n"),
        ("fairseq's list, words, m.tsv", b"/c\na.wav\t\x1f" + b"9" * 5000 + b"\n"),
        ("units: authors", b'{"text": "a", "idx": [1]}\n{[3]}\n'),
        ("units: resynthesis", b"{'audio': 'a.wav', 'hubert': '1 2', 'more': {1}}\n" * 3),
        ("audio manifest", b'# format: "audio-manifest/1"\n# root: 3\nid\tpath\tn_samples\ta\tb\n'),
    ],
)
def test_what_fuzzing_found_is_refused_or_read(name, content, scratch):
    """Fields that are missing, numbers of thousands of digits, sets and lists for keys, a number for a name."""
    (reader,) = [one for one in ALL if one.name.startswith(name)]
    case = CaseFolder(reader, scratch)
    assert try_one(case, content).outcome in GOOD


def test_a_map_without_its_signature_is_made_again(scratch):
    (reader,) = [one for one in ALL if one.name == "memory map, meta.json"]
    case = CaseFolder(reader, scratch)
    changed = case.good.replace(b'"signature"', b'"other"')
    assert changed != case.good and try_one(case, changed).outcome == "value"
