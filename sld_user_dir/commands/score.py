"""Score transcripts: WER, CER, where the errors are, and whether one system is better than another.

    sld score results/generate-test.txt --manifest data/test.tsv --by speaker
    sld score --references ref.txt --hypotheses hyp.txt --json report.json
    sld score --generate a/generate-test.txt --against b/generate-test.txt
    sld score results/generate-test.txt --manifest data/test.tsv --confidence checkpoint_best.confidence.json

Prints a table; `--json` also writes the report, with the comparison under "comparison".
"""

import contextlib
import json
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

from simple_parsing import field as option

from sld_user_dir.confidence.confidence_map import ConfidenceMap
from sld_user_dir.confidence.confidence_report import confidence_report, draw_reliability, format_confidence
from sld_user_dir.confidence.labelled import label
from sld_user_dir.errors import InputError
from sld_user_dir.files import atomic_path
from sld_user_dir.scoring.edits import TextNormalization
from sld_user_dir.scoring.hypotheses import DecodedUtterance, read_pair, read_test_sets
from sld_user_dir.scoring.rates import compare, format_comparison, format_report, score
from sld_user_dir.scoring.score_ledger import score_ledger
from sld_user_dir.vocabulary.joint import JointVocabulary


@dataclass
class ScoreConfig:
    """Score transcripts against references."""

    outputs: List[str] = option(positional=True, nargs="*", metavar="OUTPUT", default_factory=list)  # noqa: RUF009
    """fairseq-generate's outputs, as by --generate"""
    generate: List[str] = field(default_factory=list)
    """fairseq-generate's outputs, one a test set"""
    manifest: List[str] = field(default_factory=list)
    """unit manifests of those test sets, in the same order: ids, references, speakers"""
    missing_as_empty: bool = False
    """count rows of the manifest that were not decoded as empty hypotheses, instead of refusing"""
    references: Optional[str] = None
    """text file of references, instead of --generate"""
    hypotheses: Optional[str] = None
    """text file of hypotheses, in the same order"""
    keyed: bool = False
    """lines of --references and --hypotheses begin with an id"""
    against: List[str] = field(default_factory=list)
    """the other system's outputs (--generate's, or one --hypotheses file), to compare with by paired bootstrap"""
    by: List[str] = field(default_factory=list)
    """fields to break the WER down by: test_set, or columns of the manifest such as speaker"""
    block: Optional[str] = None
    """field whose values are drawn whole in the paired bootstrap, such as speaker"""
    max_len: Optional[int] = None
    """the limit of transcript tokens that decoding ran with, to count truncated hypotheses"""
    worst: int = 10
    """how many of the worst utterances to show aligned"""
    lowercase: bool = False
    """fold case, of both sides"""
    strip_punctuation: bool = False
    """remove punctuation, from both sides"""
    unicode_form: Optional[str] = "NFC"
    """Unicode normal form, of both sides"""
    confidence: Optional[str] = None
    """also tell how good the confidences of this map are, which sld confidence writes: normalised cross-entropy,
    expected calibration error and area under the ROC curve, of words and of utterances"""
    confidence_plot: Optional[str] = None
    """picture file to draw the reliability diagram to"""
    json: Optional[str] = None
    """file to write the report to"""

    def validate(self) -> None:
        """Raise InputError for a combination that makes no sense."""
        if self.outputs and self.generate:
            raise InputError("--generate", "outputs are given before it, too", "give all of them in one place")
        self.generate = self.generate or self.outputs
        if bool(self.generate) == bool(self.references and self.hypotheses):
            remedy = "give either --generate, or both --references and --hypotheses"
            raise InputError(None, "one system's transcripts are scored", remedy)
        if self.manifest and len(self.manifest) != len(self.generate):
            problem = f"{len(self.manifest)} manifests for {len(self.generate)} outputs"
            raise InputError("--manifest", problem, "give one for each, behind the outputs")
        if self.against and len(self.against) != len(self.generate or [self.hypotheses]):
            problem = f"{len(self.against)} files, other than of the system that it is compared with"
            raise InputError("--against", problem, "give as many files, in the same order")

        if self.worst < 0:
            raise InputError(f"--worst {self.worst}", "less than no utterance", "take 0 or more")
        if self.max_len is not None and self.max_len < 1:
            raise InputError(f"--max-len {self.max_len}", "no token", "give the --max-len-b that decoding ran with")
        if self.confidence and len(self.manifest) != len(self.generate or [""]):
            remedy = "give --generate's outputs, and the manifest of each"
            raise InputError("--confidence", "the data directory of a manifest tells how tokens make words", remedy)
        if self.confidence_plot and not self.confidence:
            raise InputError("--confidence-plot", "no confidences are scored", "add --confidence MAP")

    def read(self, paths: Sequence[str]) -> List[DecodedUtterance]:
        """Records of one of the two systems."""
        if self.references is not None:
            return read_pair(self.references, paths[0], self.keyed)
        return read_test_sets(paths, self.manifest, self.missing_as_empty)


CONFIGS = {"config": ScoreConfig}
SHOWS_PROGRESS = False


def run(options: Namespace) -> None:
    """Run the command."""
    config = options.config
    config.validate()
    normalization = TextNormalization(config.lowercase, config.strip_punctuation, config.unicode_form)
    records = config.read(config.generate or [config.hypotheses])
    with _naming([config.references] if config.references is not None else config.generate):
        report = score(records, normalization, config.by, config.worst, config.max_len)
    print(format_report(report))
    if config.confidence:
        report["confidence"] = score_confidence(config, records, normalization)
    if config.against:
        other = config.read(config.against)
        with _naming(config.against):
            report["comparison"] = compare(records, other, normalization, config.block)
        print("\n" + format_comparison(report["comparison"]))
    if config.json:
        with atomic_path(config.json) as path:
            path.write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    if config.generate:
        report_file = Path(config.json) if config.json else None
        score_ledger(report_file, [*map(Path, config.generate)], [*map(Path, config.manifest)], records)


@contextlib.contextmanager
def _naming(paths: Sequence[str]) -> Iterator[None]:
    """Errors about transcripts, which do not know where they were read, as errors about these files."""
    try:
        yield
    except InputError as error:
        raise InputError(error.where or ", ".join(paths), error.problem, error.remedy) from None


def score_confidence(
    config: ScoreConfig, records: Sequence[DecodedUtterance], normalization: TextNormalization
) -> Dict[str, Any]:
    """Print and return how good the confidences are; draw them where that is wanted."""
    found = ConfidenceMap.load(config.confidence or "")
    vocabularies = [JointVocabulary.load(Path(manifest).parent) for manifest in config.manifest]
    for vocab in vocabularies:
        found.check_vocabulary(vocab.fingerprint, config.confidence or "")
    outputs = ", ".join(config.generate)
    utterances = label(records, vocabularies[0].tokenizer, outputs, normalization)
    found.check_count(max(len(one.candidates) for one in utterances), outputs)
    report = confidence_report(utterances, found)
    print("\n" + format_confidence(report))
    if config.confidence_plot:
        draw_reliability(report, config.confidence_plot)
    return report
