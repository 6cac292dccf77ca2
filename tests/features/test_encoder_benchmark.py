"""benchmarks/encoders.py on a small model and noise, and the tables of docs/encoders.md."""

import gzip
import json

import numpy as np
import pytest
import soundfile
from support.command_rules import load
from support.encoders import save_whisper
from support.miniature import ROOT

from sld_user_dir.errors import InputError
from sld_user_dir.manifests.audio_manifest import Recording, write_audio_manifest


@pytest.fixture(scope="module")
def encoders():
    return load(ROOT / "benchmarks" / "encoders.py")


@pytest.fixture
def speech(tmp_path):
    """Options for six recordings of two "phones", a tone and a noise, and of published units for them."""
    rng = np.random.default_rng(0)
    recordings, labels, units = [], [], []
    for i in range(6):
        phones = [("AH", "S")[(i + j // 20) % 2] for j in range(100)]
        is_tone = np.repeat([phone == "AH" for phone in phones], 160)
        tone = np.sin(2 * np.pi * 300 * np.arange(16000) / 16000)
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, 0.3 * np.where(is_tone, tone, rng.uniform(-1, 1, 16000)), 16000)
        recordings.append(Recording(f"dev/{i}", path, 16000, 16000, "text"))
        labels.append({"name": str(i), "phones": phones})
        units.append({"name": str(i), "units": [int(phone == "S") for phone in phones[1::2]]})
    write_audio_manifest(tmp_path / "dev.audio.tsv", recordings, tmp_path)
    with gzip.open(tmp_path / "phones.jsonl.gz", "wt") as out:
        out.writelines(json.dumps(one) + "\n" for one in labels)
    (tmp_path / "units.jsonl").write_text("".join(json.dumps(one) + "\n" for one in units))
    (tmp_path / "phones.ctm").write_text(
        "".join(f"{one['name']} 1 {i / 100} 0.01 {p}\n" for one in labels for i, p in enumerate(one["phones"]))
    )
    return ["--audio", str(tmp_path / "dev.audio.tsv"), "--num-units", "4"]


def rows_of(encoders, capsys, *words):
    assert encoders.main(["--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_agreement_bits_and_speed_of_encoders_and_of_published_units(encoders, speech, tmp_path, capsys):
    save_whisper(tmp_path / "whisper")
    folder = f"{tmp_path / 'whisper'},layer=2,context_seconds=0.2"
    cases = ["mfcc,stack=2", folder, f"{folder},pad_to_seconds=2,units=3"]
    words = [*speech, "--labels", str(tmp_path / "phones.jsonl.gz"), "--cases", *cases]
    rows = rows_of(encoders, capsys, *words, "--published", f"spidr={tmp_path / 'units.jsonl'}")
    mfcc, whisper, padded, published = rows
    assert (mfcc["encoder"], mfcc["dim"], mfcc["frame_rate_hz"], mfcc["num_units"]) == ("mfcc, stack=2", 78, 50, 4)
    assert mfcc["label_purity"] > 0.9 and mfcc["audio_seconds_per_cpu_second"] > 1 and mfcc["audio_seconds"] == 6
    assert (whisper["layer"], whisper["dim"], whisper["same_units_unpadded"]) == (2, 32, None)
    assert padded["num_units"] == 3 and 0 < padded["same_units_unpadded"] <= 1
    assert "pad_to_seconds=2.0" in padded["encoder"]
    assert published["label_purity"] == published["pnmi"] == pytest.approx(1)
    assert published["bits_per_second"] == pytest.approx(50) and published["bits_per_second_deduplicated"] < 6
    assert published["audio_seconds_per_cpu_second"] is None


def test_labels_of_ctm_are_those_of_json_lines(encoders, speech, tmp_path, capsys):
    (by_json,) = rows_of(encoders, capsys, *speech, "--labels", str(tmp_path / "phones.jsonl.gz"), "--cases", "mfcc")
    (by_ctm,) = rows_of(encoders, capsys, *speech, "--labels", str(tmp_path / "phones.ctm"), "--cases", "mfcc")
    assert by_ctm["pnmi"] == pytest.approx(by_json["pnmi"], abs=0.02)  # 0.29 + 0.01 is not 0.3


def test_labels_that_are_shifted_agree_less(encoders, speech, tmp_path, capsys):
    words = [*speech, "--labels", str(tmp_path / "phones.jsonl.gz"), "--cases", "mfcc"]
    assert (
        rows_of(encoders, capsys, *words, "--label-shift-ms", "60")[0]["pnmi"]
        < rows_of(encoders, capsys, *words)[0]["pnmi"]
    )


def test_impossible_measurements_are_errors(encoders, speech, tmp_path):
    with pytest.raises(InputError, match="no feature option 'depth'"):
        encoders.main([*speech, "--cases", "mfcc,depth=3"])
    (tmp_path / "none.jsonl").write_text('{"name": "x", "phones": ["AH"]}\n')
    with pytest.raises(InputError, match="no recording of the manifest has labels"):
        encoders.main([*speech, "--labels", str(tmp_path / "none.jsonl")])


@pytest.mark.parametrize("name", ["encoders", "encoders_whisper"])
def test_the_tables_of_the_page_are_what_the_command_prints(encoders, name, capsys):
    assert encoders.main(["--table", str(ROOT / "docs" / f"{name}.json")]) == 0
    table = capsys.readouterr().out.strip()
    assert len(table.splitlines()) >= 4
    assert table in (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")


def test_whisper_is_called_supervised_and_nobody_else(encoders):
    rows = json.loads((ROOT / "docs" / "encoders.json").read_text(encoding="utf-8"))
    for row in (encoders.EncoderRow(**one) for one in rows):
        assert (row.kind[1] == "**yes**") == ("whisper" in row.encoder), row
