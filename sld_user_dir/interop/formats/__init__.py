"""One file a format, or a family that shares its code; found by themselves (docs/guides/add_a_format.md)."""
