"""The one base of errors about what a user gave: where, what is wrong, and what to do."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Optional, Union


class InputError(ValueError):
    """Input that cannot be used, shown as `WHERE: PROBLEM; REMEDY`.

    Commands print it and exit with status 1; a subclass only names the kind, so that code can tell kinds apart.

    Args:
        where: file, `FILE:LINE` (see `line_of`), option or object that is at fault; None where the problem says it.
        problem: what is wrong, with the offending value.
        remedy: what the user can do; None only where nothing can be added to the problem.
    """

    def __init__(self, where: Union[str, Path, None], problem: str, remedy: Optional[str] = None) -> None:
        super().__init__(where, problem, remedy)  # so that it survives pickling between processes
        self.where, self.problem, self.remedy = where, problem, remedy

    def __str__(self) -> str:
        text = self.problem if self.where is None else f"{self.where}: {self.problem}"
        return f"{text}; {self.remedy}" if self.remedy else text


def check_probability(option: str, value: float) -> None:
    """Refuse a number that is no probability, NaN among them.

    Raises:
        InputError: names the option.
    """
    if not 0 <= value <= 1:
        raise InputError(None, f"{option} is a probability, not {value}", "choose it in [0, 1]")


def reason_of(error: BaseException) -> str:
    """The first line of what an error of a library says; its kind where it says nothing."""
    return next((line.strip() for line in str(error).split("\n") if line.strip()), type(error).__name__)


def opening_remedy(error: OSError) -> str:
    """What a user can do where the system does not open a file."""
    if isinstance(error, PermissionError):
        return "check its permissions and its folder's"
    return "check the disk that it is on" if error.errno in (errno.EIO, errno.ESTALE) else "check the path"


def line_of(path: Union[str, Path], line: Optional[int]) -> str:
    """`FILE:LINE`, or the file alone where no line is known."""
    return f"{path}:{line}" if line else str(path)
