"""``--help`` that shows the options of the chosen task, criterion and architecture.

fairseq parses twice: the first time to learn which task is meant, the second time with that
task's options. It prints its help in the first pass, when those options are not there yet.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Optional, Sequence

from fairseq import options

HELP = {"-h", "--help"}


def install() -> None:
    """Let fairseq's commands print their help in the second pass. Repeated calls do nothing."""
    original = options.parse_args_and_arch
    if getattr(original, "shows_all_options", False):
        return

    def parse_args_and_arch(
        parser: argparse.ArgumentParser, input_args: Optional[Sequence[str]] = None, *args: Any, **kwargs: Any
    ) -> Any:
        words = list(sys.argv[1:] if input_args is None else input_args)
        if HELP.intersection(words):
            _ignore_help_once(parser)
        return original(parser, words if input_args is not None else None, *args, **kwargs)

    parse_args_and_arch.shows_all_options = True  # type: ignore[attr-defined]
    options.parse_args_and_arch = parse_args_and_arch


def _ignore_help_once(parser: argparse.ArgumentParser) -> None:
    parse = parser.parse_known_args

    def first_pass(args: Optional[Sequence[str]] = None, namespace: Any = None) -> Any:
        parser.parse_known_args = parse  # type: ignore[method-assign]
        words = sys.argv[1:] if args is None else args
        return parse([word for word in words if word not in HELP], namespace)

    parser.parse_known_args = first_pass  # type: ignore[method-assign, assignment]
