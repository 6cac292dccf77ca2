"""Runs a recipe by fairseq2's command line, where fairseq2 is one that the package supports."""

from __future__ import annotations

import sys
from importlib import import_module

from sld_user_dir.errors import InputError
from sld_user_dir.fairseq2.supported_release import check_release


def run_recipe(module: str, name: str) -> None:
    """Run a recipe; its module is imported once the release is known to be right, since others do not have all of it.

    Args:
        module: that defines the recipe.
        name: of its class.
    """
    try:
        check_release()
    except InputError as error:
        sys.exit(str(error))
    from fairseq2.recipe.cli import main

    main(getattr(import_module(module), name)())
