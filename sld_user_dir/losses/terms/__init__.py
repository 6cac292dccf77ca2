"""The loss terms, a file each; `smoothed_kl` is the paper's.

They import each other never, and are found by themselves.
"""
