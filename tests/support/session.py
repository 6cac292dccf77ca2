"""Runs console programs and Python code one after the other in one process, so that fairseq is imported once.

    python tests/support/session.py steps.json

`steps.json` holds a list of `{"words": ["fairseq-train", …], "stdin": "…"}` and `{"code": "…"}`, the latter in one
namespace. A program is what its entry point in the installed packages names. The first failure ends the process.
"""

import io
import json
import sys
from importlib.metadata import entry_points


def call(words: list, stdin: str) -> None:
    """Run a console program as its script in bin/ would."""
    (entry,) = entry_points(group="console_scripts", name=words[0])
    main = entry.load()
    sys.argv, sys.stdin = words, io.StringIO(stdin)
    try:
        status = main()
    except SystemExit as ended:
        status = ended.code
    if status:
        raise SystemExit(f"FAILED with status {status}: {' '.join(words)}")


def run(steps: list) -> None:
    """Run the steps."""
    namespace: dict = {}
    for step in steps:
        print(f"=== {step.get('words') or step['code']}", flush=True)
        if "words" in step:
            call(step["words"], step["stdin"])
        else:
            exec(compile(step["code"], "<document>", "exec"), namespace)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as lines:
        run(json.load(lines))
