"""Train: `python -m sld_user_dir.fairseq2 RUN --config dataset.config_overrides.data=DATA tokenizer.path=DATA`."""

from __future__ import annotations

from sld_user_dir.fairseq2.run_recipe import run_recipe


def main() -> None:
    """Run the recipe by fairseq2's command line."""
    run_recipe("sld_user_dir.fairseq2.training_recipe", "UnitTrainingRecipe")


if __name__ == "__main__":
    main()
