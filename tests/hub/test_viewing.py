"""`sld view`: a page of what a model makes of recordings."""

import numpy as np
import pytest
import soundfile
from support.commands import sld

from sld_user_dir import hub
from sld_user_dir.hub.viewing import view_recordings


def test_a_recording_as_the_model_sees_it(spoken, tmp_path, capsys, caplog):
    folder, recordings = spoken
    checkpoint, path = folder / "save" / "checkpoint_last.pt", recordings[0].path
    model = hub.load(checkpoint, data=folder / "data", device="cpu")
    (view,) = view_recordings(model, [path], beam=2, max_len_b=5)
    (units,) = model.units_of([path])
    assert view.units == units and len(view.bits) == len(units) == len(view.edges) - 1 and view.seconds == 0.5
    assert view.bits[0] is None and min(view.bits[1:]) > 0
    assert view.predicts_units and view.confidence is None
    assert [one.text for one in view.hypotheses] == [
        one.text for one in model.hypotheses([units], beam=2, max_len_b=5)[0]
    ]
    assert " ".join(one.word for one in view.words) == view.hypotheses[0].text
    words = ["view", checkpoint, path, "--data", folder / "data", "--device", "cpu", "--beam", 2, "--max-len-b", 5]
    assert sld(*words, "--out", tmp_path / "page.html") == 0
    assert path.name in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert sld(*words[:2], tmp_path / "missing.wav", *words[3:], "--out", tmp_path / "page.html") == 1
    assert "missing.wav" in capsys.readouterr().err
    soundfile.write(tmp_path / "short.wav", np.zeros(200), 8000)
    assert sld(*words[:2], tmp_path / "short.wav", *words[3:], "--out", tmp_path / "short.html") == 1
    assert "short.wav: too short: 0.025 s, at least 0.1 s wanted" in capsys.readouterr().err
    soundfile.write(tmp_path / "silent.wav", np.zeros(4000), 8000)
    assert sld(*words[:2], tmp_path / "silent.wav", *words[3:], "--out", tmp_path / "silent.html") == 0
    assert "1 of 1 recordings have digital silence" in caplog.text


@pytest.mark.parametrize("bos", [False, True])
def test_prompts_end_with_the_separator(spoken, bos, monkeypatch):
    folder, _ = spoken
    model = hub.load(folder / "save" / "checkpoint_last.pt", data=folder / "data", device="cpu")
    monkeypatch.setattr(model.task.cfg, "add_bos_token", bos)
    vocab = model.vocab
    head = [vocab.bos] * bos
    found = [one.tolist() for one in model.prompts_of([[1, 2, 3], [4]])]
    offset = vocab.unit_offset
    assert found == [[*head, offset + 1, offset + 2, offset + 3, vocab.separator], [*head, offset + 4, vocab.separator]]
