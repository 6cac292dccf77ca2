"""What stands on the side of fairseq: its task; importing fairseq first registers everything before a module of this folder is half loaded."""

import fairseq  # noqa: F401
