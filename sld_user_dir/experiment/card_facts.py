"""What a model card states: read from the checkpoint, the data directory and decoded test sets, never typed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Sequence

from sld_user_dir.errors import InputError
from sld_user_dir.files import iter_lines, sha256_of
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.unit_manifest import Manifest, ManifestError, read_manifest
from sld_user_dir.manifests.unit_text import format_numbers
from sld_user_dir.scoring.hypotheses import DecodedUtterance, HypothesisError, read_generate
from sld_user_dir.scoring.rates import Report, score
from sld_user_dir.stored_checkpoint import read_stored
from sld_user_dir.vocabulary.joint import JointVocabulary

_DECODED = re.compile(r"^Generate (\S+) with beam=(\d+):")
_NO_PARAMETERS = (".version", "._float_tensor")
"""ends of the names under which fairseq stores what is no parameter"""


@dataclass(frozen=True)
class Trained:
    """A checkpoint of the task, without its weights."""

    file: str
    cfg: dict[str, Any]
    parameters: int
    updates: int
    seconds: Optional[float]
    """of training, resumed parts included"""
    vocabulary: Optional[str]
    provenance: Optional[UnitProvenance]


@dataclass(frozen=True)
class Split:
    """One manifest, as it is now."""

    name: str
    role: str
    utterances: int
    units: int
    words: int
    speakers: Optional[int]
    hours: Optional[float]
    license: Optional[str]
    attribution: Optional[str]
    sha256: str


@dataclass(frozen=True)
class Evaluated:
    """One decoded test set, scored."""

    test_set: str
    file: str
    sha256: str
    beam: Optional[int]
    report: Report


@dataclass(frozen=True)
class Facts:
    """All that a card says."""

    model: Trained
    vocab: JointVocabulary
    splits: Sequence[Split]
    missing: Sequence[str]
    """splits of the training whose manifests are not in the data directory"""
    results: Sequence[Evaluated]


def gather(checkpoint: Path, data: Path, results: Sequence[Path] = ()) -> Facts:
    """Read and check everything.

    Args:
        data: data directory with the vocabulary and manifests of the training.
        results: outputs of fairseq-generate with this checkpoint on test sets of `data`.

    Raises:
        ValueError: names the file and the remedy: not a checkpoint of this task, data of another vocabulary
            or of other units, a result that was not decoded from the manifest of its test set.
    """
    model, vocab = read_checkpoint(checkpoint), JointVocabulary.load(data)
    if model.vocabulary != vocab.fingerprint:
        raise InputError(
            checkpoint,
            f"its vocabulary is {model.vocabulary}, but that of {data} is {vocab.fingerprint}",
            "name the data directory that it was trained with",
        )
    subsets = model.cfg["dataset"]
    roles = dict.fromkeys(subsets["valid_subset"].split(","), "validation")
    roles = {subsets["train_subset"]: "training", **roles}
    missing = [name for name in roles if not (data / f"{name}.tsv").is_file()]
    tests = {_test_set(path): path for path in results}
    if len(tests) < len(results):
        raise InputError(f"{results[-1]}", "two results of one test set", "give one for each")
    roles.update(dict.fromkeys(tests, "test"))
    found = {name: _manifest(data / f"{name}.tsv", model) for name in roles if name not in missing}
    splits = [_split(manifest, name, roles[name]) for name, manifest in found.items()]
    return Facts(model, vocab, splits, missing, [_evaluate(path, found[name]) for name, path in tests.items()])


def read_checkpoint(path: Path) -> Trained:
    """A checkpoint's configuration and what it remembers; weights are mapped and only counted.

    Raises:
        FileNotFoundError: no such file.
        InputError: no checkpoint of the task `speech_unit_lm` that torch reads without running code.
    """
    state = read_stored(path)
    cfg, remembered = state.get("cfg") or {}, state.get("task_state") or {}
    if (cfg.get("task") or {}).get("_name") != "speech_unit_lm":
        raise InputError(path, "no checkpoint that fairseq-train wrote for --task speech_unit_lm", "name one")
    provenance = remembered.get("unit_provenance")
    tensors = {t.data_ptr(): t.numel() for name, t in state["model"].items() if not name.endswith(_NO_PARAMETERS)}
    return Trained(
        Path(path).name,
        cfg,
        sum(tensors.values()),
        state["optimizer_history"][-1]["num_updates"],
        state["extra_state"].get("previous_training_time"),
        remembered.get("vocabulary"),
        None if provenance is None else UnitProvenance(**provenance),
    )


def _manifest(path: Path, model: Trained) -> Manifest:
    manifest = read_manifest(path)
    if model.provenance is not None and manifest.provenance.fingerprint != model.provenance.fingerprint:
        raise ManifestError(
            path,
            f"its units are {manifest.provenance.describe()}, but {model.file} was trained on "
            f"{model.provenance.describe()}",
            "name the data directory of the training",
        )
    return manifest


def _split(manifest: Manifest, name: str, role: str) -> Split:
    header = manifest.header
    return Split(
        name,
        role,
        len(manifest),
        len(manifest.units),
        sum(len(text.split()) for text in manifest.column("text")),
        len(set(manifest.column("speaker"))) if "speaker" in manifest.columns else None,
        _hours(manifest),
        header.get("license"),
        header.get("attribution"),
        sha256_of(manifest.path),
    )


def _hours(manifest: Manifest) -> Optional[float]:
    """Of audio, where units tell it."""
    made_by = manifest.provenance
    if made_by.frame_rate_hz <= 0 or made_by.subword is not None:
        return None
    frames = len(manifest.units)
    if made_by.deduplicated:
        if "durations" not in manifest.columns:
            return None
        frames = sum(int(u.durations.sum()) for u in manifest if u.durations is not None)
    return frames / made_by.frame_rate_hz / 3600


def _test_set(path: Path) -> str:
    return re.sub(r"^generate-", "", path.stem)


def _evaluate(path: Path, manifest: Manifest) -> Evaluated:
    records = read_generate(path, manifest)
    _check_sources(path, records, manifest)
    return Evaluated(_test_set(path), path.name, sha256_of(path), _beam(path), score(records, worst=0))


def _check_sources(path: Path, records: Sequence[DecodedUtterance], manifest: Manifest) -> None:
    for record in records:
        if record.source is not None and record.source != format_numbers(manifest.units_of(record.row)):
            raise HypothesisError(
                path,
                f"S-{record.row} are other units than those of {record.id!r} at "
                f"{manifest.path}:{manifest.line(record.row)}",
                "decode this manifest, or name the one that was decoded",
            )


def _beam(path: Path) -> Optional[int]:
    """From the line that ends fairseq-generate's output; None where there is none."""
    found = [match for line in iter_lines(path) if (match := _DECODED.match(line))]
    return int(found[-1][2]) if found else None
