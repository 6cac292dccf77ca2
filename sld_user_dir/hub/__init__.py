"""A trained model from Python: transcribe, score, continue; see `model`."""

from sld_user_dir.hub.model import Model, Score, Transcript, load

__all__ = ["Model", "Score", "Transcript", "load"]
