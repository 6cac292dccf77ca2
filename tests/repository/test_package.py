"""What `pip install` of this package brings."""

import os
import shutil
import subprocess
import sys
from zipfile import ZipFile

from support.miniature import NUM_UNITS, ROOT, make_data

PARTS = ("sld_user_dir", "pyproject.toml", "README.md", "LICENSE")


def test_a_wheel_brings_the_command_every_module_and_the_configurations_and_sld_runs(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in PARTS:  # a copy: building leaves files beside the sources
        part = ROOT / name
        if part.is_dir():
            shutil.copytree(part, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(part, source / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*pip, "-w", str(tmp_path), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry,) = [name for name in names if name.endswith("entry_points.txt")]
        assert "sld = sld_user_dir.commands:main" in archive.read(entry).decode()
    package = ROOT / "sld_user_dir"
    expected = [p for p in package.rglob("*") if p.suffix in (".py", ".yaml")]
    assert {p.relative_to(ROOT).as_posix() for p in expected} <= names
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(installed)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True, text=True)
    data = make_data(tmp_path / "data", train=5)
    (data / "dict.txt").unlink()
    command = [str(installed / "bin" / "sld"), "vocab", "--data", str(data), "--text-tokenizer", "word"]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and f"{NUM_UNITS} units" in done.stdout, done.stderr[-2000:]
    where = [sys.executable, "-c", "import sld_user_dir; print(sld_user_dir.__file__)"]
    done = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith(str(installed)) and (data / "dict.txt").exists()
