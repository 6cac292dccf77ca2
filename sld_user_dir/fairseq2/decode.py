"""Decode a split: `python -m sld_user_dir.fairseq2.decode OUT --config …`."""

from __future__ import annotations

from sld_user_dir.fairseq2.run_recipe import run_recipe


def main() -> None:
    """Run the recipe by fairseq2's command line."""
    run_recipe("sld_user_dir.fairseq2.decoding_recipe", "UnitDecodingRecipe")


if __name__ == "__main__":
    main()
