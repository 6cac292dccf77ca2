"""The recipe that trains: every loss term of the core, validation by WER."""

from __future__ import annotations

from typing import List, Type

from fairseq2.recipe.base import Recipe, RecipeContext
from fairseq2.runtime.dependency import DependencyContainer
from fairseq2.task import Task

from sld_user_dir.compatibility import refuse_conflicts
from sld_user_dir.errors import check_probability
from sld_user_dir.fairseq2.joint_transformer import JointTransformer
from sld_user_dir.fairseq2.objective_section import build_objective
from sld_user_dir.fairseq2.recipe_config import UnitRecipeConfig
from sld_user_dir.fairseq2.recipe_parts import data_of, generator_of, reader_of, show_input_errors
from sld_user_dir.fairseq2.training_units import UnitEvalUnit, UnitTrainUnit
from sld_user_dir.fairseq2.unit_loss import UnitLoss
from sld_user_dir.fairseq2.unit_manifests import UnitManifests
from sld_user_dir.losses.objective import Objective
from sld_user_dir.losses.term import Context
from sld_user_dir.sequences.feature_names import CHANGED_UNITS, HIDDEN_SEPARATORS, TASK_TOKENS
from sld_user_dir.sequences.sequence_format import FORMATS, SPEECH
from sld_user_dir.sequences.task_mix import RECOGNITION, parse_mix


class UnitTrainingRecipe(Recipe):
    """`python -m sld_user_dir.fairseq2`."""

    def register(self, container: DependencyContainer) -> None:
        show_input_errors(container)

    @property
    def config_kls(self) -> Type[object]:
        return UnitRecipeConfig

    def create_task(self, context: RecipeContext) -> Task:
        config = context.get_config_as(UnitRecipeConfig)
        data, model = data_of(context), context.get_model_as(JointTransformer)
        loss = UnitLoss(
            context.get_data_parallel_model(),
            model,
            objective_of(config, data),
            data.vocab,
            context.gangs,
            config.loss.form,
            config.loss.chunk_size,
        )
        section = config.dataset
        reader = reader_of(
            context,
            data,
            section,
            section.train_split,
            num_accumulate=config.trainer.grad_accumulation.num_batches,
            seed=config.common.seed,
            count=loss.divisors,
        )
        unit = UnitTrainUnit(loss, data.vocab, section.input_mask_prob, section.input_mask_tokens == "speech")
        if section.valid_split is None:
            return context.create_trainer(unit, reader)
        generator = generator_of(model, data.vocab, config.search)
        valid = reader_of(context, data, section, section.valid_split)
        return context.create_trainer(unit, reader, [UnitEvalUnit(loss, data.vocab, generator)], [valid])


def objective_of(config: UnitRecipeConfig, data: UnitManifests) -> Objective:
    """The objective of a configuration.

    Raises:
        InputError: options that make none, or that exclude each other.
    """
    section = config.dataset
    check_probability("dataset.input_mask_prob", section.input_mask_prob)
    mix = parse_mix(section.task_mix, data.vocab) if section.task_mix else RECOGNITION
    path = data.data / f"{section.train_split}.tsv"
    context = Context(
        vocab=data.vocab,
        add_bos=section.add_bos,
        answers_in_speech=any(FORMATS[task].answer == SPEECH for task in mix),
        provenance={str(path): data.units_of(section.train_split)},
    )
    objective = build_objective(config.objective, context)
    switches = (
        (TASK_TOKENS, bool(data.vocab.tasks)),
        (CHANGED_UNITS, section.dedup_prob > 0 or section.unit_substitution_prob > 0),
        (HIDDEN_SEPARATORS, section.input_mask_prob > 0 and section.input_mask_tokens == "all"),
    )
    features: List[str] = [feature for feature, on in switches if on]
    refuse_conflicts([*objective.features, *features], objective.conflicts)
    return objective
