"""The environment that runs these tests is sound, and the installer says in one line what a bare machine lacks."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it there

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
REQUIREMENTS = sorted(ROOT.glob("requirements*.txt"))


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the installer needs, so that it makes its `.venv` there."""
    (tmp_path / "scripts").mkdir()
    for path in [*REQUIREMENTS, *SCRIPTS.glob("setup_*.py"), SCRIPTS / "check_environment.py"]:
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    return tmp_path


@pytest.fixture
def setup(project: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The installer as a module, working in `project`."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = load("setup_environment")
    venv = project / ".venv"
    for name, value in {"ROOT": project, "VENV": venv, "MARKER": venv / module.MARKER.name}.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "LOG", project / ".venv-setup.log")
    return module


def fake_python(folder: Path, **facts: Any) -> Path:
    """A program that answers the installer's probe with these facts."""
    answer = {"version": [3, 11], "venv": True, "executable": "python", "include": str(folder), "cc": "gcc"}
    path = folder / "fake-python"
    path.write_text(f"#!/bin/sh\necho '{json.dumps({**answer, 'platform': 'linux-x86_64', **facts})}'\n")
    path.chmod(0o755)
    return path


def run_setup(project: Path, *arguments: str, **environment: str) -> str:
    """What the installer prints as it fails: one line."""
    command = [sys.executable, str(project / "scripts" / "setup_environment.py"), *arguments]
    result = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1, result.stdout
    assert result.stderr.startswith("setup: ") and result.stderr.count("\n") == 1, result.stderr
    return result.stderr


# --- this environment -------------------------------------------------------------------------------------------------


def check(*extra_path: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, extra_path))}
    command = [sys.executable, str(SCRIPTS / "check_environment.py")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_this_environment_is_sound() -> None:
    """Among others: a torchaudio that is present imports, and there is one faiss only."""
    result = check()
    assert result.returncode == 0, result.stderr


def test_torchaudio_that_does_not_load_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "torchaudio.py").write_text("raise OSError('undefined symbol: _ZN3c10')\n")
    result = check(tmp_path)
    assert result.returncode == 1
    assert "pip uninstall -y torchaudio (undefined symbol: _ZN3c10)" in result.stderr


def test_two_faiss_are_noticed(tmp_path: Path) -> None:
    for name in ("faiss_cpu", "faiss_gpu"):
        (tmp_path / f"{name}-1.15.1.dist-info").mkdir()
        (tmp_path / f"{name}-1.15.1.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\n")
    result = check(tmp_path)
    assert result.returncode == 1
    assert "pip uninstall -y faiss-cpu faiss-gpu" in result.stderr


def test_module_that_does_not_import_is_named(tmp_path: Path) -> None:
    (tmp_path / "soxr.py").write_text("raise ImportError('libsoxr.so')\n")
    result = check(tmp_path)
    assert result.returncode == 1
    assert result.stderr == "environment: soxr does not import: run `make clean setup` (ImportError: libsoxr.so)\n"


# --- what a machine can lack ------------------------------------------------------------------------------------------


def test_wrong_python(project: Path) -> None:
    message = run_setup(project, "--python", str(fake_python(project, version=[3, 9])))
    assert "fake-python is Python 3.9: install Python 3.11 (or 3.12, 3.10)" in message


def test_python_that_is_not_there(project: Path) -> None:
    assert "python3.99 does not run: install Python 3.11" in run_setup(project, "--python", "python3.99")


def test_no_suitable_python_on_the_path(project: Path) -> None:
    fake_python(project, version=[3, 8]).rename(project / "python3")
    message = run_setup(project, PATH=str(project))
    assert "python3 is Python 3.8: install Python 3.11" in message
    (project / "python3").unlink()
    assert "no Python found: install Python 3.11" in run_setup(project, PATH=str(project))


def test_python_without_venv(project: Path) -> None:
    message = run_setup(project, "--python", str(fake_python(project, venv=False)))
    assert "apt install python3.11-venv" in message


def test_no_compiler(project: Path) -> None:
    message = run_setup(project, "--python", str(fake_python(project)), PATH=str(project), CC="", CXX="")
    assert "no C compiler (gcc), and fairseq is compiled here: install one (Debian/Ubuntu: apt install g++;" in message


def test_no_python_headers(project: Path) -> None:
    if not shutil.which("c++"):
        pytest.skip("no C++ compiler here")
    message = run_setup(project, "--python", str(fake_python(project)), CPATH="", CPLUS_INCLUDE_PATH="")
    assert f"no Python.h in {project}: install it (Debian/Ubuntu: apt install python3.11-dev)" in message


def test_no_network(project: Path) -> None:
    if not shutil.which("c++"):
        pytest.skip("no C++ compiler here")
    nowhere = "http://127.0.0.1:9/simple"  # the discard port: nobody listens
    environment = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_INDEX_URL": nowhere, "PIP_NO_INDEX": "0"}
    message = run_setup(project, "--python", sys.executable, **environment)
    assert "no package index within reach: connect to the network" in message
    assert str(project / ".venv-setup.log") in message
    assert "Connection refused" in (project / ".venv-setup.log").read_text()
    assert json.loads((project / ".venv" / "sld-environment.json").read_text())["complete"] is False


