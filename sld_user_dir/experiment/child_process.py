"""Children that end with their parent, however that ends: what a killed sweep has started must not train on unseen."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Callable, Optional

PR_SET_PDEATHSIG = 1


def ending_with_parent() -> Optional[Callable[[], None]]:
    """For `preexec_fn` of `subprocess`: the kernel ends the child by SIGTERM as its parent ends; None beside Linux.

    The parent is the thread that starts it, which must live as long as the child is to.
    """
    if sys.platform != "linux":
        return None
    parent, libc = os.getpid(), ctypes.CDLL(None)

    def bind() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it has ended meanwhile
            os._exit(1)

    return bind
