"""The map from a search's scores to probabilities of being right, fitted on one checkpoint and stored beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Sequence

from sld_user_dir.arrays import PathLike
from sld_user_dir.confidence.evidence import (
    UTTERANCE_EVIDENCE,
    WORD_EVIDENCE,
    Candidate,
    utterance_evidence,
    word_evidence,
)
from sld_user_dir.confidence.logistic_map import LogisticMap
from sld_user_dir.errors import InputError
from sld_user_dir.files import atomic_path, read_json

FORMAT = "confidence-map/1"
FIT_AGAIN = "fit one by sld confidence"


class ConfidenceMapError(InputError):
    """A confidence map that cannot be used."""


@dataclass(frozen=True)
class ConfidenceMap:
    """Hypotheses of an utterance to confidences.

    Attributes:
        hypotheses: n, how many of the best hypotheses the beam's posterior is of.
        temperature: T of the posterior.
        word, utterance: from `WORD_EVIDENCE` and `UTTERANCE_EVIDENCE`.
        checkpoint: fingerprint of the checkpoint; see `checkpoint_fingerprint`.
        vocabulary: fingerprint of its vocabulary.
        fitted_on: what it was fitted on, for people.
    """

    hypotheses: int
    temperature: float
    word: LogisticMap
    utterance: LogisticMap
    checkpoint: str
    vocabulary: str
    fitted_on: dict[str, Any] = field(default_factory=dict)

    def of_words(self, candidates: Sequence[Candidate]) -> list[float]:
        """Probability of each word of the best hypothesis to be right."""
        if not candidates[0].words:
            return []
        found: list[float] = self.word(word_evidence(candidates[: self.hypotheses], self.temperature)).tolist()
        return found

    def of_utterance(self, candidates: Sequence[Candidate]) -> float:
        """Probability of the whole best hypothesis to be right."""
        return float(self.utterance(utterance_evidence(candidates[: self.hypotheses], self.temperature)[None])[0])

    def check_count(self, most: int, where: PathLike) -> None:
        """Whether the search gave hypotheses enough.

        Args:
            most: hypotheses of an utterance at most.

        Raises:
            ConfidenceMapError: fewer than it was fitted on, which would pass for a surer search.
        """
        if most < self.hypotheses:
            problem = f"{most} hypotheses an utterance, but the confidence map was fitted on {self.hypotheses}"
            raise ConfidenceMapError(
                str(where), problem, f"decode with --beam and --nbest {self.hypotheses}, or {FIT_AGAIN}"
            )

    def check_vocabulary(self, fingerprint: str, where: PathLike) -> None:
        """Whether it was fitted on hypotheses of this vocabulary.

        Raises:
            ConfidenceMapError: of another.
        """
        if fingerprint != self.vocabulary:
            problem = f"fitted on hypotheses of the vocabulary {self.vocabulary}, but these are of {fingerprint}"
            raise ConfidenceMapError(str(where), problem, FIT_AGAIN)

    def save(self, path: PathLike) -> None:
        """Write it as JSON."""
        stated = {"format": FORMAT, "evidence": {"word": WORD_EVIDENCE, "utterance": UTTERANCE_EVIDENCE}}
        with atomic_path(path) as aside:
            text = json.dumps({**stated, **asdict(self)}, ensure_ascii=False, indent=1)
            aside.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: PathLike) -> ConfidenceMap:
        """Read a file.

        Raises:
            ConfidenceMapError: no such file, or no confidence map.
        """
        stated = read_json(path, ConfidenceMapError)
        if not isinstance(stated, dict) or stated.get("format") != FORMAT:
            raise ConfidenceMapError(str(path), f'not a confidence map: no "format": "{FORMAT}"', FIT_AGAIN)
        try:
            return cls(
                hypotheses=int(stated["hypotheses"]),
                temperature=float(stated["temperature"]),
                word=LogisticMap.from_json(stated["word"], len(WORD_EVIDENCE)),
                utterance=LogisticMap.from_json(stated["utterance"], len(UTTERANCE_EVIDENCE)),
                checkpoint=str(stated["checkpoint"]),
                vocabulary=str(stated["vocabulary"]),
                fitted_on=dict(stated.get("fitted_on", {})),
            )
        except (KeyError, TypeError, ValueError) as problem:
            raise ConfidenceMapError(str(path), f"a damaged confidence map ({problem})", FIT_AGAIN) from None


def map_beside(checkpoint: PathLike) -> Path:
    """Where a checkpoint's map lies: `checkpoint_best.confidence.json`."""
    return Path(checkpoint).with_suffix(".confidence.json")
