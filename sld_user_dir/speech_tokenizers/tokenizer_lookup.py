"""From what a user writes after `--tokenizer` to a speech tokenizer.

`KIND:ARGUMENT` names a file of `speech_tokenizers/kinds`, which registers its kind and is found by itself.
`module:function` and `path/to/file.py:function` name a function of the user's own, with `:ARGUMENT` behind it if it
takes one: nothing in this package has to change for it. docs/guides/add_a_tokenizer.md shows both.

All files of `kinds/` are imported when a name is looked up, so a file imports torch and the like where it loads its
tokenizer, not at its top.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Dict, Tuple

from sld_user_dir.devices import check_device
from sld_user_dir.speech_tokenizers import kinds
from sld_user_dir.speech_tokenizers.speech_tokenizer import SpeechTokenizer, TokenizerError, check_tokenizer

Load = Callable[[str, str], SpeechTokenizer]
"""Of an argument, which is empty where none was given, and a device (see `sld_user_dir.devices`)."""
FORMS = "write KIND:ARGUMENT, module:function or path/to/file.py:function"

_KINDS: Dict[str, Load] = {}


def register_tokenizer(kind: str) -> Callable[[Load], Load]:
    """Decorator of a function that loads tokenizers of a kind: `--tokenizer KIND:ARGUMENT`."""

    def register(load: Load) -> Load:
        _KINDS[kind] = load
        return load

    return register


def tokenizer_kinds() -> Dict[str, Load]:
    """The registered kinds by name."""
    for module in sorted(found.name for found in pkgutil.iter_modules(kinds.__path__)):
        importlib.import_module(f"{kinds.__name__}.{module}")
    return dict(sorted(_KINDS.items()))


def is_of_a_kind(description: str) -> bool:
    """Whether it names a kind of this package, and no code of the user's."""
    return description.partition(":")[0] in tokenizer_kinds()


def load_tokenizer(description: str, device: str = "auto") -> SpeechTokenizer:
    """The tokenizer that a user has named, checked by `check_tokenizer`.

    Raises:
        TokenizerError: nothing of that name, it cannot be loaded, or it is no tokenizer.
        DeviceError: no such device.
    """
    word = check_device(device)
    where = f"--tokenizer {description}"
    kind, _, argument = description.partition(":")
    load = tokenizer_kinds().get(kind)
    if load is None:
        function, argument = _own_function(description, where)
        return check_tokenizer(function(argument, word), where)
    return check_tokenizer(load(argument, word), where)


def _own_function(description: str, where: str) -> Tuple[Callable[[str, str], Any], str]:
    """The user's function, and its argument."""
    source, _, rest = description.partition(":")
    name, _, argument = rest.partition(":")
    if not source or not name:
        kinds_here = ", ".join(tokenizer_kinds())
        raise TokenizerError(where, "no such kind of tokenizer", f"{FORMS}; kinds are {kinds_here}")
    module = _module_of_file(Path(source), where) if source.endswith(".py") else _module_by_name(source, where)
    function = getattr(module, name, None)
    if not callable(function):
        raise TokenizerError(where, f"{source} has no function {name}", FORMS)
    return function, argument


def _module_by_name(name: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and name.split(".")[: error.name.count(".") + 1] == error.name.split("."):
            kinds_here = ", ".join(tokenizer_kinds())
            remedy = f"{FORMS}; kinds are {kinds_here}; a module must be on PYTHONPATH"
            raise TokenizerError(where, f"no kind of tokenizer and no module is called {name}", remedy) from error
        raise TokenizerError(where, f"{name} cannot be imported ({error})", "install what it needs") from error
    except ImportError as error:
        raise TokenizerError(where, f"{name} cannot be imported ({error})", "install what it needs") from error


def _module_of_file(path: Path, where: str) -> ModuleType:
    if not path.is_file():
        raise TokenizerError(where, f"{path}: no such file", "check the path")
    name = f"tokenizer_of_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses of the file look their module up
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise TokenizerError(where, f"{path} cannot be imported ({error})", "install what it needs") from error
    return module
