"""Train: `python -m sld_user_dir.fairseq2 RUN --config dataset.config_overrides.data=DATA tokenizer.path=DATA`."""

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

    from sld_user_dir.fairseq2.training_recipe import UnitTrainingRecipe

    run(UnitTrainingRecipe())


if __name__ == "__main__":
    main()
