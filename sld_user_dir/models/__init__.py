"""What stands on the side of fairseq: its models, and adapters around them; importing fairseq first registers everything before a module of this folder is half loaded."""

import fairseq  # noqa: F401
