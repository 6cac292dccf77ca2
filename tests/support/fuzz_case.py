"""A reader's files in a folder, of which one changes from case to case; and what became of a case."""

import os
import shutil
import signal
import traceback
import warnings
from pathlib import Path
from types import FrameType
from typing import Dict, NamedTuple, Optional

from sld_user_dir.errors import InputError
from support.imports import PACKAGE
from support.text_readers import TextReader, put

SECONDS = 5
GOOD = ("value", "refused")


class Tried(NamedTuple):
    """What became of one file."""

    outcome: str
    """`value`, `refused`, or the kind of an error that is not ours"""
    where: str
    """the last line of ours that such an error passed"""


class TooSlow(BaseException):
    """A reader took longer than it may."""


class CaseFolder:
    """The files of a reader; those that do not change are written once, which is most of the work.

    Where the reader made, renamed or removed a file, all are written anew. Files that are rewritten in place would not
    be noticed: ours are renamed into place.
    """

    def __init__(self, reader: TextReader, folder: Path):
        self.reader, self.folder = reader, folder
        self.good = reader.as_bytes(reader.content)
        self._written: Dict[str, int] = {}

    def put(self, content: bytes) -> None:
        """Write the file in question with this content."""
        if self._written and all(_changed_ns(path) == then for path, then in self._written.items()):
            put(self.folder / self.reader.file, content)
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.reader.write(self.folder, lambda _: content)
        self._written = {path: _changed_ns(path) for path, _, _ in os.walk(self.folder)}


def _changed_ns(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except FileNotFoundError:
        return -1


def try_one(case: CaseFolder, content: bytes) -> Tried:
    """Read a reader's files, the one in question with this content."""
    case.put(content)
    signal.signal(signal.SIGPROF, _too_slow)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case.reader.read(case.folder)
        return Tried("value", "")
    except InputError:
        return Tried("refused", "")
    except OSError as error:  # a file that another names: commands print both, as of any missing file
        if error.filename is not None and error.strerror is not None:
            return Tried("refused", "")
        return Tried(type(error).__name__, _last_of_ours(error))
    except (Exception, TooSlow) as error:
        return Tried(type(error).__name__, _last_of_ours(error))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _too_slow(number: int, frame: Optional[FrameType]) -> None:
    raise TooSlow(f"more than {SECONDS} s")


def _last_of_ours(error: BaseException) -> str:
    ours = [one for one in traceback.extract_tb(error.__traceback__) if one.filename.startswith(str(PACKAGE))]
    place = f"{Path(ours[-1].filename).relative_to(PACKAGE)}:{ours[-1].lineno}" if ours else "not in our code"
    return f"{place}: {str(error)[:90]!r}"
