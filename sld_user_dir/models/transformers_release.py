"""Whether the installed transformers takes the installed torch."""

from __future__ import annotations

from importlib.metadata import requires

import torch

from sld_user_dir.errors import InputError


def require_torch_of_transformers() -> None:
    """Refuse a torch that the installed transformers does not take: it then has no models at all.

    Raises:
        InputError: names both releases.
    """
    from transformers import __version__
    from transformers.utils.import_utils import is_torch_available

    if not is_torch_available():
        asked = [one.partition(";")[0] for one in requires("transformers") or [] if one.startswith("torch>")]
        needed = asked[0].strip() if asked else "a later torch"
        problem = f"transformers {__version__} asks for {needed}, and here is torch {torch.__version__}"
        raise InputError("transformers", problem, f'pip install "{needed}", or an earlier transformers, such as 5.0')
