"""The guide's encoder: its blocks run exactly as they stand; what names no encoder is an error."""

import pytest
from support.guides import module_of, python_blocks

from sld_user_dir.features import frame_encoder
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError, encoder_sources, load_encoder, source_of


def test_the_encoder_of_the_guide_makes_units(monkeypatch):
    encoder_sources()
    monkeypatch.setattr(frame_encoder, "_SOURCES", dict(frame_encoder._SOURCES))
    source, test = python_blocks("add_an_encoder.md")
    module_of(source, "guide_log_mel", monkeypatch)
    assert source_of("log-mel").name == "log-mel"
    namespace = {}
    exec(compile(test, "guide_test.py", "exec"), namespace)
    namespace["test_log_mel_makes_units"]()


def test_the_guide_left_nothing_behind():
    assert "log-mel" not in [source.name for source in encoder_sources()]


def test_the_most_particular_source_is_asked_first():
    assert source_of("mfcc").name == "mfcc"
    assert "fairseq" in source_of("hubert_base.pt").name
    assert "wav2vec 2.0" in source_of("facebook/hubert-base-ls960").name
    assert encoder_sources()[-1].takes_the_rest


def test_a_name_that_nobody_claims(monkeypatch):
    rest = {name: source for name, source in frame_encoder._SOURCES.items() if not source.takes_the_rest}
    monkeypatch.setattr(frame_encoder, "_SOURCES", rest)
    with pytest.raises(EncoderError, match=r"--features magic: no such encoder; there are .*mfcc"):
        load_encoder(FeatureConfig(features="magic", layer=1))
