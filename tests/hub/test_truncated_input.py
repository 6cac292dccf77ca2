"""A recording that lacks its end, handed to a model: refused by name, and the others are still transcribed."""

import re

import pytest
from support.audio_files import encoded, noisy_tone
from support.commands import sld

from sld_user_dir import hub
from sld_user_dir.features.waveform import AudioError

KINDS = {"wav": "a.wav", "mp3": "a.mp3", "ogg opus": "a.opus", "flac": "a.flac"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_recording_is_not_transcribed(kind, spoken, tmp_path, capsys):
    folder, recordings = spoken
    checkpoint, data = folder / "save" / "checkpoint_last.pt", folder / "data"
    path = tmp_path / KINDS[kind]
    content = encoded(kind, noisy_tone(0.6))
    path.write_bytes(content[:-60])
    model = hub.load(checkpoint, data=data, device="cpu")
    for transcribe in (model.transcribe, model.transcribe_long):
        with pytest.raises(AudioError, match=r"truncated|not readable as audio"):
            transcribe(path)
    words = ["--checkpoint", checkpoint, "--data", data, "--beam", 2, "--device", "cpu"]
    assert sld("transcribe", path, recordings[0].path, *words) == 1
    said = capsys.readouterr()
    assert re.search(re.escape(str(path)) + ": (truncated|not readable as audio)", said.err)
    assert "1 of 2 recordings could not be transcribed" in said.err
    assert [line.split("\t")[0] for line in said.out.splitlines()] == [str(recordings[0].path)]
