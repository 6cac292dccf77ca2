"""When fairseq is used, make it know this package: its task, models and criteria, and the patches that they need.

fairseq finds a user directory in four ways, and in each of them the framework-free half of this package may have been
imported before: `--user-dir` (fairseq imports the package); the package imported first, then fairseq's main; a module
such as `sld_user_dir.manifests` imported first; `hub.load`. fairseq's own `import_user_module` does nothing for a
package that is imported already. So importing this package only leaves word with Python's import system: once fairseq
is there, `register` runs. A process that never imports fairseq pays nothing and finds nothing changed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Optional, Sequence

ADAPTERS = (
    "criterions.sld_criterion",
    "criterions.masked_ce",
    "models.joint_lm",
    "models.joint_hf",
    "tasks.speech_unit_lm",
)
"""What registers with fairseq as it is imported. `--user-dir` by itself would look into tasks/ and models/ only."""


def register() -> None:
    """Import fairseq if need be, patch it, and register everything. Repeated calls do nothing."""
    if _is_loaded():
        _register()
    else:
        importlib.import_module("fairseq")  # the finder registers, and keeps the root logger's level
        _register()


def when_fairseq_is_imported() -> None:
    """Register now if fairseq is there, or else as soon as it is."""
    if _is_loaded():
        _register()
    elif not any(isinstance(finder, _FairseqFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _FairseqFinder())


def _is_loaded() -> bool:
    spec = getattr(sys.modules.get("fairseq"), "__spec__", None)
    return spec is not None and not getattr(spec, "_initializing", False)


def _register() -> None:
    from sld_user_dir import fairseq_patches

    fairseq_patches.apply()
    for name in ADAPTERS:
        importlib.import_module(f"sld_user_dir.{name}")


class _FairseqFinder(MetaPathFinder):
    """Finds what others find, and puts `_RegisteringLoader` around fairseq's loader."""

    def find_spec(
        self, fullname: str, path: Optional[Sequence[str]], target: Optional[ModuleType] = None
    ) -> Optional[ModuleSpec]:
        if fullname != "fairseq":
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            sys.meta_path.insert(0, self)  # an import that fails may be tried again
        if spec is not None and spec.loader is not None:
            spec.loader = _RegisteringLoader(spec.loader)
        return spec


class _RegisteringLoader(Loader):
    """Runs fairseq's own loader, then `_register`."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> Optional[ModuleType]:
        created: Optional[ModuleType] = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        from sld_user_dir import fairseq_patches

        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self._loader
        fairseq_patches.silence()
        with fairseq_patches.root_logger_level():
            self._loader.exec_module(module)
            _register()
