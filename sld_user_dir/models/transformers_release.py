"""Loading models of transformers, where the installed one takes the installed torch."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.metadata import requires
from typing import Iterator

import torch

from sld_user_dir.errors import InputError
from sld_user_dir.files import directory_or_name, refuse_lfs_pointer
from sld_user_dir.pretrained_files import naming_source


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


@contextmanager
def loading(source: str, what: str, remedy: str) -> Iterator[str]:
    """What `from_pretrained` takes for a directory of `save_pretrained` or a name on the hub; around loading it.

    Args:
        what: should be there, such as a causal language model.

    Raises:
        InputError: a file that cannot be read, another torch than transformers asks for, or no such model there.
    """
    refuse_lfs_pointer(source)
    require_torch_of_transformers()
    with naming_source(source, what, remedy):
        yield directory_or_name(source)
