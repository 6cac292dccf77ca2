"""Fused projection + loss against a straight form of the authors' computation.

    python benchmarks/loss.py --json

prints a JSON list, one entry per shape, objective and number of threads:
  time_ratio    CPU seconds, forward and backward / the same of the authors' computation, taken
                step by step as in their program (`Problem.authors`)
  matmul_ratio  CPU seconds / those of the three bare matrix products over the positions that are
                no padding: logits, gradient of the hidden states, gradient of the weight
  memory_ratio  peak memory above the inputs / the same of the authors' computation
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional

import torch
import torch.nn.functional as F
from simple_parsing import ArgumentParser
from torch import Tensor

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from _measure import in_fresh_process, median_cpu_seconds, note, peak_mib_above_now  # noqa: E402

from sld_user_dir.losses.fused import fused_loss  # noqa: E402
from sld_user_dir.losses.objective import Objective, plain_loss  # noqa: E402
from sld_user_dir.losses.positions import Layout, positions_of  # noqa: E402
from sld_user_dir.losses.terms.centroid_kl import CentroidKL, CentroidTable, SoftTargets  # noqa: E402
from sld_user_dir.losses.terms.cross_entropy import SpeechCrossEntropy, TextCrossEntropy  # noqa: E402
from sld_user_dir.losses.terms.official_kl import OfficialKL  # noqa: E402
from sld_user_dir.losses.terms.smoothed_kl import SmoothedKL  # noqa: E402
from sld_user_dir.sequences.segments import ANSWER, SPEECH_PROMPT  # noqa: E402

PAD, EOS = 1, 2
TEXT_TOKENS = 60  # per utterance
NEIGHBOURS = 10  # units that a target of the centroid variant lies on


class Shape(NamedTuple):
    batch: int
    length: int
    dim: int
    text_vocabulary: int
    units: int
    padding: float  # share of the positions


SHAPES = {"large": Shape(2, 1024, 1024, 50257, 6000, 0.0), "small": Shape(4, 512, 512, 10000, 6000, 0.36)}
OFFICIAL = OfficialKL()
TEXT, SPEECH = TextCrossEntropy(), SpeechCrossEntropy()
OBJECTIVES = {
    "sld-official": lambda soft: Objective([TEXT, SpeechCrossEntropy(separator=True), OFFICIAL]),
    "sld-paper": lambda soft: Objective([TEXT, SPEECH, SmoothedKL()]),
    "sld-centroid": lambda soft: Objective([TEXT, SPEECH, CentroidKL(CentroidTable(soft))]),
    "sld-paper-within-units": lambda soft: Objective([TEXT, SpeechCrossEntropy(within_units=True), SmoothedKL()]),
    "multimodal-ce": lambda soft: Objective([TEXT, SPEECH]),
    "masked-ce": lambda soft: Objective([TEXT]),
}
"""By name; each from the targets of `centroid`."""


@dataclass
class Config:
    json: bool = False
    """Print the result as JSON (default: a table)."""
    shapes: List[str] = field(default_factory=lambda: list(SHAPES))
    """Which shapes: large, small."""
    objectives: List[str] = field(default_factory=lambda: ["sld-official", "sld-paper"])
    """Which objectives of ours; the authors' is always the official one."""
    threads: List[int] = field(default_factory=lambda: sorted({1, torch.get_num_threads()}))
    """Numbers of threads to measure with (default: 1 and torch's own choice)."""
    repeats: int = 3
    """Interleaved rounds, of which the median is taken."""
    probe: Optional[str] = None
    """For internal use: print the peak MiB of this rival at the first shape."""


