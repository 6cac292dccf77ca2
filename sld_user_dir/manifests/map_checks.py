"""Whether a memory map is whole, by what can be seen without reading it: sizes, offsets and what it says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import numpy as np

from sld_user_dir.files import read_json
from sld_user_dir.manifests.provenance import UnitProvenance

_KINDS = {"header": dict, "columns": list, "first_line": int, "provenance": dict, "unit_dtype": str}
_UNIT_DTYPES = ("uint16", "int32")


def whole_meta(directory: Path, version: int) -> Optional[dict[str, Any]]:
    """What a map of a manifest says of itself; None if it is damaged or of another version."""
    try:
        meta = read_json(directory / "meta.json")
        if meta["version"] != version or not all(isinstance(meta[key], kind) for key, kind in _KINDS.items()):
            return None
        UnitProvenance.from_json(meta["provenance"])
        meta["signature"]  # of the source, or None where it was too young to have one
        units = directory / "units.bin", directory / "unit_offsets.bin", meta["unit_dtype"]
        fields = directory / "fields.bin", directory / "field_offsets.bin", "uint8"
        rows = {rows_of(*units), rows_of(*fields)}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    known = {"id", "units", "text"} <= set(map(str, meta["columns"])) and meta["unit_dtype"] in _UNIT_DTYPES
    return meta if known and len(rows) == 1 and None not in rows else None


def rows_of(flat: Path, offsets: Path, dtype: str) -> Optional[int]:
    """How many rows two files hold, one of values and one of where each row begins; None if they do not fit.

    Raises:
        OSError: one of them is not there.
        TypeError: no such type of values.
    """
    size, item = flat.stat().st_size, np.dtype(dtype).itemsize
    n_offsets, odd = divmod(offsets.stat().st_size, 8)
    if odd or n_offsets < 1 or size % item:
        return None
    starts = np.fromfile(offsets, dtype=np.int64)
    if starts[0] != 0 or starts[-1] * item != size or (np.diff(starts) < 0).any():
        return None
    return n_offsets - 1
