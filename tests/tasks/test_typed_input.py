"""fairseq-interactive names the line that it cannot use, and leaves out what is too long where that was asked for."""

import io
import re
import sys

import numpy as np
import pytest
from support.miniature import fairseq_command
from support.tasks import setup

from sld_user_dir.errors import InputError
from sld_user_dir.fairseq_patches.interactive_input import buffered_read
from sld_user_dir.sequences.usable_lengths import keep_usable

SKIP = "--skip-invalid-size-inputs-valid-test"
LONG = " ".join(["1"] * 70)
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\n"
REFUSED = {
    "too long": (
        f"1 2\n{LONG}\n",
        [],
        f"input line 2: 71 tokens, but the model holds 64; shorten or remove it, or .*{SKIP}",
    ),
    "too long, in a buffer": (
        f"1\n2\n3\n{LONG}\n",
        ["--max-tokens", 90],
        "input line 4: 71 tokens, but the model holds 64; ",
    ),
    "too long for a batch": (
        "1 2\n1 2 3 4 5\n",
        ["--max-tokens", 4],
        "input line 2: 6 tokens exceed --max-tokens 4; use at least",
    ),
    "no units": ("1 2\n3 x\n", [], "input line 2: '3 x' is not a line of units; type numbers"),
    "units of another k-means": ("1 2\n12\n", [], r"input line 2: unit 12 is outside the vocabulary's 0 … 11; "),
    "empty": ("1 2\n\n3\n", [], "input line 2: empty, but a prompt of the task asr is units; remove the line"),
    "Latin-1": (b"1 2\n3 \xe9\n", [], r"typed\.txt:2: byte 0xe9 is not UTF-8; save the file as UTF-8"),
    "UTF-16": ("1 2\n".encode("utf-16"), [], r"typed\.txt:1: the file is UTF-16, not UTF-8 text; convert it"),
    "a pointer of Git LFS": (POINTER, [], r"typed\.txt: a Git LFS pointer, not the file itself; fetch"),
    "missing": (None, [], r"typed\.txt: No such file or directory; check the path of --input"),
}


def decoded(mini, typed, *options):
    """Ids of the lines that fairseq-interactive would decode by a model of 64 positions, in this process."""
    from fairseq_cli import interactive

    config, task = setup(mini, "--task", "speech_unit_lm", *options)
    found = []
    for lines in buffered_read(str(typed), 2):
        for batch in interactive.make_batches(lines, config, task, 64, str):
            found += batch.ids.tolist()
    return found


def write(path, content):
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("kind", REFUSED)
def test_the_line_is_named(kind, mini, tmp_path):
    content, options, said = REFUSED[kind]
    with pytest.raises(InputError, match=rf"^(/.*/)?{said}"):
        decoded(mini, write(tmp_path / "typed.txt", content), *options)


def test_what_is_too_long_is_left_out_by_fairseqs_option(mini, tmp_path, caplog):
    typed = write(tmp_path / "typed.txt", f"1 2\n{LONG}\n3 4\n{LONG}\n{LONG}\n")
    assert decoded(mini, typed, SKIP) == [0, 0]
    assert "1 of 2 inputs are longer than 64 tokens and left out: input line 2" in caplog.text
    assert "1 of 1 inputs are longer than 64 tokens and left out: input line 5" in caplog.text


def test_what_is_too_long_is_left_out_by_our_option_too(mini, tmp_path, caplog):
    typed = write(tmp_path / "typed.txt", f"1 2\n{LONG}\n3 4\n{LONG}\n1 2 3 4 5\n")
    assert decoded(mini, typed, "--skip-too-long") == [0, 0, 0]
    assert "1 of 2 inputs are longer than 64 tokens and left out: input line 2" in caplog.text
    assert decoded(mini, typed, "--skip-too-long", "--max-tokens", 4) == [0, 0]
    assert "1 of 1 inputs are longer than --max-tokens 4 and left out: input line 5" in caplog.text


def test_the_program_names_the_line_too(mini, checkpoint, tmp_path):
    typed = write(tmp_path / "typed.txt", REFUSED["Latin-1"][0])
    done = fairseq_command("interactive", mini, "--path", checkpoint, "--input", typed, check=False)
    assert done.returncode != 0
    assert re.search(REFUSED["Latin-1"][2], done.stderr.strip().splitlines()[-1])


