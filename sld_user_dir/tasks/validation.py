"""What validation measures beside the loss: error rates, and the tasks of a mixture one by one.

A validation batch gives counts, plain numbers that may be added up over batches and workers; the
`log_` functions make rates of their sums.
"""

import math
from typing import Any, Dict, Iterable, List, Mapping

from fairseq.dataclass.configs import GenerationConfig
from fairseq.logging import metrics
from torch import nn

from sld_user_dir.criterions.term_logs import measured
from sld_user_dir.errors import InputError
from sld_user_dir.scoring.recognition_errors import RATES, count_errors
from sld_user_dir.sequences.sequence_format import FORMATS, SPEECH
from sld_user_dir.vocabulary.joint import JointVocabulary

Sample = Dict[str, Any]
Logs = List[Dict[str, Any]]


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


def holds_only(sample: Sample, task: str) -> bool:
    """Whether all rows of a batch are of this task."""
    return all(one == task for one in sample["tasks"])


def count_answers(sample: Sample, log: Dict[str, Any], mix: Iterable[str]) -> Dict[str, Any]:
    """Of each task of the mixture the nats and tokens of its answers: a validation batch holds one task only.

    Args:
        log: what the criterion says of this batch.
    """
    counts: Dict[str, Any] = {}
    for task in mix:
        measure = "speech_target" if FORMATS[task].answer == SPEECH else "text"
        nats, tokens = measured([log], measure) if holds_only(sample, task) else (0.0, 0.0)
        counts[f"_nll_{task}"], counts[f"_tokens_{task}"] = nats, int(tokens)
    return counts


def log_tasks(logs: Logs, mix: Iterable[str]) -> None:
    """`asr`, `tts`, …: bits per answer token of each task of a mixture."""
    for task in mix:
        if any(f"_tokens_{task}" in log for log in logs):
            nats = sum(log.get(f"_nll_{task}", 0) for log in logs)
            tokens = sum(log.get(f"_tokens_{task}", 0) for log in logs)
            metrics.log_scalar(task, nats / max(tokens, 1) / math.log(2), weight=tokens, round=3)


class Validation:
    """What a task measures on its validation batches beside the loss.

    Args:
        cfg: the task's options.
        mix: weight of each task.

    Raises:
        InputError: error rates are asked for where nothing is recognised, or of a search that finds nothing.
    """

    def __init__(self, cfg: Any, vocab: JointVocabulary, mix: Mapping[str, float]):
        self._cfg, self._vocab, self._mix = cfg, vocab, mix
        self._generator: Any = None
        if cfg.eval_wer and "asr" not in mix:
            raise InputError(
                "--eval-wer", f"--task-mix has only {', '.join(mix)}", "add asr to the tasks of --task-mix"
            )
        if cfg.eval_wer and (cfg.eval_wer_beam < 1 or cfg.eval_wer_max_len < 1):
            where = f"--eval-wer-beam {cfg.eval_wer_beam} --eval-wer-max-len {cfg.eval_wer_max_len}"
            raise InputError(where, "nothing to search", "choose both above 0")  # now, not after the first epoch

    def measure(self, task: Any, sample: Sample, model: nn.Module, log: Dict[str, Any]) -> Dict[str, Any]:
        """Counts of a batch, to be added up.

        Args:
            task: builds the generator and decodes.
            log: what the criterion says of the batch.
        """
        counts: Dict[str, Any] = {}
        if self._cfg.eval_wer:
            counts.update(self._count_errors(task, sample, model))
        if self._cfg.task_mix:
            counts.update(count_answers(sample, log, self._mix))
        return counts

    def log(self, logs: Logs) -> None:
        """Rates of the sums."""
        log_tasks(logs, self._mix)
        log_error_rates(logs)

    def _count_errors(self, task: Any, sample: Sample, model: nn.Module) -> Dict[str, int]:
        if not holds_only(sample, "asr"):
            return count_errors([], [], self._vocab)
        if self._generator is None:
            cfg = GenerationConfig(beam=self._cfg.eval_wer_beam, max_len_a=0, max_len_b=self._cfg.eval_wer_max_len)
            self._generator = task.build_generator([model], cfg, decode_task="asr")
        hypotheses = task.inference_step(self._generator, [model], sample)
        return count_errors(sample["target"], hypotheses, self._vocab)
