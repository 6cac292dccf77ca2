"""When it was said, and how sure: word times and confidences on connected digits, whose truth is known.

    python benchmarks/word_times.py
    python benchmarks/word_times.py --data manifests/digits-whisper --json

Trains the demo's `sld`, a CTC beside it, on each kind of units (five to ten minutes of one core each; what is trained
is used again), decodes, fits a confidence map on the validation set, and prints for each test set: median and 90th
percentile of the absolute errors of word boundaries, of all and of those between words, beside those of evenly spread
words; and normalised cross-entropy, expected calibration error and area under the ROC curve of word confidences. Then
the lag table, of the last test set: word errors of streams beside offline decoding, how long after its end a word
settles, and the time of one core that a second of speech takes; from units, and with --recordings from their sound
on, encoder and all.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from _lag_table import audio_lag_rows, lag_rows
from simple_parsing import ArgumentParser, DashVariant

from sld_user_dir.confidence.checkpoint_fingerprint import checkpoint_fingerprint
from sld_user_dir.confidence.confidence_map import map_beside
from sld_user_dir.confidence.confidence_report import confidence_report
from sld_user_dir.confidence.fitting import fit_confidence
from sld_user_dir.confidence.labelled import LabelledUtterance, label
from sld_user_dir.experiment.fairseq_commands import Plan, System, environment, generate_command
from sld_user_dir.manifests.ctm import read_ctm
from sld_user_dir.manifests.unit_manifest import read_manifest
from sld_user_dir.scoring.hypotheses import read_generate
from sld_user_dir.scoring.time_errors import time_report
from sld_user_dir.vocabulary.joint import JointVocabulary

ROOT = Path(__file__).resolve().parents[1]
SYSTEM = System("sld", "sld, and CTC on the speech positions", {})
VALID = "valid"
BEAM = 5


@dataclass
class WordTimesBenchmark:
    """What to train and to measure on."""

    data: str = ",".join(str(ROOT / "manifests" / name) for name in ("digits-whisper", "digits-mfcc"))
    """comma-separated data directories of connected digits"""
    sets: str = "test,test_unseen"
    """comma-separated names of test manifests"""
    references: Path = ROOT / "manifests" / "digits"
    """folder of true word times, SET.ctm"""
    out: Path = ROOT / "runs" / "word_times"
    """where runs go"""
    reuse: bool = False
    """measure what was trained in `out` before, whatever may have changed since, and train nothing"""
    lag_strings: int = 40
    """strings of the last test set that are decoded as streams; 0: none"""
    recordings: Optional[Path] = None
    """folder of FSDD's recordings: the lag table is measured from the sound on, too"""
    features: Optional[str] = None
    """where Whisper tiny.en lies, if not where it lay when the k-means was trained"""
    json: bool = False
    """print JSON instead of a table"""


def train(config: WordTimesBenchmark, data: Path) -> None:
    """By the demo, which trains nothing twice."""
    script = [sys.executable, ROOT / "scripts" / "demo.py", "--criteria", SYSTEM.name, "--test-sets", "test"]
    command = [*script, "--data", data, "--out", config.out]
    subprocess.run(list(map(str, command)), check=True, env=environment(1), stdout=sys.stderr)


def decode(config: WordTimesBenchmark, data: Path, test_set: str) -> List[LabelledUtterance]:
    """By fairseq-generate, with word times."""
    out = config.out / "timed" / data.name
    out.mkdir(parents=True, exist_ok=True)
    options = {"beam": BEAM, "nbest": BEAM, "max_len_a": 0, "max_len_b": 20, "batch_size": 50}
    options |= {"results_path": out, "word_times": out / f"{test_set}.ctm"}
    plan = Plan(data, config.out / "quick" / data.name, [test_set], {}, options)
    subprocess.run(
        generate_command(plan, SYSTEM, test_set), check=True, env=environment(1), stdout=sys.stderr, stderr=sys.stderr
    )
    output = out / f"generate-{test_set}.txt"
    return label(
        read_generate(output, read_manifest(data / f"{test_set}.tsv")), JointVocabulary.load(data).tokenizer, output
    )


def measure(config: WordTimesBenchmark, data: Path) -> List[Dict[str, Any]]:
    """A row for each test set."""
    if not config.reuse:
        train(config, data)
    checkpoint = config.out / "quick" / data.name / SYSTEM.name / "checkpoint_best.pt"
    vocabulary = JointVocabulary.load(data).fingerprint
    valid = decode(config, data, VALID)
    confidence = fit_confidence(valid, checkpoint_fingerprint(checkpoint), vocabulary, {"manifest": f"{VALID}.tsv"})
    confidence.save(map_beside(checkpoint))
    rows = []
    for test_set in config.sets.split(","):
        labelled = decode(config, data, test_set)
        found = config.out / "timed" / data.name / f"{test_set}.ctm"
        times = time_report(read_ctm(found), read_ctm(config.references / f"{test_set}.ctm"), found)
        sure = confidence_report(labelled, confidence)
        row: Dict[str, Any] = {"units": data.name, "test_set": test_set}
        row.update({name: times["all"][name] for name in ("median_ms", "p90_ms")})
        row.update({f"inner_{name}": times["inner"][name] for name in ("median_ms", "p90_ms")})
        row.update({f"even_spread_{name}": times["even_spread"][name] for name in ("median_ms", "p90_ms")})
        row.update({name: sure["word"][name] for name in ("nce", "ece", "auroc")})
        row.update({f"utterance_{name}": sure["utterance"][name] for name in ("ece", "auroc")})
        rows.append(row)
    return rows


def measure_lag(config: WordTimesBenchmark, data: Path) -> List[Dict[str, Any]]:
    """Rows of the lag table."""
    if not config.lag_strings:
        return []
    checkpoint = config.out / "quick" / data.name / SYSTEM.name / "checkpoint_best.pt"
    what = checkpoint, data, config.sets.split(",")[-1], config.references, config.lag_strings, BEAM
    rows = lag_rows(*what)
    if config.recordings is not None:
        features = config.features if "whisper" in data.name else None
        rows += audio_lag_rows(*what, config.recordings, features)
    return rows


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(WordTimesBenchmark, dest="config")
    config: WordTimesBenchmark = parser.parse_args(argv).config
    rows = [row for data in config.data.split(",") for row in measure(config, Path(data))]
    lags = [row for data in config.data.split(",") for row in measure_lag(config, Path(data))]
    if config.json:
        headline = rows[len(config.sets.split(",")) - 1]  # the last test set of the first kind of units
        print(json.dumps({**headline, "rows": rows, "lag": lags}, indent=1))
        return 0
    for row in rows + lags:
        figures = [f"{name} {value:.3f}" for name, value in row.items() if isinstance(value, float)]
        print(f"{row['units']}, {row['test_set']}: " + ", ".join(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
