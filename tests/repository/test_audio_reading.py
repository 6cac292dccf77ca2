"""Audio is opened in one place, `sld_user_dir/features/audio_file.py`, which decides whether a recording is whole."""

import ast
from pathlib import Path
from typing import List

import pytest
from support.imports import PACKAGE
from support.miniature import ROOT

OWNER = PACKAGE / "features" / "audio_file.py"
LIBRARIES = {"soundfile", "torchaudio", "librosa", "wave", "aifc", "audioread", "pydub", "av", "soundcard"}
OTHERS = {
    PACKAGE / "clustering" / "stability.py": "codes and decodes in memory what was read",
    PACKAGE / "corpora" / "connected_digits.py": "writes",
    PACKAGE / "view" / "page.py": "writes",
    ROOT / "benchmarks" / "kmeans.py": "writes",
    ROOT / "benchmarks" / "long_stream.py": "writes",
    ROOT / "benchmarks" / "pauses.py": "writes",
    ROOT / "scripts" / "check_environment.py": "looks whether it imports",
}


def audio_libraries(source: str) -> List[str]:
    """Libraries that read audio which a module imports, at its top or within a function."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return sorted({one for one in found if one.split(".")[0] in LIBRARIES or one.startswith("scipy.io")})


def reading_calls(source: str) -> List[str]:
    """Functions of soundfile other than `write` that a module uses on anything but a buffer."""
    return [
        f"{node.lineno}: {node.func.attr}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and getattr(node.func.value, "id", "") == "soundfile"
        and node.func.attr != "write"
        and getattr(node.args[0] if node.args else None, "id", "") != "buffer"
    ]


def without_length(source: str, column: str = "n_samples") -> List[int]:
    """Lines that load a recording of a manifest and do not tell what length, or other column, the manifest says."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", getattr(node.func, "attr", "")) in ("load_audio", "read_audio", "audio_blocks")
        and node.args
        and isinstance(node.args[0], ast.Attribute)
        and not any(f"'{column}'" in ast.dump(one) for one in [*node.args[1:], *node.keywords])
    ]


def sources() -> List[Path]:
    folders = (PACKAGE, ROOT / "scripts", ROOT / "benchmarks")
    return [path for folder in folders for path in sorted(folder.rglob("*.py")) if path != OWNER]


def test_audio_is_opened_by_its_owner():
    users = {path for path in sources() if audio_libraries(path.read_text(encoding="utf-8"))}
    assert users <= OTHERS.keys(), (
        "read audio by sld_user_dir.features.waveform (load_audio, read_audio, audio_blocks, probe)"
    )
    for path in users:
        assert reading_calls(path.read_text(encoding="utf-8")) == [], path


@pytest.mark.parametrize("column", ["n_samples", "sample_rate"])
def test_the_length_and_rate_of_a_manifest_go_with_its_recording(column):
    checked = {  # no manifest has named these recordings yet
        PACKAGE / "corpora" / "speech_commands.py",
        PACKAGE / "commands" / "listen.py",
    }
    wrong = {path: without_length(path.read_text(encoding="utf-8"), column) for path in PACKAGE.rglob("*.py")}
    assert {path for path, lines in wrong.items() if lines} <= checked


@pytest.mark.parametrize(
    "code, libraries",
    [
        ("import soundfile", ["soundfile"]),
        ("def read():\n    import torchaudio.functional", ["torchaudio.functional"]),
        ("from scipy.io import wavfile", ["scipy.io", "scipy.io.wavfile"]),
        ("import soxr", []),
    ],
)
def test_what_counts_as_an_audio_library(code, libraries):
    assert audio_libraries(code) == libraries


@pytest.mark.parametrize(
    "code, wrong",
    [
        ("soundfile.read(path)", True),
        ("soundfile.info(path)", True),
        ("soundfile.SoundFile(path)", True),
        ("soundfile.read(buffer)", False),
        ("soundfile.write(path, wave, 8000)", False),
    ],
)
def test_what_counts_as_reading(code, wrong):
    assert bool(reading_calls(code)) is wrong


@pytest.mark.parametrize(
    "code, wrong",
    [
        ("load_audio(one.path, rate, one.speed)", True),
        ("load_audio(one.path, rate, one.speed, one.n_samples)", False),
        ("read_audio(one.path, n_samples=3)", False),
        ("load_audio(path, rate)", False),
    ],
)
def test_what_counts_as_a_length_untold(code, wrong):
    assert bool(without_length(code)) is wrong
