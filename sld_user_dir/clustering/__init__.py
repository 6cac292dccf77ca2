"""Frames to units: FAISS k-means, its quality report, de-duplication, unit subwords."""
