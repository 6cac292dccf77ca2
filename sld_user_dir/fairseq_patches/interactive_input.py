"""What fairseq-interactive reads, decoded by the rules of this package.

fairseq decodes its input by Python's own codec, whose error names neither file nor line.
"""

import logging
import sys
from contextlib import nullcontext
from typing import BinaryIO, ContextManager, Iterable, Iterator, List, Optional

from sld_user_dir.errors import InputError
from sld_user_dir.files import decode_lines

logger = logging.getLogger(__name__)


def install() -> None:
    """Let fairseq-interactive, if it is running, read its input by `decode_lines`. Repeated calls do nothing."""
    program = sys.modules.get("fairseq_cli.interactive")
    if program is not None:
        program.buffered_read = buffered_read  # type: ignore[attr-defined]


def buffered_read(input: str, buffer_size: int) -> Iterator[List[str]]:
    """Lines of a file, or of standard input (`-`), without white space around them, so many at a time.

    Raises:
        InputError: no such file, or bytes that are not UTF-8; names the line.
    """
    buffer: List[str] = []
    n_lines = 0
    name = "standard input" if input == "-" else input
    try:
        with _open(input) as raw:
            for line in decode_lines(raw, name):
                n_lines += 1
                buffer.append(line.strip())
                if len(buffer) >= buffer_size:
                    yield buffer
                    buffer = []
    except OSError as problem:
        raise InputError(name, problem.strerror or str(problem), "check the path of --input") from problem
    if buffer:
        yield buffer
    if not n_lines:
        logger.warning("%s: no line, so nothing is decoded; give units, an utterance a line", name)


def _open(input: str) -> ContextManager[Iterable[bytes]]:
    if input != "-":
        return open(input, "rb")
    raw: Optional[BinaryIO] = getattr(sys.stdin, "buffer", None)  # none where text stands in for it
    return nullcontext(raw if raw is not None else (line.encode() for line in sys.stdin))
