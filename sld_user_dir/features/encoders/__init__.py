"""Encoders, a file a family; they are found by themselves."""
