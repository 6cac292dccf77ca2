"""The four ways in which fairseq comes to know this package, each in a fresh process; imports alone change nothing."""

import pytest
import torch
from support.fresh_process import run_python
from support.imports import SOURCES, folder_of, graph
from support.miniature import ROOT, TRAIN_OPTIONS, train

ADAPTERS = ("tasks", "models", "criterions", "fairseq_patches")

KNOWN = """
import logging
from fairseq import options
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.models import ARCH_MODEL_REGISTRY
from fairseq.tasks import TASK_REGISTRY
assert "speech_unit_lm" in TASK_REGISTRY and {"sld", "masked_ce"} <= set(CRITERION_REGISTRY)
assert {"joint_lm_tiny", "joint_lm_gpt2"} <= set(ARCH_MODEL_REGISTRY)
assert options.parse_args_and_arch.shows_all_options  # patched, now that fairseq is in use
"""

NOTHING_YET = """
import logging, sys
assert not {"fairseq", "torch"} & set(sys.modules)
assert logging.getLogger().level == logging.WARNING
"""

MAIN = """
import sys
sys.argv[0] = "fairseq-train"
from fairseq_cli.train import cli_main
cli_main()
"""

WAYS = {
    "the package first": "import sld_user_dir\n" + NOTHING_YET + MAIN + KNOWN,
    "a module without a framework first": (
        "from sld_user_dir.manifests.unit_manifest import read_manifest\n" + NOTHING_YET + MAIN + KNOWN
    ),
    "fairseq first": "import fairseq, sld_user_dir\n" + KNOWN + MAIN,
}


def train_options(data, save_dir):
    fixed = ["--criterion", "sld", "--max-update", 2, "--user-dir", ROOT / "sld_user_dir", "--task", "speech_unit_lm"]
    return [data, *TRAIN_OPTIONS, *fixed, "--save-dir", save_dir]


def weights(save_dir):
    return torch.load(save_dir / "checkpoint_last.pt", weights_only=True)["model"]


@pytest.fixture(scope="module")
def by_user_dir(mini, tmp_path_factory):
    """A training by `fairseq-train --user-dir`, which imports the package itself."""
    save_dir = tmp_path_factory.mktemp("user-dir")
    return save_dir, train(mini, save_dir, updates=2)


def test_user_dir(by_user_dir):
    save_dir, lines = by_user_dir
    assert weights(save_dir)
    assert not [line for line in lines if "FutureWarning" in line or "pin_memory" in line]


@pytest.mark.parametrize("way", WAYS)
def test_fairseqs_main_in_the_same_process(way, by_user_dir, mini, tmp_path):
    """The same training, to the bit."""
    run_python(WAYS[way], *train_options(mini, tmp_path))
    expected, found = weights(by_user_dir[0]), weights(tmp_path)
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)


def test_hub_load(by_user_dir, mini):
    code = (
        "from sld_user_dir import hub\n"
        + NOTHING_YET
        + "model = hub.load(sys.argv[1], data=sys.argv[2], device='cpu')\n"
        + KNOWN
        + "assert logging.getLogger().level == logging.WARNING\n"
        + "import json; print(json.dumps([model.transcribe_units([0, 0, 1], max_len_b=5)]))"
    )
    ended = run_python(code, by_user_dir[0] / "checkpoint_last.pt", mini)
    assert isinstance(ended.value[0], str) and ended.stderr == ""


def test_importing_all_of_the_core_changes_nothing():
    """The modules of `commands` and `hub` that are fronts of fairseq's side are the only others that load it."""
    fronts = {name for name, others in graph().items() if {folder_of(other) for other in others} & set(ADAPTERS)}
    core = [
        name for name in SOURCES if folder_of(name) not in (*ADAPTERS, "__main__", "fairseq2") and name not in fronts
    ]
    assert len(core) > 80
    code = f"""
import importlib, json, logging, sys, warnings
for name in {core!r}:
    importlib.import_module(name)
silenced = [str(text.pattern) for _, text, *_ in warnings.filters if text is not None and "pin_memory" in text.pattern]
print(json.dumps(["fairseq" in sys.modules, "hydra" in sys.modules, silenced, logging.getLogger().level]))
"""
    assert run_python(code).value == [False, False, [], 30]


def test_what_is_silenced_is_silenced_where_fairseq_is_used_only():
    code = """
import warnings
{}
warnings.warn("'pin_memory' argument is set as true but no accelerator is found", UserWarning)
warnings.warn("`torch.cuda.amp.autocast(args...)` is deprecated", FutureWarning)
warnings.warn("something of the user's", UserWarning)
"""
    told = [run_python(code.format(first)).stderr for first in ("import sld_user_dir", "import sld_user_dir, fairseq")]
    assert ["pin_memory" in told[0], "torch.cuda.amp" in told[0]] == [True, True]
    assert ["pin_memory" in told[1], "torch.cuda.amp" in told[1]] == [False, False]
    assert all("something of the user's" in text for text in told)


def test_what_torch_says_while_fairseq_is_imported_is_silenced_before():
    """A DeprecationWarning that torch 2.14 made a FutureWarning, which Python shows."""
    code = """
import warnings
warnings.filterwarnings("error", message="`torch.jit.script`")
import sld_user_dir, fairseq
warnings.warn("`torch.jit.script` is deprecated. Please switch", FutureWarning)
print("1")
"""
    ended = run_python(code)
    assert ended.value == 1 and ended.stderr == ""
