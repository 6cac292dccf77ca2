"""Which fairseq2 this folder is written for: its interfaces change between minor releases."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from sld_user_dir.errors import InputError

SUPPORTED = "0.8"
REMEDY = "make its environment by make setup-fairseq2, or pip install 'sld-user-dir[fairseq2]'"


def check_release() -> None:
    """Refuse another fairseq2, before anything of it is imported.

    Raises:
        InputError: names the release that is installed, and the one that is supported.
    """
    try:
        installed = version("fairseq2")
    except PackageNotFoundError:
        raise InputError("fairseq2", "it is not installed", REMEDY) from None
    if installed.split(".")[:2] != SUPPORTED.split("."):
        problem = f"release {installed} is installed, but sld_user_dir is written for {SUPPORTED}"
        raise InputError("fairseq2", problem, REMEDY)
