"""What the package computes on fixed inputs, as one JSON file: `python tests/golden/observe.py OUT.json [--record]`.

`expected.json` beside it was written with `--record` by the code of commit da8da10, before the core was cut free of
fairseq; `test_golden.py` compares. Everything goes through interfaces that must not change: fairseq's commands and
registries, the options that they take, and the commands of this package.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from fairseq import checkpoint_utils, options, tasks
from fairseq.data import iterators
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.logging import metrics
from fairseq_cli import generate as fairseq_generate
from fairseq_cli import train as fairseq_train

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATA = HERE / "data"
WORDS = ["zero", "one", "two", "three", "four"]
NUM_UNITS = 12
MIX = "asr=1,tts=0.5,slm=0.3,lm=0.2"
STAGES = {"audio": "make_audio_manifest", "kmeans": "train_kmeans", "units": "extract_units", "vocab": "build_vocab"}
OBJECTIVES = {
    "masked_ce": "--criterion masked_ce",
    "masked_ce_smoothed_ctc": "--criterion masked_ce --text-label-smoothing 0.2 --ctc-weight 0.4",
    "multimodal_ce": "--criterion sld --kl-weight 0",
    "label_smoothing": "--criterion sld --kl-weight 0 --speech-label-smoothing 0.3 --text-label-smoothing 0.1",
    "within_units": "--criterion sld --speech-within-units",
    "sld": "--criterion sld",
    "sld_token": "--criterion sld --kl-denominator token --kl-temperature 2 --kl-smoothing 0.3",
    "sld_weights": "--criterion sld --text-weight 0.7 --speech-weight 0.3 --kl-weight 0.5 --ctc-weight 0.2",
    "kl_only": "--criterion sld --text-weight 0 --speech-weight 0 --kl-weight 1",
    "official": "--criterion sld --kl-variant official",
    "official_token": "--criterion sld --kl-variant official --kl-denominator token --kl-temperature 0.5",
    "centroid": f"--criterion sld --kl-variant centroid --kl-centroids {DATA}/kmeans.npz --kl-neighbours 4",
}
SETTINGS = {
    "padded": "",
    "bos": "--add-bos-token",
    "packed": "--pack-utterances --mixed-lengths",
    "mixture": f"--task-mix {MIX}",
}
RUNS = {
    "sld": "--criterion sld --eval-wer --input-mask-prob 0.3 --update-freq 2",
    "masked_ce": "--criterion masked_ce --add-bos-token --text-label-smoothing 0.1",
    "official": "--criterion sld --kl-variant official --dedup-prob 0.5 --unit-substitution-prob 0.1",
    "packed": "--criterion sld --pack-utterances --mixed-lengths --ctc-weight 0",
    "prefix": "--criterion masked_ce --prefix-lm",
    "ctc": "--criterion sld --ctc-weight 0.3",
    "mixture": f"--criterion sld --task-mix {MIX} --input-mask-prob 0.3 --eval-wer",
}
DECODING = {
    "sld": {
        "beam": "--beam 3 --nbest 2 --max-len-a 0 --max-len-b 8", "ragged": "--beam 4 --max-len-a 0.5 --max-len-b 1",
        "lenpen": "--beam 2 --lenpen 0.5 --no-repeat-ngram-size 2 --max-len-b 9 --min-len 2",
        "greedy": "--beam 1 --unnormalized --max-len-b 9", "batches": "--beam 3 --max-len-b 8 --batch-size 2",
    },
    "mixture": {
        "asr": "--beam 3 --max-len-b 8", "tts": "--decode-task tts --beam 2 --max-len-b 12",
        "slm": "--decode-task slm --beam 2 --max-len-b 9 --prompt-fraction 0.4", "lm": "--decode-task lm --max-len-b 5",
    },
}  # fmt: skip
MODEL = (
    "--arch joint_lm_tiny --decoder-layers 2 --decoder-embed-dim 32 --decoder-ffn-embed-dim 64 --tokens-per-sample 64 "
    "--optimizer adam --lr 0.003 --max-tokens 130 --num-workers 0 --no-epoch-checkpoints --log-format json "
    "--log-interval 1 --dropout 0 --attention-dropout 0 --user-dir sld_user_dir --task speech_unit_lm"
)


def data_of(name: str) -> Path:
    return DATA / ("mixture" if name == "mixture" else "asr")


def parsed(parser, words: list):
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, words))


# -- losses ----------------------------------------------------------------------------------------------------
def losses() -> dict:
    """Loss, gradients' norms and metrics of every objective, in float64, fused and plain, over two batches."""
    found = {}
    for setting, extra in SETTINGS.items():
        for name, objective in OBJECTIVES.items():
            if "ctc" in objective and setting in ("packed", "mixture"):
                continue
            for form in ("fused", "plain"):
                found[f"{setting} {name} {form}"] = one_loss(
                    data_of(setting), f"{objective} --loss-form {form} {extra}"
                )
    return found