def test_standard_input_is_read_by_the_same_rules(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\ufeff1 2 \n 3\r\n4".encode()), "latin1"))
    assert list(buffered_read("-", 2)) == [["1 2", "3"], ["4"]]
    monkeypatch.setattr(sys, "stdin", io.StringIO("1\n2\n"))
    assert list(buffered_read("-", 1)) == [["1"], ["2"]]


@pytest.mark.parametrize("source", ["typed.txt", "-"])
def test_no_line_at_all_is_said(source, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "typed.txt").write_text("")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert list(buffered_read(source, 2)) == []
    name = "standard input" if source == "-" else source
    assert f"{name}: no line, so nothing is decoded; give units, an utterance a line" in caplog.text


LENGTHS = {
    "nothing": ([3, 4], 5, None, [0, 1]),
    "the model's limit": ([3, 9, 4], 5, None, [0, 2]),
    "the batch's limit": ([3, 9, 4], 10, 4, [0, 2]),
    "the lower of two": ([3, 9, 4, 6], 5, 8, [0, 2]),
}


@pytest.mark.parametrize("kind", LENGTHS)
def test_the_limit_that_is_exceeded_is_the_one_that_is_named(kind, caplog):
    lengths, positions, max_tokens, kept = LENGTHS[kind]
    sizes, indices, name = np.array(lengths), np.arange(len(lengths)), "line {}".format
    assert keep_usable(indices, sizes, name, positions, max_tokens, skip=True).tolist() == kept
    if len(kept) == len(lengths):
        assert keep_usable(indices, sizes, name, positions, max_tokens).tolist() == kept and not caplog.text
        return
    blamed = (
        f"tokens exceed --max-tokens {max_tokens}; use at least"
        if kind == "the batch's limit"
        else (f"tokens, but the model holds {positions}")
    )
    with pytest.raises(InputError, match=f"^line 1: 9 {blamed}") as error:
        keep_usable(indices[::-1], sizes, name, positions, max_tokens, may_skip=False)
    assert SKIP not in str(error.value)
    assert f"{len(lengths) - len(kept)} of {len(lengths)} inputs are longer" in caplog.text


def test_training_leaves_out_nothing_whatever_fairseq_asks_for(mini):
    """fairseq-train always asks for it."""
    _, task = setup(mini)
    task.load_dataset("train")
    limits = {"max_tokens": 5, "max_positions": 5, "ignore_invalid_inputs": True}
    with pytest.raises(
        InputError, match=r"train\.tsv:5: 17 tokens exceed --max-tokens 5; use at least --max-tokens 17$"
    ):
        task.get_batch_iterator(task.dataset("train"), **limits)


@pytest.mark.parametrize("split", ["train", "valid"])
def test_what_a_batch_does_not_take_is_left_out_of_training_where_that_was_asked_for(split, mini, tmp_path, caplog):
    _, task = setup(mini, "--skip-too-long", "--save-dir", tmp_path)
    task.loaded_counts.training = True
    task.load_dataset(split)
    data = task.dataset(split)
    limit = int(data.sizes.max()) - 1
    lost = int((data.sizes > limit).sum())
    iterator = task.get_batch_iterator(data, max_tokens=limit, max_positions=limit, ignore_invalid_inputs=True)
    assert sum(map(len, iterator.frozen_batches)) == len(data) - lost
    assert f"{lost} of {len(data)} inputs are longer than --max-tokens {limit} and left out: /" in caplog.text
    ledger = (tmp_path / f"{split}.loaded.ledger.json").read_text()
    assert "longer than the model or a batch holds (--skip-too-long)" in ledger
    said = rf"like all {len(data)} utterances, it is longer than --max-tokens 2; give shorter ones, or a higher --max-t"
    with pytest.raises(InputError, match=said):
        task.get_batch_iterator(data, max_tokens=2, max_positions=64, disable_iterator_cache=True)


def test_decoding_leaves_out_lines_of_a_manifest_where_that_was_asked_for(mini, caplog):
    config, task = setup(mini)
    config.task.max_target_positions = 9
    task.load_dataset("test", task_cfg=config.task)
    data = task.dataset("test")
    kept = int((data.sizes <= 9).sum())
    with pytest.raises(InputError, match=rf"test\.tsv:\d+: \d+ tokens, but the model holds 9 \(.*{SKIP}"):
        task.get_batch_iterator(data, max_positions=9)
    iterator = task.get_batch_iterator(data, max_positions=9, ignore_invalid_inputs=True)
    assert 0 < sum(map(len, iterator.frozen_batches)) == kept < len(data)
    assert f"{len(data) - kept} of {len(data)} inputs are longer than 9 tokens and left out: /" in caplog.text
    with pytest.raises(InputError, match=r"test\.tsv:5: like all 11 utterances, it is longer than 2 tokens"):
        task.get_batch_iterator(data, max_positions=2, ignore_invalid_inputs=True, disable_iterator_cache=True)
