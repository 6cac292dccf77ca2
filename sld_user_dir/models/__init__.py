"""fairseq's side: models, and adapters around them.

Importing fairseq first registers everything before a module of this folder is half loaded.
"""

import fairseq  # noqa: F401
