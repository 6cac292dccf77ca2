"""How sure transcripts are, by the map that `sld confidence` wrote beside the checkpoint."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple, Optional, Sequence

from sld_user_dir.confidence.checkpoint_fingerprint import checkpoint_fingerprint
from sld_user_dir.confidence.confidence_map import FIT_AGAIN, ConfidenceMap, map_beside
from sld_user_dir.confidence.evidence import Candidate
from sld_user_dir.hub.answers import Transcript

logger = logging.getLogger(__name__)


class TranscriptConfidence(NamedTuple):
    """Probabilities of being right."""

    whole: float
    words: list[float]


def find_confidence_map(checkpoints: Sequence[str], vocab: Any) -> Optional[ConfidenceMap]:
    """The map beside a checkpoint, if there is one; of an ensemble none.

    A map of an earlier training is left aside with a warning, since its confidences would be wrong.

    Raises:
        ConfidenceMapError: a damaged file.
    """
    if len(checkpoints) != 1 or not map_beside(checkpoints[0]).is_file():
        return None
    path = map_beside(checkpoints[0])
    found = ConfidenceMap.load(path)
    if (found.checkpoint, found.vocabulary) != (checkpoint_fingerprint(checkpoints[0]), vocab.fingerprint):
        logger.warning("%s: of another training than %s, so it is not used; %s", path, Path(checkpoints[0]), FIT_AGAIN)
        return None
    return found


def has_confidence(found: Optional[ConfidenceMap], beam: int) -> bool:
    """Whether transcripts of a beam have confidences; one narrower than was fitted on has none, with a warning."""
    if found is None:
        return False
    if beam < found.hypotheses:
        logger.warning("no confidences: the beam is %d, but the map was fitted on %d", beam, found.hypotheses)
        return False
    return True


def confidence_of(found: ConfidenceMap, nbest: Sequence[Transcript], tokenizer: Any) -> TranscriptConfidence:
    """Of the best transcript of an utterance.

    Args:
        nbest: its transcripts, best first.
        tokenizer: of the vocabulary.
    """
    candidates = [Candidate.of_tokens(tokenizer, one.tokens[:-1], one.token_log_probs) for one in nbest]
    return TranscriptConfidence(found.of_utterance(candidates), found.of_words(candidates))
