"""Options that all commands share which make text of audio by a checkpoint."""

import re

import pytest
from support.commands import sld

from sld_user_dir import hub
from sld_user_dir.errors import InputError

RECOGNISE = {
    "transcribe": ["--checkpoint", "CHECKPOINT", "RECORDING"],
    "listen": ["CHECKPOINT", "RECORDING"],
    "view": ["CHECKPOINT", "RECORDING", "--out", "OUT"],
}


@pytest.mark.parametrize("name", RECOGNISE)
def test_the_encoder_is_taken_from_where_the_user_says(name, spoken, tmp_path, capsys):
    folder, recordings = spoken
    places = {"CHECKPOINT": folder / "save" / "checkpoint_last.pt", "RECORDING": recordings[0].path}
    places["OUT"] = tmp_path / "page.html"
    words = [name, *(places.get(word, word) for word in RECOGNISE[name]), "--data", folder / "data", "--device", "cpu"]
    words += ["--beam", 2, "--max-len-b", 5]
    assert sld(*words, "--features", "mfcc") == 0
    capsys.readouterr()
    assert sld(*words, "--features", tmp_path / "nowhere") == 1
    said = capsys.readouterr().err
    assert f"--features {tmp_path / 'nowhere'}: no file or directory, and no name of mfcc-39" in said
    assert str(folder / "data" / "kmeans.npz") in said and said.endswith("leave --features out\n")


@pytest.mark.parametrize("name", RECOGNISE)
@pytest.mark.parametrize("option", [("--max-len-b", 0), ("--max-len-b", -1), ("--beam", 0)])
def test_a_search_for_nothing_is_refused_before_anything_is_read(name, option, capsys):
    assert sld(name, *RECOGNISE[name], *option) == 1
    assert re.search(rf"sld {name}: .*{option[0]} {option[1]}.*: nothing to search; ", capsys.readouterr().err)


@pytest.mark.parametrize("seconds", [0, -5, "nan"])
def test_a_batch_of_no_audio_is_refused(seconds, capsys):
    assert sld("transcribe", "a.wav", "--batch-seconds", seconds) == 1
    assert f"--batch-seconds {seconds}: a batch of no audio; take 60 to 600\n" in capsys.readouterr().err


def test_an_encoder_beside_a_tokenizer_is_refused(spoken):
    folder, _ = spoken
    with pytest.raises(InputError, match="the encoder x of a k-means, and the tokenizer codec:y, which has none"):
        hub.load(folder / "save" / "checkpoint_last.pt", folder / "data", tokenizer="codec:y", features="x")
