"""What of a model card no file tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

ADAPTER_LOADER = "PeftModel"


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
    """class of transformers or peft that loads the model beside the card, of sld export-gpt2 or sld export-hf"""

    @property
    def library(self) -> str:
        """What loads the model beside the card."""
        if self.exported is None:
            return "fairseq"
        return "peft" if self.exported == ADAPTER_LOADER else "transformers"