@pytest.mark.parametrize(
    ("output", "remedy", "shows_log"),
    [
        ("ERROR: [Errno 28] No space left on device", "the disk is full", False),
        ("ERROR: No matching distribution found for torch==9.9", "the package index has no torch==9.9", False),
        ("x.cpp:1: fatal error: torch/torch.h: No such file", "the compiler failed on fairseq", True),
        ("Cannot install a and b because these have conflicting dependencies.", "is TORCH within the range", True),
        ("Segmentation fault", "a step failed: see above", True),
    ],
)
def test_failed_step_is_explained(
    setup: ModuleType, output: str, remedy: str, shows_log: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    message = setup.explain(f"Collecting torch\n{output}\n")
    assert remedy in message and str(setup.LOG) in message and "\n" not in message
    assert (output in capsys.readouterr().err) is shows_log


# --- reuse ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The installer beside a finished environment; making another one raises SystemExit."""
    (setup.VENV / "bin").mkdir(parents=True)
    (setup.VENV / "bin" / "python").symlink_to(sys.executable)
    marker = {"torch": setup.DEFAULT_TORCH, "gpu": False, "venv": str(setup.VENV), "version": [*sys.version_info[:2]]}
    setup.write_marker({**marker, "fingerprint": setup.fingerprint(False), "complete": True})

    def no_work(*_: Any) -> None:
        raise SystemExit("makes an environment")

    monkeypatch.setattr(setup, "choose_python", no_work)
    return setup


def test_finished_environment_is_reused(finished: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert finished.main([]) == 0
    assert finished.main(["--cpu", "--python", sys.executable, "--torch", finished.DEFAULT_TORCH]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("arguments", [["--gpu"], ["--torch", "torch==2.9.1"], ["--python", "python3.99"]])
def test_another_choice_makes_it_anew(finished: ModuleType, arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="makes an environment"):
        finished.main(arguments)


@pytest.mark.parametrize("change", [{"complete": False}, {"venv": "/elsewhere/.venv"}])
def test_unfinished_or_moved_environment_is_made_anew(finished: ModuleType, change: dict[str, Any]) -> None:
    finished.write_marker({**finished.read_marker(), **change})
    with pytest.raises(SystemExit, match="makes an environment"):
        finished.main([])


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-base.txt", "requirements-dev.txt"])
def test_changed_requirements_make_it_anew(finished: ModuleType, name: str) -> None:
    with (finished.ROOT / name).open("a") as file:
        file.write("six\n")
    with pytest.raises(SystemExit, match="makes an environment"):
        finished.main([])


def test_choices_are_remembered(finished: ModuleType) -> None:
    """`make test` after `make setup GPU=1 TORCH=…` must not go back to the CPU build."""
    choices = {"gpu": True, "torch": "torch==2.9.1", "fingerprint": finished.fingerprint(True)}
    finished.write_marker({**finished.read_marker(), **choices})
    assert finished.main([]) == 0


def test_foreign_environment_is_left_alone(finished: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    finished.MARKER.unlink()
    assert finished.main([]) == 1
    assert "not of this program's making: move it away" in capsys.readouterr().err
    assert (finished.VENV / "bin" / "python").exists()


def test_cuda_home_is_dropped_unless_asked_for(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_HOME", "/usr/local/cuda")
    assert "CUDA_HOME" not in setup.build_environment()
    monkeypatch.setenv("FAIRSEQ_CUDA", "1")
    assert setup.build_environment()["CUDA_HOME"] == "/usr/local/cuda"


# --- the files agree --------------------------------------------------------------------------------------------------


def lines_of(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text().splitlines() if line and line[0] not in "#-"]


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_has_its_reason(path: Path) -> None:
    for line in lines_of(path.name):
        assert re.search(r"  # \S.{8,}", line), f"{path.name}: {line}: say after two blanks and # what it is for"


def test_cpu_and_gpu_differ_by_faiss_alone() -> None:
    for name, faiss in (("requirements.txt", "faiss-cpu"), ("requirements-gpu.txt", "faiss-gpu")):
        assert [re.split("[>=<]", line)[0] for line in lines_of(name)] == [faiss]
        assert "-r requirements-base.txt\n" in (ROOT / name).read_text()
    assert not [line for line in lines_of("requirements-base.txt") if line.startswith(("faiss", "torchaudio"))]


def test_pyproject_agrees_with_the_requirements(setup: ModuleType) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    for extra, name in (("cpu", "requirements.txt"), ("gpu", "requirements-gpu.txt")):
        assert extras[extra] == [line.split("  #")[0] for line in lines_of(name)]
    development = [line.split("  #")[0] for line in lines_of("requirements-dev.txt")]
    assert set(extras["ssl"] + extras["slurm"]) <= set(development)
    assert project["tool"]["setuptools"]["dynamic"]["dependencies"]["file"] == ["requirements-base.txt"]


def test_supported_pythons_agree() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    supported = sorted(load("check_environment").SUPPORTED)
    assert supported == sorted(map(tuple, load("setup_toolchain").SUPPORTED))
    assert declared["requires-python"] == f">=3.{supported[0][1]},<3.{supported[-1][1] + 1}"
    classified = re.findall(r"Python :: 3\.(\d+)", "\n".join(declared["classifiers"]))
    assert [(3, int(minor)) for minor in classified] == supported