def one_loss(data: Path, words: str) -> dict:
    cfg = parsed(options.get_training_parser(), [str(data), *MODEL.split(), *words.split(), "--update-freq", "2"])
    torch.manual_seed(5)
    task = tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model).double().train()
    criterion = task.build_criterion(cfg.criterion).train()
    task.load_dataset("train")
    epoch = task.get_batch_iterator(
        task.dataset("train"), max_tokens=130, max_positions=64, seed=1, required_batch_size_multiple=1
    )
    group = next(iterators.GroupedIterator(epoch.next_epoch_itr(shuffle=True), 2))
    result = {"tokens": [int(sample["ntokens"]) for sample in group], "loss": [], "sample_size": []}
    logs = []
    for sample in group:
        loss, sample_size, log = criterion(model, sample)
        loss.backward()
        result["loss"].append(loss.item())
        result["sample_size"].append(float(sample_size))
        logs.append(log)
    result["gradients"] = {name: p.grad.norm().item() for name, p in model.named_parameters() if p.grad is not None}
    with metrics.aggregate(new_root=True) as aggregator:
        criterion.reduce_metrics(logs)
    result["metrics"] = dict(aggregator.get_smoothed_values())
    with torch.no_grad():
        criterion.eval()
        result["valid"] = criterion(model, group[0])[0].item()
    return result


# -- training --------------------------------------------------------------------------------------------------
def training(work: Path) -> dict:
    """What six updates log and leave, for several settings."""
    found = {}
    for name, words in RUNS.items():
        save = work / name
        arguments = f"{data_of(name)} {MODEL} {words} --max-update 6 --save-dir {save} --seed 3"
        log = quiet(fairseq_train.cli_main, ["fairseq-train", *arguments.split()])
        lines = [json.loads(m[1]) for m in re.finditer(r"(?:train_inner|valid)\s\| (\{.*\})$", log, re.M)]
        state = torch.load(save / "checkpoint_last.pt", weights_only=True)
        found[name] = {
            "log": [{k: v for k, v in line.items() if k not in TIMES} for line in lines],
            "weights": {k: v.double().norm().item() for k, v in state["model"].items() if v.is_floating_point()},
            "task_state": state["task_state"],
        }
    return found


TIMES = {
    "wps", "ups", "wpb", "wall", "train_wall", "gb_free", "cuda_gb_allocated", "cuda_gb_reserved", "valid_wps",
    "train_wps", "train_ups", "epoch", "valid_wpb", "clip", "loss_scale",
}  # fmt: skip


def quiet(main, words: list) -> str:
    """Run one of fairseq's commands in this process; returns what it logged."""
    import logging

    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s | %(message)s"))
    logging.getLogger().addHandler(handler)
    former, sys.argv = sys.argv, words
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            main()
    finally:
        sys.argv = former
        logging.getLogger().removeHandler(handler)
        metrics.reset()
    return stream.getvalue()


# -- decoding --------------------------------------------------------------------------------------------------
def decoding(work: Path) -> dict:
    """Hypotheses and scores of the committed checkpoints."""
    found = {}
    for model, cases in DECODING.items():
        for case, words in cases.items():
            out = work / f"{model}-{case}"
            arguments = (
                f"{data_of(model)} --user-dir sld_user_dir --task speech_unit_lm --path {DATA}/{model}.pt "
                f"--gen-subset test --results-path {out} --scoring wer {words}"
            )
            quiet(fairseq_generate.cli_main, ["fairseq-generate", *arguments.split()])
            lines = (out / "generate-test.txt").read_text(encoding="utf-8").splitlines()
            lines = [line for line in lines if re.match(r"[STHDP]-\d", line)]
            found[f"{model} {case}"] = [split_numbers(line) for line in sorted(lines, key=by_id)]
    return found


def by_id(line: str) -> tuple:
    return int(re.match(r".-(\d+)", line)[1]), "STHDP".index(line[0])


def split_numbers(line: str) -> list:
    """A line of fairseq-generate, scores as numbers."""
    kind, *rest = line.split("\t")
    if kind[0] in "HD":
        return [kind, float(rest[0]), *rest[1:]]
    if kind[0] == "P":
        return [kind, [float(x) for x in rest[0].split()]]
    return [kind, *rest]


