"""Tokenizers that map a waveform to integers by themselves: their codes are units, and no k-means is trained."""
