"""Tells whether the running Python's environment will do; prints one line per problem, with its remedy.

    .venv/bin/python scripts/check_environment.py

Standard library only, so that it can report on an environment in which nothing else works.
"""

import importlib
import importlib.metadata
import importlib.util
import logging
import re
import sys
from typing import Dict, List

SUPPORTED = ((3, 10), (3, 11), (3, 12))
# Compiled parts of fairseq are named one by one: `import fairseq` alone does not load them.
MODULES = (
    *("torch", "numpy", "fairseq", "fairseq.data.data_utils_fast", "fairseq.data.token_block_utils_fast"),
    *("fairseq.libbleu", "simple_parsing", "faiss", "soundfile", "soxr", "kaldi_native_fbank", "sentencepiece"),
    *("editdistance", "rapidfuzz", "matplotlib", "tensorboardX"),
)


def python_problems() -> List[str]:
    if sys.version_info[:2] in SUPPORTED:
        return []
    return [f"Python {sys.version.split()[0]} will not do: use 3.10, 3.11 or 3.12 (make setup PYTHON=python3.11)"]


def faiss_problems() -> List[str]:
    """faiss-cpu and faiss-gpu install the same files: the later one overwrites the earlier one in silence."""
    names = {re.sub(r"[-_.]+", "-", d.metadata["Name"] or "").lower() for d in importlib.metadata.distributions()}
    found = sorted(name for name in names if re.fullmatch(r"faiss-(cpu|gpu.*)", name))
    if len(found) < 2:
        return []
    everything = " ".join(found)
    return [f"{' and '.join(found)} overwrite each other: pip uninstall -y {everything}; pip install one of them"]


def torchaudio_problems() -> List[str]:
    """A torchaudio that does not load also breaks `from transformers import GPT2LMHeadModel`."""
    if importlib.util.find_spec("torchaudio") is None:
        return []
    try:
        importlib.import_module("torchaudio")
    except Exception as error:  # OSError from the loader, ImportError, RuntimeError: all the same to us
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return [f"torchaudio does not import beside this torch: pip uninstall -y torchaudio ({reason})"]
    return []


def import_problems() -> List[str]:
    failures: Dict[str, str] = {}
    for name in MODULES:
        try:
            importlib.import_module(name)
        except Exception as error:
            failures[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    return [f"{name} does not import: run `make clean setup` ({why})" for name, why in failures.items()]


def main() -> int:
    logging.disable(logging.WARNING)  # importing fairseq turns everyone's debug messages on
    problems = python_problems() + faiss_problems() + torchaudio_problems()
    problems = problems or import_problems()  # those explain failing imports better than the imports do
    for problem in problems:
        print(f"environment: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
