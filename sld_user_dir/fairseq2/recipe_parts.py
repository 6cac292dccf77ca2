"""What both recipes put together: data and model that fit each other, the generator, and how errors are shown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Iterator, Type

from fairseq2.logging import log
from fairseq2.recipe.base import RecipeContext
from fairseq2.recipe.cli import register_cli_error

from sld_user_dir.errors import InputError
from sld_user_dir.fairseq2.joint_transformer import JointTransformer
from sld_user_dir.fairseq2.recipe_config import SearchSection, UnitDatasetSection
from sld_user_dir.fairseq2.transformer_decoder import TransformerDecoder
from sld_user_dir.fairseq2.unit_batch_reader import UnitBatchReader
from sld_user_dir.fairseq2.unit_manifests import UnitManifests, check_units
from sld_user_dir.fairseq2.unit_tokenizer import UnitTokenizer
from sld_user_dir.search.beam import SearchOptions
from sld_user_dir.search.generator import PromptGenerator
from sld_user_dir.search.scorers import FusedCtc, Scorer
from sld_user_dir.sequences.augmentation import build_augmentation
from sld_user_dir.sequences.ctc_classes import CtcClasses
from sld_user_dir.sequences.sequence_format import FORMATS
from sld_user_dir.vocabulary.joint import JointVocabulary


def data_of(context: RecipeContext) -> UnitManifests:
    """The data of a recipe, whose units and vocabulary are those of its model.

    Raises:
        InputError: names both sides.
    """
    data, vocab = context.get_dataset_as(UnitManifests), context.get_tokenizer_as(UnitTokenizer).vocab
    if data.vocab.fingerprint != vocab.fingerprint:
        problem = f"its vocabulary is {data.vocab.fingerprint}, but the tokenizer's is {vocab.fingerprint}"
        raise InputError(data.data, problem, "set tokenizer.path to the data directory")
    units = context.get_model_as(JointTransformer).units
    if units is not None and data.provenance is not None:
        check_units(data.data, data.provenance, "the model", units)
    return data


def reader_of(
    context: RecipeContext, data: UnitManifests, section: UnitDatasetSection, split: str, **options: Any
) -> UnitBatchReader:
    """The batches of a split; in training shuffled.

    Args:
        options: of `UnitBatchReader`; with `count` and `seed`, for training.
    """
    training = "count" in options
    dataset = data.open_split(
        split,
        context.get_model_as(JointTransformer).max_seq_len,
        section.task_mix,
        skip_too_long=section.skip_too_long,
        add_bos=section.add_bos,
        shuffle=training,
        mixed_lengths=training and section.mixed_lengths,
        seed=options.get("seed", 1),
    )
    if training:
        asked = SimpleNamespace(**vars(section), seed=options["seed"])
        dataset.augment = build_augmentation(asked, data.units_of(split), str(data.data / f"{split}.tsv"))
    return UnitBatchReader(
        dataset,
        context.gangs,
        max_num_tokens=section.max_num_tokens,
        num_seqs_multiple_of=section.num_seqs_multiple_of,
        **options,
    )


def generator_of(model: JointTransformer, vocab: JointVocabulary, section: SearchSection) -> PromptGenerator:
    """The search over the model.

    Raises:
        InputError: an option out of range.
    """
    if section.max_len_b < 1:
        raise InputError(f"search.max_len_b={section.max_len_b}", "no token for a transcript", "take at least 1")
    where = f"search.beam={section.beam} search.ctc_weight={section.ctc_weight}"
    if section.beam < 1 or not 0 <= section.ctc_weight <= 1:
        raise InputError(where, "nothing to search", "choose a beam above 0 and a weight in [0, 1]")
    if section.ctc_weight and vocab.tasks:
        raise InputError(where, "CTC is for a model of speech recognition alone", "leave search.ctc_weight out")
    ctc = FusedCtc(CtcClasses.of(vocab), section.ctc_weight) if section.ctc_weight else None
    scorer = Scorer([TransformerDecoder(model, vocab)], FORMATS["asr"].emission(vocab), ctc=ctc)
    options = SearchOptions(beam=section.beam, lenpen=section.lenpen)
    return PromptGenerator(vocab, options, scorer, max_len_b=section.max_len_b)


def show_input_errors(container: Any) -> None:
    """Let fairseq2's command line print an `InputError` by itself, without a stack trace."""
    for kind in _kinds(InputError):
        register_cli_error(container, kind, _show)


def _show(error: InputError) -> int:
    log.error(str(error))
    return 2


def _kinds(kind: Type[InputError]) -> Iterator[Type[InputError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from _kinds(narrower)
