"""Each format written, recognised, read and compared, and a table of what came back."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sld_user_dir.interop.detection import FEATURES, detect
from sld_user_dir.interop.exporting import export_units
from sld_user_dir.interop.importing import import_units
from sld_user_dir.interop.stated_provenance import Statement
from sld_user_dir.interop.unit_format import UnitFormat, unit_formats
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.unit_manifest import Manifest, Utterance, read_manifest, write_manifest

ROOT = "/corpora/digits"
NUM_UNITS = 100


@dataclass(frozen=True)
class RoundTrip:
    """What one format did to a manifest."""

    format: UnitFormat
    detected: bool
    kept: list[str]
    lost: list[str]


def sample_manifest(path: Path, deduplicated: bool) -> None:
    """Two speakers' digits, with all that any format can hold."""
    rows = []
    for i, text in enumerate(("three four", "zwölf", "nine")):
        units, durations = np.array([71, 12, 57, 12 + i]), np.array([1, 4, 2, 3])
        name = f"george/{i}_george"
        audio = f"{name}.flac"
        fields = {
            "speaker": "george",
            "path": f"{ROOT}/{audio}",
            "audio": audio,
            "n_samples": str(3400 + i),
            "src_audio": audio,
            "src_n_frames": str(10 + i),
            "f0": "120 0 130 125",
            "duration": f"{0.225 + i}",
            "subword": "".join(chr(256 + u) for u in units),
            "subword_idx": f"[5, {i}]",
        }
        if not deduplicated:
            units, fields["f0"] = np.repeat(units, durations), " ".join(["120"] * 10)
            fields["subword"] = "".join(chr(256 + u) for u in units)
        rows.append(Utterance(name, units.astype(np.int32), text, durations if deduplicated else None, fields))
    made_by = UnitProvenance("mfcc-39", None, 50.0, "sha256:00", NUM_UNITS, deduplicated)
    write_manifest(path, rows, made_by, {"audio_root": ROOT, "unit_key": f"hubert_km{NUM_UNITS}"})


def round_trip(kind: UnitFormat, folder: Path) -> RoundTrip:
    """Manifest → format → manifest."""
    before_path, after_path = folder / "before.tsv", folder / "after.tsv"
    sample_manifest(before_path, kind.deduplicated is True or (kind.deduplicated is None and "durations" in kind.holds))
    exported = export_units(before_path, folder / f"units{kind.suffix}", kind.name)
    main = exported.files[0]
    by_name = {path.name: path for path in exported.files}
    import_units(
        [main],
        after_path,
        format_name=kind.name,
        text=by_name.get(main.name + ".text"),
        statement=Statement(provenance=by_name[main.name + ".provenance.json"]),
    )
    before, after = read_manifest(before_path), read_manifest(after_path)
    kept = [name for name in before.columns if _same(before, after, name)]
    same = before.provenance == after.provenance and before.units.tolist() == after.units.tolist()
    wanted = {"id", "units", "text", *kind.holds}
    lost = [name for name in before.columns if name in wanted and name not in kept]
    return RoundTrip(kind, detect(main) is kind, kept, lost + ([] if same else ["units or provenance"]))


def _same(before: Manifest, after: Manifest, name: str) -> bool:
    return name in after.columns and before.column(name) == after.column(name)


def format_table() -> str:
    """Markdown; every cell of the last three columns was found by running the round trip."""
    lines = [
        "| format | what | read | written | detected | round trip | survives besides id, units and text |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind in unit_formats().values():
        with tempfile.TemporaryDirectory() as folder:
            done = round_trip(kind, Path(folder))
        more = [name for name in done.kept if name not in ("id", "units", "text")]
        result = "lost: " + ", ".join(done.lost) if done.lost else "same"
        cells = [f"`{kind.name}`", kind.what.replace("|", r"\|"), "yes", "yes", "yes" if done.detected else "no"]
        lines.append("| " + " | ".join([*cells, result, ", ".join(more) or "–"]) + " |")
    features = [f"`{FEATURES.name}`", FEATURES.what, "yes", "no: frames", "yes", "–", ", ".join(sorted(FEATURES.holds))]
    return "\n".join([*lines, "| " + " | ".join(features) + " |"]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(format_table())
