"""Audio to frames: reading and resampling, MFCC, self-supervised encoders, stacking.

Nothing here is imported by training: a model sees unit manifests only.
"""
