"""Formats of units, a file a format or a family that shares its code; they are found by themselves."""
