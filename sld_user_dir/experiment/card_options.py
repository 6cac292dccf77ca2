"""What of a model card no file tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class CardOptions:
    """Chosen by who writes the card."""

    name: str = "speech-unit-lm"
    """title, and name of the model in the index"""
    license: Optional[str] = None
    """license of the weights, by Hugging Face's short name such as cc-by-sa-4.0"""
    language: Optional[str] = None
    """of the transcripts, as an ISO 639 code"""
    exported: Optional[str] = None
    """class of transformers that loads the model beside the card, of sld export-gpt2 or sld export-hf"""
