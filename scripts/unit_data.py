"""From audio manifests to a data directory that is committed: what the `make_*` scripts of the repository share.

Each step is a command of `sld`, shown as it runs, as any corpus would go through it.
"""

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import List, Mapping, Optional, Sequence

from sld_user_dir.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
ENCODER = "openai/whisper-tiny.en"  # the name in the k-means file; the weights are linked under it in WORK
ENCODER_CREDIT = (
    "made by the encoder of Whisper tiny.en (OpenAI, MIT license), which was trained on transcribed speech: supervised"
)


@dataclass(frozen=True)
class UnitKind:
    """The units of a data directory."""

    name: str
    num_units: int
    kmeans_options: Sequence[object]
    units_options: Sequence[object] = ()
    features: Optional[str] = None
    """the encoder's name, for the headers"""
    credit: str = ""
    """of the encoder"""

    def header(self, license_name: str, attribution: str) -> List[str]:
        """Entries of a manifest's header, for a corpus with this license and attribution."""
        credits = "; ".join(text for text in (attribution, self.credit) if text)
        named = [f"features={self.features}"] if self.features else []
        return [f"license={license_name}", f"attribution={credits}", *named]


def run(work: Path, command: str, *arguments: object) -> None:
    """Run one of `sld`'s commands in a process of its own, in `work`, and show it."""
    words = list(map(str, arguments))
    print("$ sld", command, shlex.join(words), flush=True)
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-m", "sld_user_dir", command, *words], check=True, cwd=work, env=environment)


def link_encoder(whisper: Path, work: Path) -> None:
    """Put the weights where `ENCODER`, read as a path from `work`, leads to: no file names a folder of this machine.

    Raises:
        InputError: no model there.
    """
    if not (whisper / "config.json").is_file():
        raise InputError(whisper, "no model's directory (it has no config.json)", f"save {ENCODER} there")
    link = work / ENCODER
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(whisper.absolute(), target_is_directory=True)


def make_data(
    kind: UnitKind,
    audio: Mapping[str, Path],
    headers: Mapping[str, List[str]],
    tokenizer: str,
    work: Path,
    made: Path,
    out: Path,
) -> None:
    """K-means on the training set, units of every set, vocabulary.

    Args:
        audio: the audio manifest of each set.
        headers: entries of the header of each set.
        tokenizer: of the text.
        made: the directory in which they are made; what belongs to the data is copied to `out`.
    """
    kmeans = made / "kmeans.npz"
    options = [*kind.kmeans_options, "--num-units", kind.num_units]
    run(work, "kmeans", "--audio", audio["train"], "--out", kmeans, *options)
    for subset, manifest in audio.items():
        names = ["--audio", manifest, "--kmeans", kmeans, "--out", made / f"{subset}.tsv"]
        run(work, "units", *names, *kind.units_options, "--header", *headers[subset])
    run(work, "vocab", "--data", made, "--text-tokenizer", tokenizer)
    out.mkdir(parents=True, exist_ok=True)
    for name in [*(f"{subset}.tsv" for subset in audio), "kmeans.npz", "dict.txt", "vocab.json"]:
        shutil.copyfile(made / name, out / name)
