"""What audio, features and units cost to import, each in a fresh process."""

import json
import subprocess
import sys

import pytest
from support.imports import SOURCES, folder_of
from support.miniature import ROOT

NEURAL = {
    "sld_user_dir.features.chunked_encoder",
    "sld_user_dir.features.torch_module",
    "sld_user_dir.features.trainable_front_end",
    "sld_user_dir.pipeline.learned_export",
}
FOLDERS = ("features", "clustering", "speech_tokenizers", "longform", "pipeline")


def in_a_fresh_process(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_module_loads_without_fairseq_and_all_but_the_neural_without_torch(folder):
    modules = [name for name in SOURCES if folder_of(name) == folder and name not in NEURAL]
    assert len(modules) >= 5
    loaded = in_a_fresh_process(
        f"import importlib, json, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        "print(json.dumps([m for m in ('fairseq', 'torch', 'transformers') if m in sys.modules]))"
    )
    assert loaded == []


def test_neural_modules_load_without_fairseq():
    assert set(SOURCES) >= NEURAL
    loaded = in_a_fresh_process(
        f"import importlib, json, sys\nfor name in {sorted(NEURAL)!r}: importlib.import_module(name)\n"
        "print(json.dumps([m for m in ('fairseq', 'torch') if m in sys.modules]))"
    )
    assert loaded == ["torch"]


def test_centroids_are_read_without_clustering_libraries():
    """Training reads them."""
    loaded = in_a_fresh_process(
        "import json, sys\nfrom sld_user_dir.clustering.kmeans_file import Centroids\n"
        "print(json.dumps([m for m in ('faiss', 'torch', 'soundfile') if m in sys.modules]))"
    )
    assert loaded == []


WITHOUT = """
import json, sys
for name in {missing!r}:
    sys.modules[name] = None  # importing it raises ImportError
from sld_user_dir.errors import InputError
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.front_end import build_front_end
try:
    said = build_front_end(FeatureConfig(**{options!r}), "cpu").encoder
except InputError as error:
    said = str(error)
print(json.dumps(said))
"""


def front_end_without(*missing, **options):
    return in_a_fresh_process(WITHOUT.format(missing=missing, options=options))


def test_mfcc_needs_no_neural_library():
    assert front_end_without("torch", "transformers", "fairseq") == "mfcc-39:16000Hz:mel23"


def test_a_library_that_is_missing_is_named_with_its_remedy(tmp_path):
    said = front_end_without("transformers", features=str(tmp_path), layer=1)
    assert "transformers, which loads it, cannot be imported" in said and said.endswith("pip install 'transformers>=5'")
    said = front_end_without("fairseq", features="hubert.pt", layer=1)
    assert "--features hubert.pt: what loads .pt files cannot be imported" in said and "fairseq" in said
    assert said.endswith("install requirements.txt (make setup)")
