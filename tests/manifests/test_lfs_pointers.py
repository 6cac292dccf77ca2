"""Files that Git LFS left as pointers are called that, by everything that loads files that are no text."""

import numpy as np
import pytest

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.subwords import UnitSubwords
from sld_user_dir.errors import InputError
from sld_user_dir.features.waveform import load_audio, probe, read_audio
from sld_user_dir.interop.simple_kmeans import read_features
from sld_user_dir.interop.sklearn_kmeans import import_sklearn
from sld_user_dir.stored_checkpoint import read_stored
from sld_user_dir.vocabulary.building import copy_gpt2_tokenizer
from sld_user_dir.vocabulary.tokenizers import build_text_tokenizer

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def frames(folder):
    KMeans(np.eye(3, dtype=np.float32)).save(folder / "k.npz")
    (folder / "dev.tsv").write_text("/c\na.wav\t960\n")
    (folder / "dev_0_1.len").write_text("1\n")
    return read_features(folder / "dev_0_1.npy", str(folder / "k.npz"))


def gpt2_model(folder):
    from sld_user_dir.models.gpt2_files import import_checkpoint
    from sld_user_dir.vocabulary.joint import JointVocabulary
    from sld_user_dir.vocabulary.tokenizers import CharTokenizer

    JointVocabulary.build(["one"], 9, CharTokenizer()).save(folder)
    (folder / "gpt2" / "config.json").write_text('{"model_type": "gpt2", "n_layer": 1, "n_embd": 8, "n_head": 1}')
    return import_checkpoint(str(folder / "gpt2"), folder, folder / "out.pt")


def encoder(folder):
    from sld_user_dir.features.pretrained import loading

    with loading(str(folder / "model")):
        raise OSError("Error while deserializing header: header too large")


def own_wavlm(folder):
    from sld_user_dir.models.fairseq_encoders import read_checkpoint

    return read_checkpoint(folder / "wavlm.pt")


def tokenizer(kind, name):
    def load(folder):
        from sld_user_dir.speech_tokenizers.tokenizer_lookup import load_tokenizer

        return load_tokenizer(f"{kind}:{folder / name}", "cpu")

    return load


LOADERS = {
    "k-means": ("k.npz", lambda folder: KMeans.load(folder / "k.npz")),
    "scikit-learn's k-means": ("k.bin", lambda folder: import_sklearn(folder / "k.bin", trust_pickle=True)),
    "unit subwords": ("s.model", lambda folder: UnitSubwords.load(folder / "s.model")),
    "text subwords": ("text.spm.model", lambda folder: build_text_tokenizer("sentencepiece", folder)),
    "header of a recording": ("a.wav", lambda folder: probe(folder / "a.wav")),
    "recording": ("a.flac", lambda folder: read_audio(folder / "a.flac")),
    "recording, resampled": ("a.mp3", lambda folder: load_audio(folder / "a.mp3", 16_000)),
    "dumped features": ("dev_0_1.npy", frames),
    "checkpoint": ("c.pt", lambda folder: read_stored(folder / "c.pt")),
    "tokenizer of GPT-2": ("gpt2/tokenizer.json", lambda folder: copy_gpt2_tokenizer(str(folder / "gpt2"), folder)),
    "GPT-2": ("gpt2/model.safetensors", gpt2_model),
    "codec": ("codec/model.safetensors", tokenizer("codec", "codec")),
    "S3 tokenizer": ("speech_tokenizer_v1.onnx", tokenizer("s3", "speech_tokenizer_v1.onnx")),
    "directory of an encoder": ("model/model.safetensors", encoder),
    "checkpoint of an encoder": ("wavlm.pt", own_wavlm),
}


@pytest.mark.parametrize("what", LOADERS)
def test_a_pointer_is_called_that(what, tmp_path):
    name, load = LOADERS[what]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(InputError) as error:
        load(tmp_path)
    assert str(error.value) == (
        f"{tmp_path / name}: a Git LFS pointer, not the file itself; fetch the file itself: git lfs pull"
    )
