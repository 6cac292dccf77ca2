"""The task `speech_unit_lm`: wires vocabulary, data, generator and validation by WER."""

import logging
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
import torch
from fairseq import utils
from fairseq.data.iterators import EpochBatchIterator
from fairseq.tasks import FairseqTask, register_task
from torch import Tensor, nn

from sld_user_dir.clustering.kmeans_file import Centroids
from sld_user_dir.errors import InputError
from sld_user_dir.fairseq_patches import interactive_input
from sld_user_dir.manifests.memory_map import open_manifest
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.models.centroid_embeddings import centroid_embeddings
from sld_user_dir.models.dictionaries import TextView, UnitString, UnitView
from sld_user_dir.models.generation import build_generator, refuse_no_token
from sld_user_dir.models.unset_buffers import set_unset_buffers
from sld_user_dir.sequences.augmentation import build_augmentation
from sld_user_dir.sequences.feature_names import CTC_LOSS, LEARNED_UNITS
from sld_user_dir.sequences.input_masking import hide_inputs
from sld_user_dir.sequences.manifest_dataset import dataset_from_manifest
from sld_user_dir.sequences.sequence_format import FORMATS, SPEECH, format_of
from sld_user_dir.sequences.task_mix import parse_mix
from sld_user_dir.sequences.typed_lines import TypedLines
from sld_user_dir.tasks.compatibility_check import CompatibilityCheck
from sld_user_dir.tasks.fairseq_dataset import FairseqSequenceDataset
from sld_user_dir.tasks.framed_dataset import FramedDataset
from sld_user_dir.tasks.learned_units import LearnedUnits
from sld_user_dir.tasks.loaded_counts import LoadedCounts
from sld_user_dir.tasks.provenance_guard import ProvenanceGuard
from sld_user_dir.tasks.task_config import SpeechUnitLMConfig, check_ranges
from sld_user_dir.tasks.update_iterator import UpdateBatchIterator
from sld_user_dir.tasks.validation import Validation
from sld_user_dir.tasks.word_time_file import build_word_time_file
from sld_user_dir.vocabulary.joint import JointVocabulary

logger = logging.getLogger(__name__)

Sample = Dict[str, Any]


class TextDecoder:
    """fairseq's `bpe` interface over the vocabulary's text tokenizer, for D- and T- lines."""

    def __init__(self, vocab: JointVocabulary):
        self.vocab = vocab

    def encode(self, text: str) -> str:
        # fairseq-interactive encodes its input, which here is a line of units
        return text

    def decode(self, text: str) -> str:
        if isinstance(text, UnitString):
            return text
        return self.vocab.tokenizer.decode(text.split(" ") if text else [])


