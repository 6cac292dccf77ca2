"""fairseq2's side: an extension of it. Nothing else in the package imports this folder.

fairseq2 finds `extension.setup` by its entry point group `fairseq2.extension`. The folder stands beside fairseq's four,
imports fairseq2 in their place, and takes data, losses and search from the same core.

    python -m sld_user_dir.fairseq2 RUN --config-file configuration.yaml      train
    python -m sld_user_dir.fairseq2.decode OUT --config …                     decode and score
    python -m sld_user_dir.fairseq2.to_fairseq RUN/checkpoints --out FILE     a checkpoint for fairseq
"""
