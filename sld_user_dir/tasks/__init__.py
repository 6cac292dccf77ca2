"""fairseq's side: the task.

Importing fairseq first registers everything before a module of this folder is half loaded.
"""

import fairseq  # noqa: F401
