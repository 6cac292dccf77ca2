"""Training steps on packed batches against padded ones, of the same utterances.

    python benchmarks/packing.py --json

prints a JSON list, one entry for each way of making batches, of utterances with lengths like
LibriSpeech's (see train.py, whose model and step these are):
  bucketed  similar lengths, at most --max-tokens with padding: this package's default
  mixed     any lengths in random order, --batch-size of them: --mixed-lengths, and the authors' way
and in each
  speedup_packed            time of the padded batches over that of the same ones packed
  padding                   of the padded batches that were timed (packed: 0)
  padding_of_corpus         over all batches of the simulated corpus made this way
  padding_of_corpus_at_64   the same with 64 utterances a batch
  packed_mixed_vs_bucketed  real tokens a second: packed mixed batches over padded bucketed ones
"""

import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
import torch
from simple_parsing import ArgumentParser

sys.path[:0] = [str(Path(__file__).parent)]

from _measure import median_cpu_seconds  # noqa: E402
from train import Config as TrainConfig  # noqa: E402
from train import Problem, make_corpus  # noqa: E402

from sld_user_dir.sequences.dataset import SequenceDataset  # noqa: E402
from sld_user_dir.sequences.packed_batch import pack_batch  # noqa: E402


@dataclass
class Config(TrainConfig):
    criterion: str = "sld-paper"
    """sld (official), sld-paper, masked_ce."""
    batch_size: int = 8
    """Utterances of a mixed batch that is timed; the authors take 64."""


def make_batches(data: SequenceDataset, config: Config, mixed: bool) -> Dict[str, Any]:
    """Two batches to time, and the padding of all."""
    np.random.seed(0)
    order = np.random.permutation(len(data)) if mixed else data.ordered_indices()
    limits = {"max_sentences": config.batch_size} if mixed else {"max_tokens": config.max_tokens}
    batches = data.batch_by_size(order, **limits)
    chosen = [batches[len(batches) // 3], batches[2 * len(batches) // 3]]
    return {
        "padded": [data.collater([data[int(i)] for i in batch]) for batch in chosen],
        "padding_of_corpus": _padding(data, batches),
        "padding_of_corpus_at_64": _padding(data, data.batch_by_size(order, max_sentences=64)),
        "padding": _padding(data, chosen),
    }


def _padding(data: SequenceDataset, batches: List[np.ndarray]) -> float:
    positions = sum(len(batch) * data.sizes[batch].max() for batch in batches)
    return float(1 - sum(data.sizes[batch].sum() for batch in batches) / positions)


def cases(config: Config) -> List[Dict[str, object]]:
    torch.set_num_threads(config.threads)
    problem = Problem(config)
    data = make_corpus(problem.vocab)
    made = {name: make_batches(data, config, mixed=name == "mixed") for name in ("bucketed", "mixed")}
    rivals, tokens = {}, {}
    for name, batches in made.items():
        tokens[name] = sum(batch["ntokens"] for batch in batches["padded"])
        packed = [pack_batch(batch, problem.vocab.pad) for batch in batches["padded"]]
        rivals[f"{name} padded"] = problem.rival(config.criterion, batches["padded"])
        rivals[f"{name} packed"] = problem.rival(config.criterion, packed)
    seconds = median_cpu_seconds(rivals, config.repeats)
    rate = {name: tokens[name.split()[0]] / taken for name, taken in seconds.items()}
    return [
        {
            "case": name,
            "speedup_packed": round(rate[f"{name} packed"] / rate[f"{name} padded"], 2),
            "packed_mixed_vs_bucketed": round(rate["mixed packed"] / rate["bucketed padded"], 2),
            **{key: round(batches[key], 3) for key in batches if key.startswith("padding")},
            "tokens_per_second_padded": round(rate[f"{name} padded"]),
            "tokens_per_second_packed": round(rate[f"{name} packed"]),
            "utterances": sum(batch["nsentences"] for batch in batches["padded"]),
            "criterion": config.criterion,
            "layers": config.layers,
            "dim": config.dim,
            "vocabulary": len(problem.vocab),
            "dropout": config.dropout,
            "threads": config.threads,
            "torch": torch.__version__,
        }
        for name, batches in made.items()
    ]


def main(argv: Optional[List[str]] = None) -> None:
    logging.getLogger().setLevel(logging.WARNING)  # fairseq turns everyone's debug messages on
    parser = ArgumentParser(description=__doc__)
    parser.add_arguments(Config, dest="config")
    config: Config = parser.parse_args(argv).config
    results = cases(config)
    if config.json:
        print(json.dumps(results, indent=1))
        return
    for result in results:
        shown = [key for key in result if key.startswith(("speedup", "packed", "padding"))]
        print(f"{result['case']}: " + ", ".join(f"{key} {result[key]}" for key in shown))


if __name__ == "__main__":
    main()
