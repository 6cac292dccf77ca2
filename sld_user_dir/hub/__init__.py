"""A trained model from Python: transcribe, score, continue; see `model`."""

from sld_user_dir.hub.model import Hypothesis, Model, Score, load

__all__ = ["Hypothesis", "Model", "Score", "load"]
