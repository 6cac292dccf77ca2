"""Training objectives: pure losses, their fused form, and the criteria registered with fairseq."""
