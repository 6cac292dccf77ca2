"""Of the files of a folder what must be the same in two runs: all bytes, but for those that tell a time."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Dict

from support.fairseq_logs import logged

TIMES = {"wps", "ups", "wall", "train_wall", "gb_free"}
ROW_OF_THE_RUN = {"finished", "train_seconds", "cpu_seconds", "decode_seconds", "commit", "sources", "remark"}
"""What a row of a sweep tells of the run and not of the result."""
LOGS = {".log", ".out", ".seconds"}
"""Files that a second run adds to, or that hold a time alone."""


def digests(folder: Path) -> Dict[str, str]:
    """A digest of each file of a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(_lasting(path)).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def losses(said: str) -> Dict[int, Any]:
    """All that training logged of each update but times."""
    return {
        int(log["num_updates"]): {key: value for key, value in log.items() if key not in TIMES}
        for log in logged(said.splitlines(), "train_inner")
    }


def _lasting(path: Path) -> bytes:
    """Of checkpoints the state, of outputs the hypotheses, of a sweep the results and not what they took."""
    if path.suffix in LOGS:
        return b""
    if path.suffix == ".pt":
        return _state(path)
    content = path.read_bytes()
    if path.name == "meta.json":
        return json.dumps({**json.loads(content), "signature": None}).encode()
    if path.name.startswith("generate-"):
        return b"\n".join(line for line in content.split(b"\n") if line[:2] in (b"S-", b"T-", b"H-", b"D-", b"P-"))
    if path.name in ("rows.json", "plan.rows.jsonl"):
        text = content.decode()
        rows = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
        return json.dumps([{key: row[key] for key in sorted({*row} - ROW_OF_THE_RUN)} for row in rows]).encode()
    if path.name in ("RESULTS.md", "results.html"):
        head, _, _ = content.partition(b">Cost<" if path.suffix == ".html" else b"## Cost")
        return re.sub(rb"base64,[^\"]*", b"", head)
    return content


def _state(path: Path) -> bytes:
    import torch

    stored = torch.load(path, weights_only=True)
    parts = [str((stored.get("optimizer_history") or [{}])[-1].get("num_updates"))]
    parts.append(str(stored.get("extra_state", {}).get("train_iterator")))
    state = {**stored["model"], **_flat(stored.get("last_optimizer_state"))}
    return "\n".join(parts).encode() + b"".join(state[name].numpy().tobytes() for name in sorted(state))


def _flat(optimizer: Any) -> Dict[str, Any]:
    import torch

    return {
        f"{number}.{name}": value
        for number, values in (optimizer or {}).get("state", {}).items()
        for name, value in values.items()
        if isinstance(value, torch.Tensor)
    }
