"""Finds an interpreter and a compiler that will do, for setup_environment.py; standard library only, Python 3.7 on."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from typing import Any, Dict, Optional

PYTHONS = ("python3.11", "python3.12", "python3.10", "python3", "python")  # in the order of how well they are tried
SUPPORTED = ([3, 11], [3, 12], [3, 10])
AGAIN = "then run the same command again"

PROBE = """
import json, platform, sys, sysconfig
try:
    import ensurepip, venv
    complete = True
except ImportError:
    complete = False
print(json.dumps({"version": list(sys.version_info[:2]), "venv": complete, "executable": sys.executable,
    "include": sysconfig.get_paths()["include"], "cc": sysconfig.get_config_var("CC"),
    "platform": sys.platform + "-" + platform.machine()}))
"""


class SetupError(Exception):
    """Something that the user must see to; the message is one line and says how."""


def probe(python: str) -> Optional[Dict[str, Any]]:
    """Facts about an interpreter; None if there is none of that name or it does not run."""
    try:
        answer = subprocess.run(
            [python, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, check=True
        )
        return dict(json.loads(answer.stdout.decode()))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def version_text(facts: Dict[str, Any]) -> str:
    return ".".join(map(str, facts["version"]))


def objection(name: str, facts: Optional[Dict[str, Any]]) -> str:
    """Why this interpreter will not do; "" if it will."""
    if facts is None:
        return f"{name} does not run"
    if facts["version"] not in SUPPORTED:
        return f"{name} is Python {version_text(facts)}"
    return (
        ""
        if facts["venv"]
        else f"{name} lacks the venv module (Debian/Ubuntu: apt install python{version_text(facts)}-venv)"
    )


def choose_python(wanted: Optional[str]) -> Dict[str, Any]:
    """The named interpreter, else the first on PATH that will do."""
    objections = []
    for name in [wanted] if wanted else PYTHONS:
        facts = probe(name) if shutil.which(name) else None
        problem = objection(name, facts)
        if facts is not None and not problem:
            return facts
        if facts is not None or wanted:
            objections.append(problem)
    found = "; ".join(dict.fromkeys(objections)) or "no Python found"
    raise SetupError(f"{found}: install Python 3.11 (or 3.12, 3.10) with venv, or name one by PYTHON=/path/to/python")


def comes_compiled(facts: Dict[str, Any]) -> bool:
    """Whether the index has fairseq as a wheel: of fairseq-fixed 0.12.3.1 there is one for this combination alone."""
    return bool(facts["version"] == [3, 12] and facts["platform"] == "linux-x86_64")


def check_compiler(facts: Dict[str, Any]) -> None:
    """Compile a line of C++ that includes Python.h, as fairseq's extensions do."""
    c_compiler = shlex.split(os.environ.get("CC") or facts["cc"] or "cc")[0]
    cxx = shlex.split(os.environ.get("CXX", "")) or [c for c in ("c++", "g++", "clang++") if shutil.which(c)][:1]
    install = "install one (Debian/Ubuntu: apt install g++; Fedora: dnf install gcc-c++; macOS: xcode-select --install)"
    for kind, compiler in (("C", c_compiler), ("C++", cxx[0] if cxx else "c++")):
        if not shutil.which(compiler):
            raise SetupError(f"no {kind} compiler ({compiler}), and fairseq is compiled here: {install}, {AGAIN}")
    source = b"#include <Python.h>\n#include <vector>\n"
    command = [*cxx, "-x", "c++", "-fsyntax-only", "-I", facts["include"], "-"]
    result = subprocess.run(command, input=source, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if result.returncode and b"Python.h" in result.stdout:
        package = f"python{version_text(facts)}-dev"
        raise SetupError(
            f"no Python.h in {facts['include']}: install it (Debian/Ubuntu: apt install {package}), {AGAIN}"
        )
    if result.returncode:
        raise SetupError(f"{cxx[0]} cannot compile C++, and fairseq is compiled here: {install}, {AGAIN}")
