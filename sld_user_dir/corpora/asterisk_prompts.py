"""Asterisk's English telephone prompts, as Debian packages them: one voice, 8 kHz, 25 minutes.

`apt-get download` and `dpkg -x` fetch and unpack two packages, without root and without installing
anything. Transcripts are lines `name: text`, names being paths below the folder of sounds without
their ending; what stands in brackets is a remark, and a prompt with nothing else is not speech.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from sld_user_dir.corpora.connected_digits import WORDS
from sld_user_dir.errors import InputError, line_of
from sld_user_dir.features.waveform import probe
from sld_user_dir.files import atomic_path, decode_lines, publish_directory, scratch_directory
from sld_user_dir.manifests.audio_manifest import Recording

PACKAGES = ("asterisk-core-sounds-en-wav", "asterisk-core-sounds-en")
LICENSE = "CC BY-SA 3.0"
ATTRIBUTION = (
    "Asterisk core sounds, English, recorded by Allison Smith (www.theivrvoice.com), financed by Digium, Inc.; "
    "from Debian's packages " + ", ".join(PACKAGES)
)
SPEAKER = "allison"
TRANSCRIPTS = "core-sounds-en.txt.gz"
OTHERWISE = "or name a folder of recordings: make demo-audio AUDIO=folder"
_REMARK = re.compile(r"\[[^]]*\]|<[^>]*>|\([^)]*\)")


class CorpusError(InputError):
    """The prompts cannot be had or read."""


@dataclass(frozen=True)
class Prompts:
    """What a tree of sounds and its transcripts hold."""

    root: Path
    spoken: list[tuple[str, str]]
    """name and text of each prompt that is speech and there, in the transcripts' order"""
    not_speech: list[str]
    """names whose text is but a remark: tones, silence"""
    missing: list[str]
    """names with a text and without a file"""
    untranscribed: list[str]
    """files without a line"""


def fetch(folder: Path) -> Path:
    """Download and unpack the packages into `folder`, unless that has been done.

    Returns:
        the folder of the unpacked tree.

    Raises:
        CorpusError: no apt, no network, no package lists.
    """
    tree = folder / "unpacked"
    if tree.exists():
        return tree
    for program in ("apt-get", "dpkg"):
        if shutil.which(program) is None:
            raise CorpusError(
                None, f"the prompts come by {program}, which this machine lacks", f"take a Debian, {OTHERWISE}"
            )
    folder.mkdir(parents=True, exist_ok=True)
    _download(folder)
    with scratch_directory(folder) as aside:
        for package in PACKAGES:
            for archive in sorted(folder.glob(f"{package}_*.deb")):
                _run(["dpkg", "-x", archive.name, aside.name], folder)
        publish_directory(aside, tree)
    return tree


def _download(folder: Path) -> None:
    command = ["apt-get", "download", *PACKAGES]
    try:
        _run(command, folder)
    except CorpusError:
        if os.geteuid() != 0:
            raise
        _run(["apt-get", "update"], folder)  # a fresh container has no package lists
        _run(command, folder)


def _run(command: Sequence[str], folder: Path) -> None:
    print("$", " ".join(command), flush=True)
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip().rpartition("\n")[2] or "no reason given"
        raise CorpusError(
            None,
            f"{' '.join(command)} failed ({said})",
            f"check the network, bring apt's lists up to date (apt-get update, as root), {OTHERWISE}",
        )


def read_prompts(tree: Path) -> Prompts:
    """Sort the transcripts' names into those that are speech and there, and the others.

    Args:
        tree: holds `core-sounds-en.txt.gz` and a folder of .wav files somewhere below.

    Raises:
        CorpusError: no transcripts, no sounds, a line that is not `name: text`.
    """
    listings = sorted(tree.rglob(TRANSCRIPTS))
    if not listings:
        raise CorpusError(tree, f"no {TRANSCRIPTS} below it", "remove the folder and fetch again")
    texts = _texts(listings[0])
    root = _sounds(tree, texts)
    files = {str(path.relative_to(root).with_suffix("")) for path in root.rglob("*.wav")}
    spoken = {name: words for name, text in texts.items() if (words := _spoken(text))}
    return Prompts(
        root=root,
        spoken=[(name, text) for name, text in spoken.items() if name in files],
        not_speech=[name for name in texts if name not in spoken],
        missing=[name for name in spoken if name not in files],
        untranscribed=sorted(files - texts.keys()),
    )


def write_table(prompts: Prompts, path: Path) -> None:
    """The table that sld audio reads: columns path and text."""
    with atomic_path(path) as aside, open(aside, "w", encoding="utf-8", newline="\n") as out:
        out.write("path\ttext\n")
        out.writelines(f"{name}.wav\t{text}\n" for name, text in prompts.spoken)


def digit_prompts(prompts: Prompts) -> list[Recording]:
    """The ten digits, one recording each: a voice, a studio and a purpose that no other corpus here has.

    Raises:
        CorpusError: a digit is missing, or its transcript is another word.
    """
    texts, found = dict(prompts.spoken), []
    for digit, word in enumerate(WORDS):
        name = f"digits/{digit}"
        if texts.get(name, "").lower() != word:
            said = repr(texts[name]) if name in texts else "nothing"
            raise CorpusError(prompts.root, f"{name} says {said}, not {word!r}", "remove the folder and fetch again")
        path = prompts.root / f"{name}.wav"
        about = probe(path)
        identity = f"test_asterisk-{digit}"
        found.append(
            Recording(identity, path, about.n_samples, about.sample_rate_hz, word, SPEAKER, fields={"digits": name})
        )
    return found


def _texts(path: Path) -> dict[str, str]:
    texts = {}
    with gzip.open(path) as raw:
        for number, line in enumerate(decode_lines(raw, path, CorpusError), 1):
            if not line.strip() or line.startswith(";"):
                continue
            name, colon, text = line.partition(":")
            if not colon or not name.strip():
                raise CorpusError(line_of(path, number), "not 'name: text'", "remove the folder and fetch again")
            texts[name.strip()] = " ".join(text.split())
    return texts


def _spoken(text: str) -> str:
    return " ".join(_REMARK.sub(" ", text).split())


def _sounds(tree: Path, texts: dict[str, str]) -> Path:
    """The folder that the names count from: the one below which most of them are."""
    candidates = {path.parent for path in tree.rglob("*.wav")}
    if not candidates:
        raise CorpusError(tree, "no .wav below it", "remove the folder and fetch again")
    return max(sorted(candidates), key=lambda folder: sum((folder / f"{name}.wav").exists() for name in texts))
