"""A corpus of LibriSpeech's size through manifest, memory map, batches and simulated steps: is memory flat?

    python benchmarks/load.py --json                                        # 8 GB of disk, an hour and a quarter
    python benchmarks/load.py --utterances 50000 --minutes 1                # a smaller one

writes a manifest of 843,000 utterances (281,000, each at three speeds) and 500 million units to a temporary directory
and prints a JSON list of one entry. Each part is a process of its own:
  build_s, build_cpu_s, build_peak_mib    making the memory map, once, and the most memory that it holds
  start_s, start_cpu_s       a later start, from fairseq's import to the first batch: manifest, texts, lengths, batches
  steps, tokens_per_second   of fairseq's own iterator in the time given, shuffled, epoch after epoch; a step reads
                             each token
  private_first_mib, private_last_mib    anonymous memory of the process and its loaders after a tenth of the time, and
                             at the end; pages of the map are no such: the system can take them back
  growth_mib_per_hour        the slope between the two; series has [minute, private MiB, resident MiB]
"""

import json
import logging
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

import psutil
from simple_parsing import ArgumentParser

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import data as corpus  # noqa: E402
from _measure import note  # noqa: E402

UNITS = 593  # of an utterance on average: 500 million in all
POSITIONS = 2048
SAMPLES = 60  # of memory over the time given


@dataclass
class Config:
    json: bool = False
    """Print the result as JSON (default: a table)."""
    utterances: int = 843_000
    """Rows of the manifest."""
    minutes: float = 60.0
    """How long the simulated steps go on."""
    max_tokens: int = 16_000
    """Of a batch."""
    workers: int = 1
    """Processes that make batches."""
    folder: Optional[Path] = None
    """Where the corpus is written, and kept (default: a temporary directory)."""
    part: Optional[str] = None
    """For internal use: run this part, `build` or `steps`, on the corpus of --folder."""


def write_corpus(folder: Path, config: Config) -> None:
    """The manifest, unless it is there, and the vocabulary."""
    corpus.make_vocab().save(folder)
    if not (folder / "train.tsv").exists():
        corpus.write(folder / "train.part", corpus.Config(utterances=config.utterances, units=UNITS // 10 * 10))
        (folder / "train.part").rename(folder / "train.tsv")


def build(config: Config) -> Dict[str, float]:
    """Make the memory map."""
    assert config.folder is not None
    start, cpu = time.monotonic(), time.process_time()
    manifest = corpus.open_manifest(config.folder / "train.tsv")
    seconds = {"build_s": round(time.monotonic() - start, 3), "build_cpu_s": round(time.process_time() - cpu, 3)}
    return {**seconds, "units": len(manifest.units)}


def steps(config: Config) -> Dict[str, Any]:
    """Start as fairseq-train does, then read batches until the time is over."""
    start, cpu = time.monotonic(), time.process_time()
    iterator = make_iterator(config)
    began = None
    series: List[List[float]] = []
    n_steps = n_tokens = 0
    seconds = config.minutes * 60
    while began is None or time.monotonic() - began < seconds:
        for batch in iterator.next_epoch_itr(shuffle=True):
            if began is None:
                began = time.monotonic()
                started = {"start_s": round(began - start, 3), "start_cpu_s": round(time.process_time() - cpu, 3)}
                note(f"started: {started}")
            n_steps += 1
            n_tokens += int((batch["net_input"]["src_tokens"] != 1).sum())  # 1 is padding
            passed = time.monotonic() - began
            if passed >= len(series) * seconds / SAMPLES:
                series.append([round(passed / 60, 2), *memory_mib()])
                note(f"minute {series[-1][0]}: {n_steps} steps, {series[-1][1]} MiB private, {series[-1][2]} resident")
            if passed >= seconds:
                break
    settled, last = series[max(1, len(series) // 10)], series[-1]
    growth = (last[1] - settled[1]) / max(last[0] - settled[0], 1e-9) * 60
    return {
        **started,
        "steps": n_steps,
        "epochs": round(n_steps / len(iterator.frozen_batches), 2),
        "tokens_per_second": round(n_tokens / passed),
        "private_first_mib": settled[1],
        "private_last_mib": last[1],
        "growth_mib_per_hour": round(growth, 1),
        "series": series,
    }


def make_iterator(config: Config) -> Any:
    """fairseq's, of the task's training set."""
    from fairseq import tasks  # here: the part that builds the map needs none of it

    import sld_user_dir  # noqa: F401
    from sld_user_dir.tasks.task_config import SpeechUnitLMConfig

    options = SpeechUnitLMConfig(data=str(config.folder), tokens_per_sample=POSITIONS)
    options.update_freq = [1]
    task = tasks.get_task("speech_unit_lm").setup_task(options)
    task.load_dataset("train")
    return task.get_batch_iterator(
        task.dataset("train"),
        max_tokens=config.max_tokens,
        max_positions=POSITIONS,
        num_workers=config.workers,
        epoch=1,
    )


def memory_mib() -> List[float]:
    """Anonymous and all resident memory of this process and its loaders; what they share counts once in the first."""
    private = resident = 0.0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has just ended
            continue
        sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
        private += sizes["Pss_Anon"]
        resident += sizes["Rss"]
    return [round(private, 1), round(resident, 1)]


def run_part(name: str, config: Config) -> Dict[str, Any]:
    """A part in a process of its own."""
    options = {**asdict(config), "part": name, "json": None}
    words = [word for key, value in options.items() if value is not None for word in (f"--{key}", str(value))]
    command = [sys.executable, "-W", "ignore", __file__, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peak = 0.0
        while process.poll() is None:
            with_status = Path(f"/proc/{process.pid}/status")
            lines = [line for line in with_status.read_text().splitlines() if line.startswith("RssAnon")]
            peak = max([peak, *(int(line.split()[1]) / 1024 for line in lines)])
            time.sleep(0.2)
        output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed")
    return {f"{name}_peak_mib": round(peak, 1), **json.loads(output.splitlines()[-1])}


def measure(config: Config) -> Dict[str, Any]:
    """Write the corpus and run the parts."""
    assert config.folder is not None
    config.folder.mkdir(parents=True, exist_ok=True)
    write_corpus(config.folder, config)
    size = (config.folder / "train.tsv").stat().st_size
    note(f"{size / 1e9:.2f} GB written")
    time.sleep(2.1)  # a file just written is known by its bytes, not by its time stamps
    built = run_part("build", config)
    note(str(built))
    run = run_part("steps", Config(**{**asdict(config), "minutes": 0.02}))  # transcripts are encoded once
    result = {"case": f"{config.utterances:,} utterances", "manifest_gb": round(size / 1e9, 2), **built}
    return {**result, "first_start_s": run["start_s"], **run_part("steps", config)}


def main(argv: Optional[List[str]] = None) -> None:
    logging.getLogger().setLevel(logging.WARNING)  # fairseq turns everyone's debug messages on
    parser = ArgumentParser(description=__doc__)
    parser.add_arguments(Config, dest="config")
    config: Config = parser.parse_args(argv).config
    if config.part:
        print(json.dumps({"build": build, "steps": steps}[config.part](config)))
        return
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Config(**{**asdict(config), "folder": config.folder or Path(folder)}))
    print(json.dumps([result], indent=1) if config.json else "\n".join(f"{k}: {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
