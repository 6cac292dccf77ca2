"""Hypotheses in the lines of fairseq-generate: `T-`, `H-`, `D-` and `P-`, scores to the base 2."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Sequence

from sld_user_dir.vocabulary.joint import JointVocabulary


def lines_of(
    sample: Dict[str, Any], hypotheses: Sequence[Sequence[Dict[str, Any]]], vocab: JointVocabulary
) -> List[str]:
    """The lines of a batch; the number of an utterance is its row in the manifest."""
    lines = []
    for row, target, nbest in zip(sample["id"].tolist(), sample["target"], hypotheses):
        lines.append(f"T-{row}\t{vocab.decode_text(target.tolist())}")
        for one in nbest:
            ids = one["tokens"].tolist()
            score = float(one["score"]) / math.log(2)
            symbols = " ".join(vocab.table[i] for i in ids if i != vocab.eos)
            positions = " ".join(f"{value / math.log(2):.4f}" for value in one["positional_scores"].tolist())
            lines += [f"H-{row}\t{score}\t{symbols}", f"D-{row}\t{score}\t{vocab.decode_text(ids)}"]
            lines.append(f"P-{row}\t{positions}")
    return lines
