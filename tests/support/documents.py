"""The pages of the documentation: their code blocks, prose and headings, and the commands of their shell blocks."""

from __future__ import annotations

import os
import re
import subprocess
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import List, NamedTuple, Set

from support.miniature import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXT = "text"
"""Language of fenced blocks that hold no code: output, equations, files."""


def name_of(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


class Block(NamedTuple):
    """A fenced block of code."""

    page: Path
    line: int  # of the fence, from 1
    language: str
    code: str

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


class Indented(NamedTuple):
    """A line of an indented block of code."""

    page: Path
    line: int
    text: str


class Page(NamedTuple):
    """A page, cut into its blocks and the rest."""

    blocks: List[Block]
    indented: List[Indented]
    prose: str


@cache
def cut(page: Path) -> Page:
    """Cut a page; fences may be indented, as within lists."""
    blocks, indented, prose = [], [], []
    fence, start, language, code = "", 0, "", []
    before_blank = True
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        opened = re.match(r"( *)(```+)(\S*)$", line)
        if fence:
            if line.strip() == fence:
                blocks.append(Block(page, start, language, "".join(f"{text}\n" for text in code)))
                fence, code = "", []
            else:
                code.append(line)
        elif opened:
            fence, start, language = opened[2], number, opened[3]
        elif line.startswith("    ") and (before_blank or (indented and indented[-1].line == number - 1)):
            indented.append(Indented(page, number, line[4:]))
        else:
            prose.append(line)
        before_blank = not line.strip()
    assert not fence, f"{name_of(page)}:{start}: a fence that is not closed"
    return Page(blocks, indented, "\n".join(prose))


def blocks_of(*languages: str) -> List[Block]:
    """The blocks of all pages in these languages."""
    return [block for page in PAGES for block in cut(page).blocks if block.language in languages]


def code_spans(page: Path) -> List[str]:
    """What stands between single backticks in a page's prose."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", cut(page).prose)]


def headings(page: Path) -> List[str]:
    """Texts of a page's headings."""
    return re.findall(r"^#+ +(.*?) *$", cut(page).prose, re.M)


def anchors(page: Path) -> Set[str]:
    """Anchors that a page's headings have both on GitHub and on the site that mkdocs makes."""
    texts = [heading.replace("`", "") for heading in headings(page)]
    github = {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}
    plain = [unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower() for text in texts]
    site = {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip()) for text in plain}
    return github & site


@dataclass(frozen=True)
class Call:
    """A program that a shell block calls.

    Attributes:
        block: where it stands.
        words: the program and its arguments, as the shell has expanded them.
        stdin: what a pipe gives it.
    """

    block: Block
    words: List[str]
    stdin: str

    @property
    def program(self) -> str:
        """Its name, or its path in the repository."""
        return self.words[0]

    def __str__(self) -> str:
        return f"{self.block}: {' '.join(self.words)}"


STUB = """#!/bin/sh
stdin=$(cat)
words=$(printf '%s\\037' "$@")
printf '%s\\037%s%s\\036' "{name}" "$words" "$stdin" >> "$CALLS"
"""
TOOLS = ("awk", "cp", "grep", "mkdir", "tail", "cat")
"""Programs of the system that blocks may use; they run for real."""


class Shell:
    """Runs shell blocks in a folder where the programs that matter only note how they were called.

    bash itself does quoting, continued lines, variables, loops, pipes and comments. A program that is neither noted
    nor one of `TOOLS` is an error, and so is whatever else bash complains about: nothing is skipped.
    """

    def __init__(self, folder: Path, programs: List[str]) -> None:
        self.folder, self.calls = folder, folder / "calls"
        (folder / "bin").mkdir()
        for name in programs:
            self._stub(folder / "bin" / name, name)
        for path in (ROOT / "scripts").iterdir():
            if os.access(path, os.X_OK) and path.is_file():
                self._stub(folder / "scripts" / path.name, f"scripts/{path.name}")
        for tool in TOOLS:
            (folder / "bin" / tool).symlink_to(f"/usr/bin/{tool}")

    def _stub(self, path: Path, name: str) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(STUB.format(name=name))
        path.chmod(0o755)

    def run(self, block: Block, code: str) -> List[Call]:
        """The calls of a block, in order."""
        self.calls.write_text("")
        environment = {"PATH": str(self.folder / "bin"), "CALLS": str(self.calls), "SLURM_ARRAY_TASK_ID": "3"}
        done = subprocess.run(
            ["/bin/bash", "-u", "-c", f"{code}\nwait"],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stderr == "" and done.returncode == 0, f"{block}: {done.stderr or done.returncode}"
        records = self.calls.read_text(encoding="utf-8").split("\x1e")[:-1]
        return [Call(block, record.split("\x1f")[:-1], record.split("\x1f")[-1]) for record in records]
