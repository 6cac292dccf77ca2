"""What validation measures beside the loss: error rates, and the tasks of a mixture one by one.

A validation batch gives counts, plain numbers that may be added up over batches and workers; the
`log_` functions make rates of their sums.
"""

import math
from typing import Any, Dict, Iterable, List, Sequence

from fairseq.logging import metrics
from torch import Tensor

from sld_user_dir.scoring.edits import edit_distance
from sld_user_dir.vocabulary.joint import TASKS, JointVocabulary, SpeechRole

Sample = Dict[str, Any]
Logs = List[Dict[str, Any]]
RATES = (("wer", "_word_errors", "_words"), ("cer", "_char_errors", "_chars"))


def count_errors(
    targets: Iterable[Tensor], hypotheses: Iterable[Sequence[Dict[str, Any]]], vocab: JointVocabulary
) -> Dict[str, int]:
    """Word and character errors of the best hypotheses; targets (L,) ids, of which the text counts."""
    counts = {"_word_errors": 0, "_words": 0, "_char_errors": 0, "_chars": 0}
    for target, nbest in zip(targets, hypotheses):
        reference = vocab.decode_text(target.tolist())
        hypothesis = vocab.decode_text(nbest[0]["tokens"].tolist())
        counts["_word_errors"] += edit_distance(reference.split(), hypothesis.split())
        counts["_words"] += len(reference.split())
        counts["_char_errors"] += edit_distance(reference, hypothesis)
        counts["_chars"] += len(reference)
    return counts


def log_error_rates(logs: Logs) -> None:
    """`wer` and `cer` in percent, where any batch was decoded."""
    for name, errors, total in RATES:
        if not any(total in log for log in logs):
            continue
        for key in (errors, total):
            metrics.log_scalar_sum(key, sum(float(log.get(key, 0)) for log in logs))
        metrics.log_derived(
            name,
            lambda meters, e=errors, t=total: (
                round(100 * meters[e].sum / meters[t].sum, 2) if meters[t].sum else float("nan")
            ),
        )


def holds_only(sample: Sample, task: str, vocab: JointVocabulary) -> bool:
    """Whether all rows of a mixture's batch are of this task."""
    return bool((sample["tasks"] == vocab.tasks[task]).all())


def count_answers(sample: Sample, log: Dict[str, Any], mix: Iterable[str], vocab: JointVocabulary) -> Dict[str, Any]:
    """Of each task of the mixture the nats and tokens of its answers: a validation batch holds one task only.

    Args:
        log: what the criterion says of this batch.
    """
    counts: Dict[str, Any] = {}
    for task in mix:
        kind = "speech_target" if TASKS[task] == SpeechRole.TARGET else "text"
        here = holds_only(sample, task, vocab)
        counts[f"_nll_{task}"] = float(log.get(f"{kind}_nll", 0)) if here else 0.0
        counts[f"_tokens_{task}"] = int(log.get(f"{kind}_count", 0)) if here else 0
    return counts


def log_tasks(logs: Logs, mix: Iterable[str]) -> None:
    """`asr`, `tts`, …: bits per answer token of each task of a mixture."""
    for task in mix:
        if any(f"_tokens_{task}" in log for log in logs):
            nats = sum(log.get(f"_nll_{task}", 0) for log in logs)
            tokens = sum(log.get(f"_tokens_{task}", 0) for log in logs)
            metrics.log_scalar(task, nats / max(tokens, 1) / math.log(2), weight=tokens, round=3)
