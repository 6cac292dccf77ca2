"""The guide's encoder: its blocks run exactly as they stand, from a file that is found by itself."""

import sys

import pytest
from support.guides import python_blocks

from sld_user_dir.features import encoders, frame_encoder
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError, encoder_sources, load_encoder, source_of

MODULE = "sld_user_dir.features.encoders.log_mel"


@pytest.fixture
def guide(tmp_path, monkeypatch):
    """The test of the guide, with its encoder's file where the package looks for encoders."""
    known = encoder_sources()  # else the encoders that register under the patch would be lost with it
    source, test = python_blocks("add_an_encoder.md")
    (tmp_path / "log_mel.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(encoders, "__path__", [*encoders.__path__, str(tmp_path)])
    monkeypatch.setattr(frame_encoder, "_SOURCES", {one.name: one for one in known})
    namespace = {}
    exec(compile(test, "guide_test.py", "exec"), namespace)
    yield namespace
    sys.modules.pop(MODULE, None)
    vars(encoders).pop("log_mel", None)


def test_the_encoder_of_the_guide_is_found_and_makes_units(guide):
    assert MODULE not in sys.modules  # nothing imports it but the look-up
    guide["test_log_mel_makes_units"]()
    assert source_of("log-mel").load.__module__ == MODULE


def test_the_guide_left_nothing_behind():
    assert "log-mel" not in [source.name for source in encoder_sources()]


def test_the_most_particular_source_is_asked_first():
    assert source_of("mfcc").name == "mfcc"
    assert "fairseq" in source_of("hubert_base.pt").name
    assert "wav2vec 2.0" in source_of("facebook/hubert-base-ls960").name
    assert encoder_sources()[-1].takes_the_rest


def test_a_file_of_ours_may_claim_some_checkpoints_of_an_ending(monkeypatch):
    """fairseq's source, which claims the whole ending, comes after it even if it was registered before."""
    assert "fairseq" in source_of("hubert_base.pt").name
    monkeypatch.setattr(frame_encoder, "_SOURCES", dict(frame_encoder._SOURCES))
    frame_encoder.register_encoder("WavLM's .pt", claims=lambda features: features == "WavLM-Base.pt")(load_encoder)
    assert source_of("WavLM-Base.pt").name == "WavLM's .pt"
    assert "fairseq" in source_of("hubert_base.pt").name


def test_a_name_that_nobody_claims(monkeypatch):
    particular = {source.name: source for source in encoder_sources() if not source.takes_the_rest}
    monkeypatch.setattr(frame_encoder, "_SOURCES", particular)
    with pytest.raises(EncoderError, match=r"--features magic: no such encoder; there are .*mfcc"):
        load_encoder(FeatureConfig(features="magic", layer=1))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"features": "mfcc", "layer": 3}, r"--features mfcc --layer 3: it has no layers; leave --layer out"),
        ({"features": "hubert.pt"}, r"--features hubert\.pt: it has layers; say which to take"),
    ],
)
def test_layers_are_given_where_there_are_any(options, message):
    with pytest.raises(EncoderError, match=message):
        load_encoder(FeatureConfig(**options))