# -- files -----------------------------------------------------------------------------------------------------
def files(work: Path) -> dict:
    """Audio to units to vocabularies by this package's commands; memory maps of the committed manifests."""
    audio = work / "audio"
    audio.mkdir()
    for i in range(8):
        tone = np.concatenate([tones(WORDS.index(word), i) for word in text_of(i).split()])
        soundfile.write(audio / f"r{i}.wav", tone, 8000)
        (audio / f"r{i}.txt").write_text(text_of(i))
    stage("audio", "--root", audio, "--out", work / "audio.tsv", "--speeds", "1.0", "0.9")
    stage("kmeans", "--audio", work / "audio.tsv", "--out", work / "kmeans.npz", "--sample-rate-hz", 8000, "--stack", 4,
          "--num-units", 8, "--device", "cpu")  # fmt: skip
    made = work / "made"
    stage("units", "--audio", work / "audio.tsv", "--kmeans", work / "kmeans.npz", "--out", made / "train.tsv",
          "--deduplicate", "--header", "license=none")  # fmt: skip
    found: dict = {
        "audio": (work / "audio.tsv").read_text().replace(str(audio), "AUDIO"),
        "units": (made / "train.tsv").read_text(),
        "kmeans": np.load(work / "kmeans.npz")["centroids"].astype(float).round(4).tolist(),
        "committed kmeans": hashlib.sha256((DATA / "kmeans.npz").read_bytes()).hexdigest(),
    }
    for kind in (["char"], ["word"], ["sentencepiece", "--text-vocab-size", "16"], ["word", "--tasks", "asr,tts"]):
        target = work / "_".join(kind)
        shutil.copytree(made, target)
        stage("vocab", "--data", target, "--text-tokenizer", *kind)
        found["vocab " + " ".join(kind)] = [(target / name).read_text() for name in ("dict.txt", "vocab.json")]
    found["memory map"] = memory_map(work)
    return found


def text_of(i: int) -> str:
    return " ".join(WORDS[(i + j) % len(WORDS)] for j in range(1 + i % 3))


def tones(word: int, voice: int) -> np.ndarray:
    time = np.arange(3200) / 8000
    rng = np.random.default_rng(word + 10 * voice)
    return 0.3 * np.sin(2 * np.pi * (300 + 250 * word + 7 * voice) * time) + 0.01 * rng.standard_normal(3200)


def stage(name: str, *arguments: object) -> None:
    script = ROOT / "scripts" / f"{STAGES[name]}.py"
    command = [str(script)] if script.is_file() else ["-m", "sld_user_dir", name]
    done = subprocess.run(
        [sys.executable, *command, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")


def memory_map(work: Path) -> dict:
    """Arrays of the memory map that opening a manifest makes."""
    data = work / "mapped"
    shutil.copytree(data_of("asr"), data)
    shutil.rmtree(data / ".mmap", ignore_errors=True)
    cfg = parsed(options.get_training_parser(), [str(data), *MODEL.split(), "--criterion", "sld"])
    tasks.setup_task(cfg.task).load_dataset("valid")
    maps = sorted((data / ".mmap").rglob("*.bin"))
    return {str(path.relative_to(data / ".mmap")): hashlib.sha256(path.read_bytes()).hexdigest() for path in maps}


def record_inputs() -> None:
    """Write the fixed inputs: manifests, vocabularies, k-means; needs the code of the commit above."""
    from sld_user_dir.data.manifest import UnitProvenance, Utterance, write_manifest
    from sld_user_dir.text_tokenizers import WordTokenizer
    from sld_user_dir.vocab import JointVocabulary

    rng = np.random.default_rng(7)
    centroids = rng.standard_normal((NUM_UNITS, 3)).astype(np.float32)
    DATA.mkdir(exist_ok=True)
    metadata = {"format": "speech-unit-kmeans/1", "features": {"features": "mfcc"}}
    np.savez(DATA / "kmeans.npz", centroids=centroids, metadata=np.array(json.dumps(metadata)))
    made_by = UnitProvenance("synthetic", None, 25.0, "unstated", NUM_UNITS)
    for split, count in {"train": 30, "valid": 7, "test": 11}.items():
        utterances = []
        for i in range(count):
            words = rng.integers(0, len(WORDS), size=rng.integers(1, 5))
            units = np.concatenate([[2 * w, 2 * w, 2 * w + 1, 10 + i % 2] for w in words]).astype(np.int32)
            utterances.append(Utterance(f"{split}-{i}", units, " ".join(WORDS[w] for w in words)))
        for name in ("asr", "mixture"):
            write_manifest(DATA / name / f"{split}.tsv", utterances, made_by, {"license": "none"})
    JointVocabulary.build([" ".join(WORDS)], NUM_UNITS, WordTokenizer()).save(DATA / "asr")
    JointVocabulary.build([" ".join(WORDS)], NUM_UNITS, WordTokenizer(), tasks=["asr", "tts", "slm", "lm"]).save(
        DATA / "mixture"
    )


def record_checkpoints(work: Path) -> None:
    """Keep the trained checkpoints of two runs, as fairseq writes them, and a memory map as it is made."""
    for name in DECODING:
        path = work / name / "checkpoint_last.pt"
        checkpoint_utils.load_checkpoint_to_cpu(str(path))
        shutil.copyfile(path, DATA / f"{name}.pt")
    shutil.copytree(
        data_of("asr") / ".mmap", DATA / "memory_map", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.lock")
    )


def main() -> None:
    out, record = Path(sys.argv[1]), "--record" in sys.argv[2:]
    os.chdir(ROOT)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in ("training", "decoding"):
            (work / name).mkdir()
        if record:
            record_inputs()
        found = {"training": training(work / "training"), "losses": losses()}
        if record:
            record_checkpoints(work / "training")
        found.update(decoding=decoding(work / "decoding"), files=files(work))
    out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