class Problem:
    """Inputs of one shape: utterances of units, separator, text, </s>, right-padded."""

    def __init__(self, shape: Shape) -> None:
        torch.manual_seed(0)
        b, length, d, offset, k, padding = shape
        self.layout = Layout(offset, k, offset - 1, PAD)
        self.hidden = torch.randn(b, length, d, requires_grad=True)
        self.last = torch.randn(b, 1, d)  # of the last token, which the authors' program projects too
        self.weight = (torch.randn(offset + k, d) * d**-0.5).requires_grad_()
        sequence = torch.full((b, length + 1), PAD)
        share = torch.linspace(1 - 2 * padding, 1, b) if padding else torch.ones(b)
        for row, size in enumerate((share * (length + 1)).long().tolist()):
            n = size - TEXT_TOKENS - 2
            sequence[row, :n] = torch.randint(offset, offset + k, (n,))
            sequence[row, n] = self.layout.separator
            sequence[row, n + 1 : size - 1] = torch.randint(4, self.layout.separator, (TEXT_TOKENS,))
            sequence[row, size - 1] = EOS
        self.src, self.target = sequence[:, :-1], sequence[:, 1:]
        near = (torch.arange(k)[:, None] + torch.arange(NEIGHBOURS)) % k
        self.soft = SoftTargets(near, torch.full(near.shape, 1 / NEIGHBOURS, dtype=torch.float64))
        self.live = int((self.target != PAD).sum())

        answer = (self.target < offset) & (self.target != self.layout.separator)
        self.segments = (SPEECH_PROMPT + ANSWER * answer).to(torch.uint8)  # as a batch brings them along

    def ours(self, name: str, form: str = "fused") -> None:
        objective = OBJECTIVES[name](self.soft)
        sample = {"target": self.target, "net_input": {"src_tokens": self.src}, "segments": self.segments}
        everywhere = positions_of(sample, self.layout)
        task = (objective.select(everywhere), objective, objective.divisors(everywhere))
        if form == "fused":
            loss, _, _ = fused_loss(self.hidden, self.weight, *task)
        else:
            loss, _, _ = plain_loss(F.linear(self.hidden, self.weight), *task)
        self._backward(loss)

    def authors(self) -> None:
        """The official objective step by step as the authors' program takes it.

        All logits, the last token's too, which no target belongs to; copies of the shifted ones; a
        one-hot target; a second softmax; padding masked by products. Left out is the cross-entropy
        that their model computes besides, and that they do not use.
        """
        objective, k = OFFICIAL, self.layout.num_units
        temperature, tiny = objective.temperature, 1e-9
        logits = F.linear(torch.cat([self.hidden, self.last], 1), self.weight)
        unit, separator = self.target >= self.layout.unit_offset, self.target == self.layout.separator
        text = ~unit & ~separator & (self.target != PAD)
        fed, live = (self.src != PAD)[..., None], (self.target != PAD)[..., None]
        units = logits[:, :-1, -k:].contiguous() * fed + tiny
        y = (self.target - self.layout.unit_offset).clamp(min=0)
        smoothed = F.one_hot(y, k) * (1 - objective.smoothing) + objective.smoothing / k
        q = F.softmax((smoothed * live + tiny) / temperature, dim=-1)
        log_p = F.log_softmax(units / temperature, dim=-1)
        kl = F.kl_div(log_p, q, reduction="batchmean") * temperature**2
        shifted, target = logits[:, :-1].contiguous().flatten(0, 1), self.target
        ce_text = F.cross_entropy(shifted, target.masked_fill(~text, -100).flatten())
        ce_speech = F.cross_entropy(shifted, target.masked_fill(~(unit | separator), -100).flatten())
        self._backward(ce_text + ce_speech + objective.weight * kl)

    def matmuls(self) -> None:
        """The three matrix products alone, over the positions that are no padding."""
        with torch.no_grad():
            hidden = self.hidden.flatten(0, 1)[: self.live]
            logits = hidden @ self.weight.t()
            _ = logits @ self.weight, logits.t() @ hidden

    def rivals(self, objectives: List[str]) -> Dict[str, Callable[[], None]]:
        ours = {name: lambda name=name: self.ours(name) for name in objectives}
        return {"authors": self.authors, "matmuls": self.matmuls, **ours}

    def _backward(self, loss: Tensor) -> None:
        loss.backward()
        self.hidden.grad = self.weight.grad = None


def probe(config: Config) -> float:
    """Peak MiB above the inputs of one rival, in this (fresh) process."""
    torch.set_num_threads(config.threads[0])
    problem = Problem(SHAPES[config.shapes[0]])
    torch.ones(64, 64, requires_grad=True).mm(torch.ones(64, 64)).sum().backward()  # libraries
    name = str(config.probe)
    return peak_mib_above_now(problem.rivals([] if name == "authors" else [name])[name])


def cases(config: Config) -> List[Dict[str, object]]:
    results: List[Dict[str, object]] = []
    for shape in config.shapes:
        for threads in config.threads:
            note(f"{shape}, {threads} thread(s)")
            arguments = ["--shapes", shape, "--threads", str(threads), "--probe"]
            names = ["authors", *config.objectives]
            memory = {name: in_fresh_process(__file__, [*arguments, name]) for name in names}
            torch.set_num_threads(threads)
            rivals = Problem(SHAPES[shape]).rivals(config.objectives)
            seconds = median_cpu_seconds(rivals, config.repeats)
            for name in config.objectives:
                results.append(_case(shape, threads, name, seconds, memory))
    return results


def _case(
    shape: str, threads: int, name: str, seconds: Dict[str, float], memory: Dict[str, float]
) -> Dict[str, object]:
    return {
        "case": f"{shape} {name}",
        "shape": SHAPES[shape]._asdict(),
        "threads": threads,
        "time_ratio": round(seconds[name] / seconds["authors"], 3),
        "matmul_ratio": round(seconds[name] / seconds["matmuls"], 3),
        "memory_ratio": round(memory[name] / memory["authors"], 3),
        "seconds": round(seconds[name], 3),
        "authors_seconds": round(seconds["authors"], 3),
        "peak_mib": round(memory[name]),
        "authors_peak_mib": round(memory["authors"]),
        "torch": torch.__version__,
    }


def main(argv: Optional[List[str]] = None) -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_arguments(Config, dest="config")
    config: Config = parser.parse_args(argv).config
    if config.probe:
        print(probe(config))
        return
    results = cases(config)
    if config.json:
        print(json.dumps(results, indent=1))
        return
    for result in results:
        ratios = (f"{key} {result[key]}" for key in ("time_ratio", "matmul_ratio", "memory_ratio"))
        print(f"{result['case']}, {result['threads']} thread(s): " + ", ".join(ratios))


if __name__ == "__main__":
    main()
