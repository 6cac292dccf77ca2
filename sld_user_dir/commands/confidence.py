"""Learn how sure a checkpoint's words are, from a decoded set whose truth is known, such as valid.

    fairseq-generate data … --path checkpoint_best.pt --gen-subset valid --beam 5 --nbest 5 --results-path decode
    sld confidence decode/generate-valid.txt --manifest data/valid.tsv --checkpoint checkpoint_best.pt
    sld score decode/generate-test.txt --manifest data/test.tsv --confidence checkpoint_best.confidence.json

Writes checkpoint_best.confidence.json, which `sld transcribe` uses from then on, and fairseq-generate --word-times
where --confidence-map names it. Fit on a set that training has not seen: on training data a model is surer than right.
"""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from simple_parsing import field

from sld_user_dir.confidence.checkpoint_fingerprint import checkpoint_fingerprint
from sld_user_dir.confidence.confidence_map import map_beside
from sld_user_dir.confidence.fitting import fit_confidence
from sld_user_dir.confidence.labelled import label
from sld_user_dir.manifests.unit_manifest import read_manifest
from sld_user_dir.scoring.hypotheses import read_generate
from sld_user_dir.vocabulary.joint import JointVocabulary


@dataclass
class ConfidenceConfig:
    """Fit a confidence map."""

    output: Path = field(positional=True, metavar="OUTPUT")  # noqa: RUF009
    """fairseq-generate's output on the set, with --nbest as large as --beam"""
    manifest: Path = field()  # noqa: RUF009
    """unit manifest of the set; its data directory has the vocabulary"""
    checkpoint: Path = field()  # noqa: RUF009
    """the checkpoint that decoded it"""
    out: Optional[Path] = None
    """where to write the map; by default beside the checkpoint"""


CONFIGS = {"config": ConfidenceConfig}
SHOWS_PROGRESS = False


def run(options: Namespace) -> None:
    """Run the command."""
    config = options.config
    fingerprint = checkpoint_fingerprint(config.checkpoint)
    vocab = JointVocabulary.load(config.manifest.parent)
    records = read_generate(config.output, read_manifest(config.manifest))
    utterances = label(records, vocab.tokenizer, config.output)
    about = {"output": str(config.output), "manifest": str(config.manifest)}
    found = fit_confidence(utterances, fingerprint, vocab.fingerprint, about, config.output)
    out = config.out or map_beside(config.checkpoint)
    found.save(out)
    counts = found.fitted_on
    print(
        f"{out}: fitted on {counts['words']} words, {counts['wrong_words']} of them wrong, of {counts['utterances']} "
        f"utterances, {found.hypotheses} hypotheses each; temperature {found.temperature:g}"
    )
