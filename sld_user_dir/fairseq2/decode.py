"""Decode a split: `python -m sld_user_dir.fairseq2.decode OUT --config …`."""

from __future__ import annotations

import sys

from sld_user_dir.errors import InputError
from sld_user_dir.fairseq2.supported_release import check_release


def main() -> None:
    """Run the recipe by fairseq2's command line."""
    try:
        check_release()
    except InputError as error:
        sys.exit(str(error))
    from fairseq2.recipe.cli import main as run

    from sld_user_dir.fairseq2.decoding_recipe import UnitDecodingRecipe

    run(UnitDecodingRecipe())


if __name__ == "__main__":
    main()
