"""The inputs of one reader: changed at random, or where atheris is installed guided by what code they reach."""

import os
import shutil
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Callable, NoReturn

from support.fuzz_case import GOOD, CaseFolder, try_one
from support.fuzz_mutations import mutated

LONGEST_BYTES = 1 << 16
"""of an input that atheris makes"""


class Loop:
    """Tries the inputs of one reader.

    Args:
        case: the reader and its folder.
        inputs: how many.
        seed: of the first.
        kept: folder in which those that are neither read nor refused are kept, the first of each kind.

    Attributes:
        counts: of each outcome.
    """

    def __init__(self, case: CaseFolder, inputs: int, seed: int, kept: Path):
        self.case, self.inputs, self.seed, self.kept = case, inputs, seed, kept
        self.name = case.reader.name.replace("/", "_").replace(" ", "_")
        self.counts: Counter[str] = Counter()
        self._seen: set[str] = set()

    def blind(self) -> None:
        """Inputs that are changes of the good file."""
        for number in range(self.inputs):
            rng = Random(self.seed + number)
            self.one(mutated(self.case.good, rng))

    def guided(self, atheris: Any, done: Callable[[], NoReturn]) -> NoReturn:
        """Inputs that are changes of those which reached something new; half of the changes are ours.

        What reached something new is kept, too, and the next run goes on from there.

        Args:
            atheris: the module.
            done: ends the process, which libFuzzer does not let go on.
        """
        corpus = self.kept / "corpus" / self.name
        corpus.mkdir(parents=True, exist_ok=True)
        (corpus / "good").write_bytes(self.case.good)

        def one(content: bytes) -> None:
            if self.counts.total() == self.inputs:
                done()
            self.one(content)

        def change(content: bytes, longest: int, seed: int) -> bytes:
            if seed % 2:
                return bytes(atheris.Mutate(content, longest))
            return mutated(content, Random(seed))[:longest]

        options = [f"-seed={self.seed % 2**31 + 1}", f"-max_len={LONGEST_BYTES}", "-len_control=0", "-rss_limit_mb=0"]
        atheris.Setup(["fuzz", *options, str(corpus)], one, custom_mutator=change)
        atheris.Fuzz()
        os._exit(1)  # it gave up before all inputs were tried

    def one(self, content: bytes) -> None:
        """Try an input."""
        tried = try_one(self.case, content)
        self.counts[tried.outcome] += 1
        if tried.outcome in GOOD:
            return
        what = f"{tried.outcome} at {tried.where}"
        kind = what.split(": '")[0]
        if kind not in self._seen:
            self._seen.add(kind)
            self.keep(f"{len(self._seen)}", what)

    def keep(self, number: str, what: str) -> None:
        """Keep the case that is in the folder, and say what it was."""
        kept = self.kept / f"{self.name}-{self.seed}-{number}"
        shutil.copytree(self.case.folder, kept, dirs_exist_ok=True)
        print(f"{self.case.reader.name}: {what}; kept as {kept}", flush=True)
