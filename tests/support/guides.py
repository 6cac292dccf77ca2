"""The code blocks of a guide, to be run exactly as they stand."""

import re
from types import ModuleType

from support.miniature import ROOT


def python_blocks(page: str) -> list:
    """The blocks fenced as python of `docs/guides/PAGE`."""
    text = (ROOT / "docs" / "guides" / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)


def module_of(source: str, name: str, monkeypatch) -> ModuleType:
    """A module of this source, imported under a name for the length of a test."""
    import sys

    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return module
