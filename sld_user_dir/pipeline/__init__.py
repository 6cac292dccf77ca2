"""Corpus-sized stages: each streams, may run as shard i of n, and writes atomically."""
