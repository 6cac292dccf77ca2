"""Opening a large manifest from its memory map against parsing its text.

    python benchmarks/data.py --json

writes a manifest of 300,000 utterances (90 million units, 0.4 GB) to a temporary directory and prints
a JSON list of one entry, times in CPU seconds:
  open_speedup      parsing line by line, `np.array(line.split(), dtype=int)` / opening the map; the
                    manifest has not changed since the map was made
  build_ratio       making the map, validation included / the fastest parse, `np.fromstring` of each line
  open_rss_mib      growth of resident memory by opening it and setting up the data set, in a fresh process
  epoch_private_mib   growth of private memory by reading every utterance once (the map's pages are shared)
  loader_vs_model   tokens a second of one process that makes batches / of the training of joint_lm_tiny
"""

import json
import logging
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np
import torch
from simple_parsing import ArgumentParser

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import train as training  # noqa: E402
from _measure import note  # noqa: E402

from sld_user_dir.manifests.memory_map import open_manifest  # noqa: E402
from sld_user_dir.manifests.provenance import UnitProvenance  # noqa: E402
from sld_user_dir.manifests.unit_manifest import FORMAT  # noqa: E402
from sld_user_dir.sequences.dataset import SequenceDataset  # noqa: E402
from sld_user_dir.sequences.manifest_dataset import dataset_from_manifest  # noqa: E402
from sld_user_dir.vocabulary.joint import JointVocabulary  # noqa: E402
from sld_user_dir.vocabulary.tokenizers import WordTokenizer  # noqa: E402

NUM_UNITS, WORDS, WORDS_EACH = 2000, 1000, 30


@dataclass
class Config:
    json: bool = False
    """Print the result as JSON (default: a table)."""
    utterances: int = 300_000
    """Rows of the manifest."""
    units: int = 300
    """Units of each row on average."""
    probe: Optional[str] = None
    """For internal use: open this manifest and print the growth of memory."""


def write(path: Path, config: Config) -> None:
    """A manifest of random units and words; lines are put together from a thousand pieces."""
    rng = np.random.default_rng(0)
    pieces = [" ".join(map(str, rng.integers(0, NUM_UNITS, config.units // 10))) for _ in range(1000)]
    texts = [" ".join(f"w{w}" for w in rng.integers(0, WORDS, WORDS_EACH)) for _ in range(1000)]
    provenance = asdict(UnitProvenance("benchmark", None, 50.0, "none", NUM_UNITS))
    with path.open("w", encoding="utf-8") as out:
        out.write(f'# format: "{FORMAT}"\n# provenance: {json.dumps(provenance)}\nid\tunits\ttext\n')
        for row in range(config.utterances):
            units = " ".join(pieces[i] for i in rng.integers(0, len(pieces), int(rng.integers(5, 16))))
            out.write(f"utt{row}\t{units}\t{texts[row % len(texts)]}\n")


def make_vocab() -> JointVocabulary:
    return JointVocabulary.build([], NUM_UNITS, WordTokenizer(), [f"w{i}" for i in range(WORDS)])


def parse(path: Path, read: Callable[[str], np.ndarray]) -> int:
    """Units of all lines, parsed one line at a time; returns their number."""
    total = 0
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            columns = line.split("\t")
            if len(columns) == 3 and columns[0] != "id":
                total += len(read(columns[1]))
    return total


def timed(name: str, run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    seconds = time.process_time() - start
    note(f"{name}: {seconds:.3f} s")
    return seconds


def load_epoch(data: SequenceDataset, limit: Optional[int] = None) -> int:
    """Make all batches, or the first ``limit`` in random order; returns the number of tokens."""
    batches = data.batch_by_size(data.ordered_indices(), max_tokens=8192)
    order = np.random.default_rng(0).permutation(len(batches))[:limit]
    return sum(data.collater([data[int(i)] for i in batches[b]])["ntokens"] for b in order)


def case(config: Config) -> Dict[str, object]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "train.tsv"
        write(path, config)
        note(f"{path.stat().st_size / 1e6:.0f} MB written")
        time.sleep(2.1)  # a file just written is known by its bytes, not by its time stamps
        build = timed("build", lambda: open_manifest(path))
        fastest = timed("np.fromstring", lambda: parse(path, lambda text: np.fromstring(text, dtype=np.int32, sep=" ")))
        split = timed("line.split()", lambda: parse(path, lambda text: np.array(text.split(), dtype=np.int32)))
        opening = float(np.median([timed("open", lambda: open_manifest(path)) for _ in range(5)]))
        vocab = make_vocab()
        texts = timed(
            "transcripts encoded, once",
            lambda: dataset_from_manifest(open_manifest(path), vocab, 1024, SequenceDataset),
        )
        dataset = timed("data set", lambda: dataset_from_manifest(open_manifest(path), vocab, 1024, SequenceDataset))
        data = dataset_from_manifest(open_manifest(path), vocab, 1024, SequenceDataset)
        tokens = load_epoch(data, limit=200)
        loading = timed("200 batches", lambda: load_epoch(data, limit=200))
        memory = _memory(path)
    model = training_tokens_per_second()
    return {
        "case": f"{config.utterances} utterances",
        "open_speedup": round(split / opening),
        "open_speedup_vs_fastest_parse": round(fastest / opening),
        "build_ratio": round(build / fastest, 2),
        **memory,
        "loader_vs_model": round(tokens / loading / model, 1),
        "open_s": round(opening, 4),
        "split_s": round(split, 2),
        "fromstring_s": round(fastest, 2),
        "build_s": round(build, 2),
        "encode_texts_s": round(texts, 2),
        "dataset_s": round(dataset, 3),
        "loader_tokens_per_second": round(tokens / loading),
        "model_tokens_per_second": round(model),
    }


def training_tokens_per_second() -> float:
    """Of joint_lm_tiny's shape on this machine, one thread, masked_ce: the fastest training that there is."""
    torch.set_num_threads(1)
    small = training.Config(layers=4, dim=128, text_vocabulary=50, units=300)
    problem = training.Problem(small)
    step = problem.rival("masked_ce")
    step()
    return problem.tokens / timed("training step", step)


def _memory(path: Path) -> Dict[str, float]:
    command = [sys.executable, "-W", "ignore", __file__, "--probe", str(path)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def probe(path: Path) -> Dict[str, float]:
    vocab = make_vocab()
    before = _status("VmRSS"), _status("RssAnon")
    data = dataset_from_manifest(open_manifest(path), vocab, 1024, SequenceDataset)
    opened = _status("VmRSS") - before[0]
    load_epoch(data)
    return {"open_rss_mib": round(opened, 1), "epoch_private_mib": round(_status("RssAnon") - before[1], 1)}


def _status(field: str) -> float:
    """A field in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def main(argv: Optional[List[str]] = None) -> None:
    logging.getLogger().setLevel(logging.WARNING)  # fairseq turns everyone's debug messages on
    parser = ArgumentParser(description=__doc__)
    parser.add_arguments(Config, dest="config")
    config: Config = parser.parse_args(argv).config
    if config.probe:
        print(json.dumps(probe(Path(config.probe))))
        return
    result = case(config)
    print(json.dumps([result], indent=1) if config.json else "\n".join(f"{k}: {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
