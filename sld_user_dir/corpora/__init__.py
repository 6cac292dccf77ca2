"""Corpora that the project prepares itself."""
