"""`--word-times FILE` of fairseq-generate: the words of the best hypotheses with their times, as a CTM file.

fairseq tells a task of batches, not of the end. So the utterances to come are counted beforehand, and the file is
written, whole, with the last of them.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from sld_user_dir.confidence.confidence_map import ConfidenceMap
from sld_user_dir.confidence.evidence import Candidate
from sld_user_dir.errors import InputError, line_of
from sld_user_dir.manifests.ctm import CtmError, TimedWord, is_ctm_name, write_ctm
from sld_user_dir.sequences.manifest_dataset import AnyManifest
from sld_user_dir.timing.unit_times import check_frame_rate, unit_edges
from sld_user_dir.timing.word_aligner import WordAligner
from sld_user_dir.vocabulary.joint import JointVocabulary

logger = logging.getLogger(__name__)
OPTION = "--word-times"


class WordTimeFile:
    """Collects the timed words of a test set.

    Args:
        path: the file to write.
        confidence_map: file of the map that gives confidences, if any.

    Raises:
        InputError: a confidence map of another vocabulary, or a task other than recognition.
    """

    def __init__(self, path: str, vocab: JointVocabulary, decode_task: str, confidence_map: Optional[str] = None):
        if decode_task != "asr":
            raise InputError(f"{OPTION} {path}", f"the task {decode_task} recognises no words", "leave it out")
        self.path = Path(path)
        self._confidence = None if confidence_map is None else ConfidenceMap.load(confidence_map)
        if self._confidence is not None:
            self._confidence.check_vocabulary(vocab.fingerprint, str(confidence_map))
        self._vocab = vocab
        self._manifest: Optional[AnyManifest] = None
        self._aligner: Optional[WordAligner] = None
        self._expected = 0
        self._words: Dict[int, List[TimedWord]] = {}

    def read_units_of(self, manifest: AnyManifest) -> None:
        """The test set, whose units must have times, and whose ids must fit into the file: else all decoding is lost.

        Raises:
            ManifestError: units without times.
            CtmError: an id with white space, of any kind, or one that begins a remark.
        """
        check_frame_rate(manifest.provenance, str(manifest.path))
        for row, name in enumerate(manifest.column("id")):
            if not is_ctm_name(name):
                problem = f"the id {name!r} is no name of a CTM file, whose columns white space divides"
                remedy = f"rename it, or leave out {OPTION}"
                raise CtmError(line_of(manifest.path, manifest.line(row)), problem, remedy)
        if len(manifest):
            self._edges(manifest, 0)
        self._manifest = manifest

    def expect(self, batches: Sequence[Sequence[int]]) -> None:
        """What will be decoded."""
        self._expected = sum(len(batch) for batch in batches)

    def add(
        self, generator: Any, sample: Dict[str, Any], hypotheses: Sequence[Sequence[Dict[str, Any]]], has_ctc: bool
    ) -> None:
        """Time the best hypotheses of a batch; the file is written after the last one."""
        assert self._manifest is not None
        if self._aligner is None:
            self._aligner = WordAligner(generator.scorer.decoders, self._vocab, has_ctc)
            if not has_ctc:
                logger.info("no CTC in the checkpoint: words are timed by when each can first be told, which is slower")
            if self._confidence is not None:
                self._confidence.check_count(generator.options.beam, f"--beam {generator.options.beam}")
        rows = sample["id"].tolist()
        prompts, lengths = generator.prompts(sample)
        answers = [found[0]["tokens"].tolist() for found in hypotheses]
        edges = [self._edges(self._manifest, row) for row in rows]
        for row, words, nbest in zip(rows, self._aligner(prompts, lengths, answers, edges), hypotheses):
            self._words[row] = words if self._confidence is None else self._with_confidences(words, nbest)
        if len(self._words) == self._expected:
            self._write(self._manifest, self._aligner.unaligned)

    def _write(self, manifest: AnyManifest, unaligned: int) -> None:
        count = write_ctm(self.path, ((manifest[row].id, self._words[row]) for row in sorted(self._words)))
        logger.info("%s: %d words of %d utterances", self.path, count, len(self._words))
        if unaligned:
            logger.warning(
                "%s: %d hypotheses have more tokens than their units can tell; those words are evenly spread",
                self.path,
                unaligned,
            )

    def _with_confidences(self, words: List[TimedWord], nbest: Sequence[Dict[str, Any]]) -> List[TimedWord]:
        assert self._confidence is not None
        tokenizer, table = self._vocab.tokenizer, self._vocab.table
        candidates = [
            Candidate.of_tokens(
                tokenizer, [table[i] for i in one["tokens"].tolist()[:-1]], one["positional_scores"].tolist()
            )
            for one in nbest
        ]
        return [replace(one, confidence=p) for one, p in zip(words, self._confidence.of_words(candidates))]

    @staticmethod
    def _edges(manifest: AnyManifest, row: int) -> Any:
        return unit_edges(manifest[row], manifest.provenance, f"{manifest.path}:{manifest.line(row)}")


def build_word_time_file(cfg: Any, vocab: JointVocabulary, decode_task: str) -> Optional[WordTimeFile]:
    """What `--word-times` and `--confidence-map` ask for.

    Raises:
        InputError: the second without the first, or as `WordTimeFile`.
    """
    if cfg.word_times:
        return WordTimeFile(cfg.word_times, vocab, decode_task, cfg.confidence_map)
    if cfg.confidence_map:
        raise InputError("--confidence-map", "it is for the words of --word-times", "add --word-times FILE")
    return None