@register_task("speech_unit_lm", dataclass=SpeechUnitLMConfig)
class SpeechUnitLMTask(FairseqTask):
    """Language modelling of `units <sep> text </s>`; decoding reads units, writes text."""

    cfg: SpeechUnitLMConfig

    def __init__(self, cfg: SpeechUnitLMConfig, vocab: JointVocabulary):
        super().__init__(cfg)
        check_ranges(cfg)
        self.vocab = vocab
        self._source_view, self._target_view = UnitView(vocab), TextView(vocab)
        self.guard = ProvenanceGuard(vocab, str(cfg.data))
        self.decode_task = str(cfg.decode_task)
        if vocab.tasks or self.decode_task != "asr":
            format_of(self.decode_task, vocab)
        self.mix = parse_mix(cfg.task_mix, vocab) if cfg.task_mix else {self.decode_task: 1.0}
        self.validation = Validation(cfg, vocab, self.mix)
        self.compatibility = CompatibilityCheck(cfg, vocab)
        self.learned_units = LearnedUnits(cfg, vocab) if cfg.learn_units else None
        if cfg.learn_encoder and not cfg.learn_units:
            raise InputError("--learn-encoder", "no units are learnt with it", "add --learn-units KMEANS")
        self._divisors: Optional[Callable[[Sample], Tensor]] = None  # of the criterion, once there is one
        self._initial_centroids: Optional[Centroids] = None  # that the embeddings of units start from
        self._typed = TypedLines()
        self._trained_with_ctc: Optional[bool] = None  # None: not known, as of a checkpoint that does not say
        self.loaded_counts = LoadedCounts(cfg)
        self.word_times = build_word_time_file(cfg, vocab, self.decode_task)

    @classmethod
    def setup_task(cls, cfg: SpeechUnitLMConfig, **kwargs: Any) -> "SpeechUnitLMTask":
        """Load the vocabulary of the data directory `cfg.data`."""
        if not cfg.data:
            raise InputError(None, "speech_unit_lm needs a data directory", "give it as the positional argument")
        interactive_input.install()  # here, since fairseq-interactive is loaded by now, whatever was imported first
        vocab = JointVocabulary.load(Path(utils.split_paths(cfg.data)[0]))
        logger.info(
            "vocabulary of %s: %d text symbols (%s), %d units",
            cfg.data,
            vocab.text_end - vocab.text_start,
            vocab.tokenizer.name,
            vocab.num_units,
        )
        return cls(cfg, vocab)

    @property
    def provenance(self) -> Dict[str, UnitProvenance]:
        """What made the units of each manifest that is loaded."""
        return self.guard.manifests

    @property
    def checkpoint_provenance(self) -> Optional[UnitProvenance]:
        """What made the units that a checkpoint was trained on, once it is loaded."""
        return self.guard.of_checkpoint

    @property
    def answers_in_speech(self) -> bool:
        """Whether a task of the mixture answers in speech."""
        return any(FORMATS[task].answer == SPEECH for task in self.mix)

    # -- dictionaries and text ----------------------------------------------
    @property
    def source_dictionary(self) -> UnitView:
        """The joint dictionary, printing units."""
        return self._source_view

    @property
    def target_dictionary(self) -> TextView:
        """The joint dictionary, printing text."""
        return self._target_view

    @property
    def dictionary(self) -> TextView:
        """The joint dictionary, by the name that lstm_lm and lightconv_lm ask for."""
        return self._target_view

    @property
    def output_dictionary(self) -> TextView:
        """The same, for lightconv_lm."""
        return self._target_view

    def build_bpe(self, args: Any) -> TextDecoder:
        """The text tokenizer belongs to the vocabulary; fairseq's --bpe is not consulted."""
        return TextDecoder(self.vocab)

    def build_tokenizer(self, args: Any) -> None:
        return None

    # -- data ----------------------------------------------------------------
    def max_positions(self) -> int:
        return self.cfg.max_target_positions or self.cfg.tokens_per_sample

    def load_dataset(
        self, split: str, epoch: int = 1, combine: bool = False, task_cfg: Any = None, **kwargs: Any
    ) -> None:
        """Load `<data>/<split>.tsv`.

        `task_cfg` is a checkpoint's own configuration, given for decoding and validation.
        """
        paths = utils.split_paths(self.cfg.data)
        path = Path(paths[(epoch - 1) % len(paths)]) / f"{split}.tsv"
        manifest = open_manifest(path)
        self.guard.add_manifest(path, manifest.provenance)
        model = task_cfg or self.cfg
        training = split.startswith("train") and task_cfg is None
        # fairseq-generate says that it decodes by handing over a checkpoint's configuration; so does fairseq-validate,
        # but on the checkpoint's own task, with its --task-mix
        prompts_alone = task_cfg is not None and not self.cfg.task_mix
        # while decoding, what is too long may be left out by an option of fairseq's, which the batch iterator knows
        checked_later = task_cfg is not None and not self.cfg.skip_too_long
        self.datasets[split] = dataset_from_manifest(
            manifest,
            self.vocab,
            None if checked_later else model.max_target_positions or model.tokens_per_sample,
            FairseqSequenceDataset if self.learned_units is None else FramedDataset,
            skip_too_long=self.cfg.skip_too_long,
            mix=self.mix,
            add_bos=model.add_bos_token,
            shuffle=split.startswith("train"),
            packed=training and self.cfg.pack_utterances,
            mixed_lengths=training and self.cfg.mixed_lengths,
            seed=self.cfg.seed,
            prompt_fraction=self.cfg.prompt_fraction if prompts_alone else None,
        )
        self.datasets[split].keeps_all = training and not self.cfg.skip_too_long
        if self.learned_units is not None:
            self.learned_units.add_frames(self.datasets[split], manifest, path)
        if training:
            if self._initial_centroids is not None:
                self._initial_centroids.check(manifest.provenance, str(path))
            self.datasets[split].augment = build_augmentation(self.cfg, manifest.provenance, str(path))
        if self.word_times is not None:
            self.word_times.read_units_of(manifest)
        if task_cfg is not None:
            self.cfg.max_target_positions = model.max_target_positions or model.tokens_per_sample
        self.loaded_counts.loaded(split, manifest, self.datasets[split])
        _log_loaded(path, manifest)

    def get_batch_iterator(self, dataset: FairseqSequenceDataset, *args: Any, **kwargs: Any) -> EpochBatchIterator:
        """Batches; those of a training set carry the divisors of their whole update."""
        dataset.max_tokens = kwargs.get("max_tokens")
        iterator = super().get_batch_iterator(dataset, *args, **kwargs)
        self.loaded_counts.batched(dataset, iterator)
        if self.word_times is not None:
            self.word_times.expect(iterator.frozen_batches[iterator.shard_id :: iterator.num_shards])
        if not dataset.shuffle or isinstance(iterator, UpdateBatchIterator):
            return iterator
        if self.learned_units is not None:
            self.learned_units.check_batches(dataset, len(iterator.frozen_batches))
        iterator = UpdateBatchIterator.wrap(iterator, self._count_divisors, self.cfg.update_freq, self.vocab.pad)
        if dataset in self.dataset_to_epoch_iter:
            self.dataset_to_epoch_iter[dataset] = iterator
        return iterator

    def filter_indices_by_size(
        self,
        indices: np.ndarray,
        dataset: FairseqSequenceDataset,
        max_positions: Any = None,
        ignore_invalid_inputs: bool = False,
    ) -> np.ndarray:
        """Indices that can be used; others are an error, or left out with a warning where that was asked for."""
        skip = ignore_invalid_inputs or self.cfg.skip_too_long
        kept = dataset.usable_indices(indices, max_positions, skip)
        self.loaded_counts.filtered(dataset, indices, kept)
        return kept

    def _count_divisors(self, sample: Sample) -> Tensor:
        return torch.zeros(0, dtype=torch.long) if self._divisors is None else self._divisors(sample)

    def state_dict(self) -> Dict[str, Any]:
        """What a checkpoint remembers of vocabulary and units."""
        state = {**super().state_dict(), **self.guard.state(), "trained_with_ctc": self._trained_with_ctc}
        return state if self.learned_units is None else {**state, LEARNED_UNITS: self.learned_units.state()}

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        """Refuse a checkpoint of another vocabulary or of other units, and joint decoding without a CTC."""
        state = self.guard.load_state(state_dict)
        learned = state.pop(LEARNED_UNITS, None)
        if learned is not None and self.learned_units is not None:
            self.learned_units.check_state(learned)
        elif learned is not None:
            raise InputError(
                None,
                "the checkpoint holds units that were learnt with it, which no manifest has",
                "export it by sld export-kmeans --checkpoint, and decode what that writes",
            )
        self._trained_with_ctc = state.pop("trained_with_ctc", None)
        self.decode_with_ctc(self.cfg.decode_ctc_weight)
        super().load_state_dict(state)

    def decode_with_ctc(self, weight: float) -> None:
        """Recognise with this share of the CTC from now on.

        Raises:
            InputError: the checkpoint was trained without.
        """
        if weight and self._trained_with_ctc is False:
            raise InputError(
                f"--decode-ctc-weight {weight}",
                "the checkpoint was trained without --ctc-weight, so its speech positions hold no CTC",
                "leave it out, or train with --ctc-weight",
            )
        self.cfg.decode_ctc_weight = weight

    @property
    def has_ctc(self) -> bool:
        """Whether the checkpoint is known to have a CTC on its speech positions."""
        return bool(self._trained_with_ctc)

    # -- inference -----------------------------------------------------------
    def get_interactive_tokens_and_lengths(self, lines: List[str], encode_fn: Any) -> Tuple[List[Tensor], List[int]]:
        """Units typed on lines, for fairseq-interactive; text where `--decode-task` reads text."""
        if self.cfg.word_times:
            raise InputError("--word-times", "units that are typed have no durations", "decode a manifest of theirs")
        prompts = self._typed.read(lines, FORMATS[self.decode_task], self.vocab)
        return [torch.tensor(prompt, dtype=torch.long) for prompt in prompts], [len(prompt) for prompt in prompts]

    def build_dataset_for_inference(
        self,
        src_tokens: List[Tensor],
        src_lengths: List[int],
        decode_task: Optional[str] = None,
        names: Optional[List[str]] = None,
        **kwargs: Any,
    ) -> FairseqSequenceDataset:
        """Unlabelled prompts from tensors of ids (one an utterance): of units, or of text for `tts` and `lm`.

        Args:
            names: how errors call them; by default the lines that were typed last, if any were.
        """
        if self.learned_units is not None:
            self.learned_units.refuse_units()
        if kwargs.get("constraints") is not None:
            raise NotImplementedError("--constraints is not supported by speech_unit_lm")
        task = decode_task or self.decode_task
        speech = format_of(task, self.vocab).reads_speech
        nothing = np.zeros(0, dtype=np.int64)
        units = [np.array(self.vocab.decode_units(t.tolist())) if speech else nothing for t in src_tokens]
        texts = [[] if speech else t.tolist() for t in src_tokens]
        return FairseqSequenceDataset(
            units,
            texts,
            self.vocab,
            {task: 1.0},
            add_bos=self.cfg.add_bos_token,
            names=names or self._typed.names or None,
            prompt_fraction=1.0,
            labelled=False,
        )

    def build_generator(
        self,
        models: List[nn.Module],
        args: Any,
        seq_gen_cls: Any = None,
        extra_gen_cls_kwargs: Optional[Dict[str, Any]] = None,
        decode_task: Optional[str] = None,
        ctc_weight: Optional[float] = None,
        **kwargs: Any,
    ) -> Any:
        """The one-pass generator of `search`, emitting what answers of the task are made of.

        Args:
            decode_task: in place of `--decode-task`.
            ctc_weight: in place of `--decode-ctc-weight`, which is for recognition.
        """
        refuse_no_token(args)
        sequence = FORMATS[decode_task or self.decode_task]
        if ctc_weight is None:
            ctc_weight = self.cfg.decode_ctc_weight if decode_task in (None, "asr") else 0.0
        return build_generator(
            models, self.vocab, args, **(extra_gen_cls_kwargs or {}), sequence=sequence, ctc_weight=ctc_weight
        )

    def inference_step(
        self,
        generator: Any,
        models: List[nn.Module],
        sample: Sample,
        prefix_tokens: Optional[Tensor] = None,
        constraints: Optional[Tensor] = None,
    ) -> List[List[Dict[str, Tensor]]]:
        """Decode the prompts of a batch; `prefix_tokens` (B, P) force the transcript's start."""
        with torch.no_grad():
            if self.learned_units is not None:
                sample = self.learned_units.quantise(sample, models[0])
            found = generator.generate(models, sample, prefix_tokens=prefix_tokens, constraints=constraints)
        self.loaded_counts.decoded(sample, found)
        if self.word_times is not None:
            self.word_times.add(generator, sample, found, self.has_ctc)
        return found

    # -- training ------------------------------------------------------------
    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> nn.Module:
        """fairseq's; refuses a model that can't do what the run asks of it."""
        model = super().build_model(cfg, from_checkpoint)
        set_unset_buffers(model)
        self.compatibility.add_model(model)
        if self.learned_units is not None:
            self.learned_units.add_to(model)
        if self.cfg.init_unit_embeddings and not from_checkpoint:
            self._init_unit_embeddings(model, Centroids.load(self.cfg.init_unit_embeddings))
        return model

    def _init_unit_embeddings(self, model: nn.Module, centroids: Centroids) -> None:
        if centroids.num_units != self.vocab.num_units:
            raise InputError(
                f"--init-unit-embeddings {centroids.path}",
                f"{centroids.num_units} centroids for {self.vocab.num_units} units",
                "give the k-means file of the units",
            )
        decoder: Any = model.decoder
        self._initial_centroids = centroids
        if hasattr(decoder, "init_units"):
            decoder.init_units(centroids)
            return
        units = decoder.embed_tokens.weight[self.vocab.unit_offset :]
        with torch.no_grad():
            units.copy_(centroid_embeddings(centroids, units))

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        """fairseq's; it comes before data and weights are loaded: the place to check what training goes on from."""
        if self.cfg.word_times:
            raise InputError("--word-times", "it is an option of fairseq-generate", "leave it out")
        self.guard.check_start(self.cfg)
        criterion = super().build_criterion(cfg, **kwargs)
        self.compatibility.add_objective(criterion)
        self._divisors = getattr(criterion, "divisors", None)
        self._trained_with_ctc = self.compatibility.has(CTC_LOSS)
        self.loaded_counts.training = True
        return criterion

    def train_step(
        self,
        sample: Sample,
        model: nn.Module,
        criterion: nn.Module,
        optimizer: Any,
        update_num: int,
        ignore_grad: bool = False,
    ) -> Tuple[Tensor, float, Dict[str, Any]]:
        tell: Any = getattr(criterion, "set_num_updates", None)
        if tell is not None:  # fairseq tells models and optimizers, not criteria
            tell(update_num)
        if self.learned_units is not None:
            model.train()
            sample = self.learned_units.quantise(sample, model, update_num)
            criterion = self.learned_units.with_collapse_loss(criterion, model, sample, update_num)
        return super().train_step(self.mask_inputs(sample), model, criterion, optimizer, update_num, ignore_grad)

    def optimizer_step(self, optimizer: Any, model: nn.Module, update_num: int) -> None:
        """fairseq's; an encoder that is trained has a learning rate of its own."""
        learned = self.learned_units
        if learned is None or learned.encoder is None:
            super().optimizer_step(optimizer, model, update_num)
            return
        with learned.encoder.own_learning_rate(model, update_num):
            super().optimizer_step(optimizer, model, update_num)

    def mask_inputs(self, sample: Sample) -> Sample:
        """Hide input tokens at random (`--input-mask-prob`); a new sample, same targets."""
        cfg = self.cfg
        return hide_inputs(sample, self.vocab, cfg.input_mask_prob, speech_only=str(cfg.input_mask_tokens) == "speech")

    def valid_step(
        self, sample: Sample, model: nn.Module, criterion: nn.Module
    ) -> Tuple[Tensor, float, Dict[str, Any]]:
        if self.learned_units is not None:
            with torch.no_grad():
                sample = self.learned_units.quantise(sample, model.eval())
        loss, sample_size, log = super().valid_step(sample, model, criterion)
        return loss, sample_size, {**log, **self.validation.measure(self, sample, model, log)}

    def reduce_metrics(self, logging_outputs: List[Dict[str, Any]], criterion: nn.Module) -> None:
        super().reduce_metrics(logging_outputs, criterion)
        self.validation.log(logging_outputs)

    # -- fairseq-eval-lm -------------------------------------------------------
    def eval_lm_dataloader(
        self,
        dataset: FairseqSequenceDataset,
        max_tokens: Optional[int] = 36000,
        batch_size: Optional[int] = None,
        max_positions: Any = None,
        num_shards: int = 1,
        shard_id: int = 0,
        num_workers: int = 1,
        data_buffer_size: int = 10,
        context_window: int = 0,
    ) -> Any:
        """Batches for fairseq-eval-lm: every utterance whole, in one window."""
        if context_window > 0:
            raise InputError(
                f"--context-window {context_window}", "utterances are never split", "leave --context-window out"
            )
        dataset.augment = None
        return self.get_batch_iterator(
            dataset=dataset,
            max_tokens=max_tokens,
            max_sentences=batch_size,
            max_positions=max_positions,
            num_shards=num_shards,
            shard_id=shard_id,
            num_workers=num_workers,
            data_buffer_size=data_buffer_size,
        ).next_epoch_itr(shuffle=False)


def _log_loaded(path: Path, manifest: Any) -> None:
    units, n = len(manifest.units), len(manifest)
    logger.info(
        "%s: %d utterances, %d units (%.1f each), provenance %s",
        path,
        n,
        units,
        units / max(n, 1),
        manifest.provenance.describe(),
    )
