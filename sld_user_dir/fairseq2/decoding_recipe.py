"""The recipe that decodes a split: hypotheses in the lines of fairseq-generate, for `sld score`, and the WER."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, MutableMapping, Type

from fairseq2.evaluator import EvalUnit
from fairseq2.metrics import MetricBag
from fairseq2.recipe.base import Recipe, RecipeContext
from fairseq2.runtime.dependency import DependencyContainer
from fairseq2.task import Task

from sld_user_dir.fairseq2 import unit_metrics
from sld_user_dir.fairseq2.hypothesis_lines import lines_of
from sld_user_dir.fairseq2.joint_transformer import JointTransformer
from sld_user_dir.fairseq2.recipe_config import DecodingRecipeConfig
from sld_user_dir.fairseq2.recipe_parts import data_of, generator_of, reader_of, show_input_errors
from sld_user_dir.fairseq2.unit_batch import UnitBatch
from sld_user_dir.files import atomic_path
from sld_user_dir.scoring.recognition_errors import count_errors
from sld_user_dir.search.generator import PromptGenerator
from sld_user_dir.vocabulary.joint import JointVocabulary


class UnitDecodingRecipe(Recipe):
    """`python -m sld_user_dir.fairseq2.decode`; the split is `dataset.valid_split`."""

    def register(self, container: DependencyContainer) -> None:
        show_input_errors(container)

    @property
    def config_kls(self) -> Type[object]:
        return DecodingRecipeConfig

    def create_task(self, context: RecipeContext) -> Task:
        config = context.get_config_as(DecodingRecipeConfig)
        data, split = data_of(context), config.dataset.valid_split or "valid"
        generator = generator_of(context.get_model_as(JointTransformer), data.vocab, config.search)
        reader = reader_of(context, data, config.dataset, split)
        rank = f"-{context.gangs.dp.rank}" if context.gangs.dp.size > 1 else ""
        out = context.output_dir / f"generate-{split}{rank}.txt"
        return context.create_evaluator([UnitDecodingUnit(generator, data.vocab, out)], [reader])


class UnitDecodingUnit(EvalUnit[UnitBatch]):
    """Recognises batches; writes what it found when the last one is done."""

    def __init__(self, generator: PromptGenerator, vocab: JointVocabulary, out: Path):
        self._generator, self._vocab, self._out = generator, vocab, out
        self._lines: List[str] = []

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        unit_metrics.update_errors(metric_bag, count_errors([], [], self._vocab))

    def process_batch(self, batch: UnitBatch, metric_bag: MetricBag) -> None:
        sample: Dict[str, Any] = batch.sample
        if not sample["nsentences"]:
            return
        hypotheses = self._generator.generate(None, sample)
        self._lines += lines_of(sample, hypotheses, self._vocab)
        unit_metrics.update_errors(metric_bag, count_errors(sample["target"], hypotheses, self._vocab))
        unit_metrics.update_sizes(metric_bag, batch)

    def finalize(self, metric_bag: MetricBag) -> None:
        with atomic_path(self._out) as aside:
            aside.write_text("\n".join(self._lines) + "\n", encoding="utf-8")

    def process_metric_values(self, values: MutableMapping[str, object]) -> None:
        unit_metrics.finish(values)
