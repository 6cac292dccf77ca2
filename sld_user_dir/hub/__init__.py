"""A trained model from Python: transcribe, score, continue.

    from sld_user_dir import hub
    model = hub.load("checkpoint.pt", data="manifests/digits")
    model.transcribe_units([71, 12, 57])

Importing this costs no framework; `load` imports torch and fairseq.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sld_user_dir.hub.answers import Score, Transcript
from sld_user_dir.hub.loading import load

if TYPE_CHECKING:
    from sld_user_dir.hub.model import Model

__all__ = ["Model", "Score", "Transcript", "load"]


def __getattr__(name: str) -> Any:
    """`Model`, which needs torch, once it is asked for."""
    if name != "Model":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sld_user_dir.hub.model import Model

    return Model
