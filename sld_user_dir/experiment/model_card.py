"""A model card: README.md in Hugging Face's form, beside a checkpoint or an exported model.

    text = model_card(gather(checkpoint, data, results), CardOptions(name="digits"))

The same inputs give the same bytes: no dates, no paths of this machine. What was not measured reads "not evaluated".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sld_user_dir.errors import InputError
from sld_user_dir.experiment import card_sections as sections
from sld_user_dir.experiment.card_facts import Evaluated, Facts
from sld_user_dir.experiment.card_objective import objective
from sld_user_dir.experiment.card_options import CardOptions
from sld_user_dir.experiment.card_use import use
from sld_user_dir.files import atomic_path, read_log

MARK = "<!-- model card: written by a command, which writes it again -->"


def write_card(path: Path, text: str) -> None:
    """Write a card, atomically.

    Raises:
        ValueError: a file of that name was written by hand.
    """
    if path.exists() and not any(MARK in line for line in read_log(path)):
        raise InputError(path, "was not written by this command", "move it, or name another file")
    with atomic_path(path) as aside:
        aside.write_text(text, encoding="utf-8")


def model_card(facts: Facts, options: CardOptions) -> str:
    """The whole file: front matter and sections."""
    about = (
        "A decoder-only Transformer that reads speech as discrete units and writes the transcript, trained with "
        "fairseq's `fairseq-train --task speech_unit_lm` of the user directory `sld_user_dir`."
    )
    parts = {
        "Evaluation": sections.evaluation(facts),
        "Use": use(facts, options),
        "Units": sections.units(facts),
        "Data": sections.data(facts, options),
        "Vocabulary": sections.vocabulary(facts),
        "Model": sections.model(facts),
        "Objective": objective(facts),
        "Training": sections.training(facts),
        "Limits": sections.limits(facts),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in parts.items())
    return f"---\n{_front_matter(facts, options)}---\n\n{MARK}\n\n# {options.name}\n\n{about}\n\n{body}\n"


# -- front matter ----------------------------------------------------------------------
def _front_matter(facts: Facts, options: CardOptions) -> str:
    entries: dict[str, Any] = {}
    if options.language:
        entries["language"] = options.language
    if options.license:
        entries["license"] = options.license
    entries["library_name"] = options.library
    entries["pipeline_tag"] = "automatic-speech-recognition"
    entries["tags"] = ["speech", "discrete-units", "decoder-only", "fairseq", "sld_user_dir"]
    if facts.results:
        entries["model-index"] = [{"name": options.name, "results": [_index(r) for r in facts.results]}]
    return str(yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=1000))


def _index(result: Evaluated) -> dict[str, Any]:
    metrics = [
        {"type": kind, "value": round(result.report[kind]["rate"], 2), "name": kind.upper()} for kind in ("wer", "cer")
    ]
    return {
        "task": {"type": "automatic-speech-recognition"},
        "dataset": {"name": result.test_set, "type": "unit-manifest", "split": result.test_set},
        "metrics": metrics,
    }
