"""Files that the system does not open, whoever runs the tests: a superuser is not stopped by permissions."""

import builtins
import errno
import os
from pathlib import Path

import pytest


def refuse_to_open(monkeypatch: pytest.MonkeyPatch, *paths: Path, number: int = errno.EACCES) -> None:
    """Let Python's `open` of these files fail with an error of the system."""
    opened, refused = builtins.open, {os.fspath(path) for path in paths}

    def refuse(file, *arguments, **options):
        if isinstance(file, (str, Path)) and os.fspath(file) in refused:
            raise OSError(number, os.strerror(number), os.fspath(file))
        return opened(file, *arguments, **options)

    monkeypatch.setattr(builtins, "open", refuse)
