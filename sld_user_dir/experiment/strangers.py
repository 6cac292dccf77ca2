"""What trained models hear of people whom no training set has: one recording at a time, by each kind of units."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Optional, Sequence

from sld_user_dir.experiment.fairseq_commands import LOG_FILE, Plan, System
from sld_user_dir.experiment.results import kind_of_units
from sld_user_dir.experiment.training_log import read_curves
from sld_user_dir.manifests.unit_manifest import read_manifest

if TYPE_CHECKING:
    from sld_user_dir.hub.model import Model

BEAM, MAX_WORDS = 5, 20


@dataclass(frozen=True)
class Heard:
    """A recording, what is said in it, and what each kind of units makes of it."""

    recording: str
    said: Optional[str]
    """None where nobody has written it down"""
    transcripts: dict[str, str]
    """by the kind of units"""


@dataclass(frozen=True)
class Listener:
    """A model and the data directory of its units."""

    kind: str
    system: str
    model: Model
    data: Path

    def of_units(self, units: Sequence[int]) -> str:
        """Transcript of units."""
        return self.model.transcribe_units(units, beam=BEAM, max_len_b=MAX_WORDS)

    def of_audio(self, files: Sequence[Path], encoder: Optional[Path]) -> list[str]:
        """Transcripts of recordings of one speaker.

        Args:
            encoder: where the neural encoder lies now.

        Raises:
            InputError: the encoder is missing, or another one; a recording that cannot be used.
        """
        from sld_user_dir.hub.unit_extractor import UnitSource

        features = None if self.kind == "mfcc" or encoder is None else str(encoder)
        extractor = UnitSource(self.data, features=features).open(self.model.provenance, "cpu")
        return [self.of_units(units) for units in extractor(files)]


def best_system(plan: Plan, systems: Sequence[System]) -> System:
    """The one with the lowest word error rate in validation; the test sets have no say."""

    def validation_wer(system: System) -> float:
        wer = read_curves(plan.directory(system) / LOG_FILE).best("wer")
        return float("inf") if wer is None else wer

    return min(systems, key=validation_wer)


def listener(plan: Plan, systems: Sequence[System]) -> Listener:
    """The model of the best system, loaded."""
    from sld_user_dir import hub

    system = best_system(plan, systems)
    model = hub.load(plan.directory(system) / "checkpoint_best.pt", plan.data, device="cpu")
    kind = kind_of_units(read_manifest(plan.data / f"{plan.test_sets[0]}.tsv"))
    return Listener(kind, system.name, model, plan.data)


def hear_units(listeners: Sequence[Listener], counts: dict[str, int]) -> Iterator[Heard]:
    """The first utterances of test sets, as far as every listener's data directory has them.

    Args:
        counts: test set to how many of its utterances, most.
    """
    for test_set, count in counts.items():
        paths = [one.data / f"{test_set}.tsv" for one in listeners]
        if not all(path.exists() for path in paths):
            continue
        first, *others = (read_manifest(path) for path in paths)
        by_id = [{utterance.id: utterance for utterance in manifest} for manifest in (first, *others)]
        shared = [one for one in first if all(one.id in found for found in by_id)]
        for utterance in shared[:count]:
            heard = {one.kind: one.of_units(found[utterance.id].units.tolist()) for one, found in zip(listeners, by_id)}
            yield Heard(utterance.id, utterance.text, heard)


def hear_audio(listeners: Sequence[Listener], files: Sequence[Path], encoder: Optional[Path]) -> Iterator[Heard]:
    """Recordings of one speaker, from the audio."""
    heard = {one.kind: one.of_audio(files, encoder) for one in listeners}
    for number, file in enumerate(files):
        yield Heard(file.name, None, {kind: texts[number] for kind, texts in heard.items()})


def line_of_transcripts(heard: Heard) -> str:
    """A line a kind of units, under what was said; what is wrong is marked."""
    said = "" if heard.said is None else f"  said: {heard.said}"
    lines = [f"{heard.recording}{said}"]
    for kind, text in heard.transcripts.items():
        mark = "" if heard.said is None or text == heard.said else "   (wrong)"
        lines.append(f"    {kind:<16} {text}{mark}")
    return "\n".join(lines)
