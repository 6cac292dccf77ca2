"""The task ``speech_unit_lm``: wires vocabulary, data, generator and validation by WER."""

import logging
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import torch
from fairseq import utils
from fairseq.data.iterators import EpochBatchIterator
from fairseq.dataclass.configs import GenerationConfig
from fairseq.tasks import FairseqTask, register_task
from torch import Tensor, nn

from sld_user_dir.losses.normalisation import count_targets
from sld_user_dir.losses.positions import Layout
from sld_user_dir.manifests.memory_map import open_manifest
from sld_user_dir.manifests.unit_manifest import ManifestError, UnitProvenance
from sld_user_dir.sequences.augmentation import build_augmentation
from sld_user_dir.sequences.dataset import UnitDataset, dataset_from_manifest
from sld_user_dir.sequences.input_masking import hide_inputs
from sld_user_dir.sequences.mixture import MixtureDataset, parse_mix, require_task
from sld_user_dir.tasks.provenance_guard import state_to_go_on_from
from sld_user_dir.tasks.task_config import SpeechUnitLMConfig
from sld_user_dir.tasks.update_counts import UpdateCountsIterator
from sld_user_dir.tasks.validation import count_answers, count_errors, holds_only, log_error_rates, log_tasks
from sld_user_dir.vocabulary.joint import TASKS, JointVocabulary, SpeechRole, TextView, UnitString, UnitView

logger = logging.getLogger(__name__)

Sample = Dict[str, Any]


class TextDecoder:
    """fairseq's ``bpe`` interface over the vocabulary's text tokenizer, for D- and T- lines."""

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
    """Language modelling of ``units <sep> text </s>``; decoding reads units, writes text."""

    cfg: SpeechUnitLMConfig

    def __init__(self, cfg: SpeechUnitLMConfig, vocab: JointVocabulary):
        super().__init__(cfg)
        self.vocab = vocab
        self.provenance: Dict[str, UnitProvenance] = {}
        self.checkpoint_provenance: Optional[UnitProvenance] = None
        self.checkpoint_path: Optional[Path] = None  # in training only: what it goes on from
        self.state_loaded = False
        self.wer_generator: Any = None
        self.decode_task = str(cfg.decode_task)
        if vocab.tasks or cfg.task_mix or self.decode_task != "asr":
            require_task(self.decode_task, vocab)
        self.mix = parse_mix(cfg.task_mix, vocab) if cfg.task_mix else {self.decode_task: 1.0}
        if not 0 <= cfg.prompt_fraction <= 1:
            raise ValueError(f"--prompt-fraction must lie in [0, 1], not {cfg.prompt_fraction}")
        if cfg.eval_wer and "asr" not in self.mix:
            raise ValueError(f"--eval-wer needs asr among the tasks of --task-mix, which are {', '.join(self.mix)}")
        if vocab.tasks and (cfg.pack_utterances or cfg.mixed_lengths):
            raise ValueError(
                "--pack-utterances and --mixed-lengths are for speech recognition alone, not for a mixture"
            )

    @classmethod
    def setup_task(cls, cfg: SpeechUnitLMConfig, **kwargs: Any) -> "SpeechUnitLMTask":
        """Load the vocabulary of the data directory ``cfg.data``."""
        if not cfg.data:
            raise ValueError("speech_unit_lm needs a data directory as its positional argument")
        vocab = JointVocabulary.load(Path(utils.split_paths(cfg.data)[0]))
        logger.info(
            "vocabulary of %s: %d text symbols (%s), %d units",
            cfg.data,
            vocab.text_end - vocab.text_start,
            vocab.tokenizer.name,
            vocab.num_units,
        )
        return cls(cfg, vocab)

    # -- dictionaries and text ----------------------------------------------
    @property
    def source_dictionary(self) -> UnitView:
        """The joint dictionary, printing units."""
        return self.vocab.source_view

    @property
    def target_dictionary(self) -> TextView:
        """The joint dictionary, printing text."""
        return self.vocab.target_view

    @property
    def dictionary(self) -> TextView:
        """The joint dictionary, by the name that lstm_lm and lightconv_lm ask for."""
        return self.vocab.target_view

    @property
    def output_dictionary(self) -> TextView:
        """The same, for lightconv_lm."""
        return self.vocab.target_view

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
        """Load ``<data>/<split>.tsv``; ``task_cfg`` is the checkpoint's own configuration."""
        paths = utils.split_paths(self.cfg.data)
        path = Path(paths[(epoch - 1) % len(paths)]) / f"{split}.tsv"
        manifest = open_manifest(path)
        self.provenance[str(path)] = manifest.provenance
        self._check_provenance()
        model = task_cfg or self.cfg
        training = split.startswith("train") and task_cfg is None  # generate and validate give one
        options: Dict[str, Any] = {
            "pack": training and self.cfg.pack_utterances,
            "mixed_lengths": training and self.cfg.mixed_lengths,
        }
        if self.vocab.tasks:
            options = {"make": self._mixture(for_decoding=task_cfg is not None)}
        self.datasets[split] = dataset_from_manifest(
            manifest,
            self.vocab,
            model.max_target_positions or model.tokens_per_sample,
            add_bos=model.add_bos_token,
            shuffle=split.startswith("train"),
            skip_too_long=self.cfg.skip_too_long,
            **options,
        )
        if training:
            self.datasets[split].augment = build_augmentation(self.cfg, manifest.provenance, str(path))
        if task_cfg is not None:
            self.cfg.max_target_positions = model.max_target_positions or model.tokens_per_sample
        self._log_loaded(path, manifest)

    def _mixture(self, for_decoding: bool) -> Any:
        """A maker of datasets: all tasks of the mix, or to decode `--decode-task` alone.

        fairseq-generate says that it decodes by handing over a checkpoint's configuration; so does
        fairseq-validate, but on the checkpoint's own task, with its `--task-mix`.
        """
        prompts = for_decoding and not self.cfg.task_mix
        fraction = self.cfg.prompt_fraction if prompts else None
        return partial(MixtureDataset, mix=self.mix, prompt_fraction=fraction)

    def get_batch_iterator(self, dataset: UnitDataset, *args: Any, **kwargs: Any) -> EpochBatchIterator:
        """Batches; those of a training set carry the target counts of their whole update."""
        iterator = super().get_batch_iterator(dataset, *args, **kwargs)
        if not dataset.shuffle or isinstance(iterator, UpdateCountsIterator):
            return iterator
        count = partial(count_targets, layout=Layout.of(self.vocab))
        iterator = UpdateCountsIterator.wrap(iterator, count, self.cfg.update_freq, self.vocab.pad)
        if dataset in self.dataset_to_epoch_iter:
            self.dataset_to_epoch_iter[dataset] = iterator
        return iterator

    def _log_loaded(self, path: Path, manifest: Any) -> None:
        units, n = len(manifest.units), len(manifest)
        logger.info(
            "%s: %d utterances, %d units (%.1f each), provenance %s",
            path,
            n,
            units,
            units / max(n, 1),
            manifest.provenance.describe(),
        )

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        """fairseq-train builds the criterion before it loads data and weights: the place to check what it goes on from.

        Raises:
            ValueError: that checkpoint is of another vocabulary.
        """
        if not self.state_loaded:
            self.checkpoint_path, state = state_to_go_on_from(self.cfg)
            if state:
                self.load_state_dict(state)
        return super().build_criterion(cfg, **kwargs)

    def _check_provenance(self) -> None:
        """Units of two origins in one model are an error that names both sides."""
        known = dict(self.provenance)
        if self.checkpoint_provenance is not None:
            known = {self._checkpoint_name(): self.checkpoint_provenance, **known}
        (first, expected), *others = known.items()
        for name, provenance in others:
            if provenance.fingerprint != expected.fingerprint:
                raise ManifestError(
                    name,
                    None,
                    f"its units are {provenance.describe()}, but {first} has {expected.describe()}",
                    f"extract these units again with the same encoder and k-means{self._or_afresh()}",
                )

    def _checkpoint_name(self) -> str:
        return "the checkpoint" if self.checkpoint_path is None else f"the checkpoint {self.checkpoint_path}"

    def _or_afresh(self) -> str:
        return "" if self.checkpoint_path is None else ", or train from scratch in another --save-dir"

    def state_dict(self) -> Dict[str, Any]:
        """What a checkpoint remembers: plain Python values only (torch loads weights_only)."""
        state = dict(super().state_dict())
        provenance = next(iter(self.provenance.values()), self.checkpoint_provenance)
        state["vocabulary"] = self.vocab.fingerprint
        state["unit_provenance"] = asdict(provenance) if provenance else None
        return state

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        """Refuse a checkpoint of another vocabulary or of other units."""
        self.state_loaded = True
        state = dict(state_dict)
        vocabulary = state.pop("vocabulary", None)
        provenance = state.pop("unit_provenance", None)
        if vocabulary is not None and vocabulary != self.vocab.fingerprint:
            raise ValueError(
                f"{self._checkpoint_name()}'s vocabulary is {vocabulary}, but that of {self.cfg.data} is "
                f"{self.vocab.fingerprint}; use the dict.txt and vocab.json it was trained with{self._or_afresh()}"
            )
        if provenance is not None:
            self.checkpoint_provenance = UnitProvenance(**provenance)
            self._check_provenance()
        super().load_state_dict(state)

    # -- inference -----------------------------------------------------------
    def get_interactive_tokens_and_lengths(self, lines: List[str], encode_fn: Any) -> Tuple[List[Tensor], List[int]]:
        """Units typed on lines, for fairseq-interactive; text where ``--decode-task`` reads text."""
        read = self.vocab.parse_units if self.decode_task in ("asr", "slm") else self.vocab.encode_text
        tokens = [torch.tensor(read(line), dtype=torch.long) for line in lines]
        return tokens, [len(t) for t in tokens]

    def build_dataset_for_inference(
        self, src_tokens: List[Tensor], src_lengths: List[int], decode_task: Optional[str] = None, **kwargs: Any
    ) -> UnitDataset:
        """Unlabelled prompts from tensors of ids (one an utterance): of units, or of text for `tts` and `lm`."""
        if kwargs.get("constraints") is not None:
            raise NotImplementedError("--constraints is not supported by speech_unit_lm")
        task = decode_task or self.decode_task
        if self.vocab.tasks or task != "asr":
            require_task(task, self.vocab)
            return self._task_prompts(src_tokens, task)
        units = [np.array(self.vocab.decode_units(t.tolist())) for t in src_tokens]
        return UnitDataset(units, None, self.vocab, self.cfg.add_bos_token)

    def _task_prompts(self, tokens: List[Tensor], task: str) -> MixtureDataset:
        speech = task in ("asr", "slm")
        units = [np.array(self.vocab.decode_units(t.tolist()) if speech else [], dtype=np.int64) for t in tokens]
        texts = [[] if speech else t.tolist() for t in tokens]
        return MixtureDataset(
            units, texts, self.vocab, {task: 1.0}, self.cfg.add_bos_token, prompt_fraction=1.0, labelled=False
        )

    def build_generator(
        self,
        models: List[nn.Module],
        args: Any,
        seq_gen_cls: Any = None,
        extra_gen_cls_kwargs: Optional[Dict[str, Any]] = None,
        decode_task: Optional[str] = None,
        **kwargs: Any,
    ) -> Any:
        """The one-pass generator (``decoding.generator``): over text symbols, or over units for `tts` and `slm`."""
        from sld_user_dir.search.generator import build_unit_generator

        speech = TASKS[decode_task or self.decode_task] == SpeechRole.TARGET
        return build_unit_generator(models, self.vocab, args, **(extra_gen_cls_kwargs or {}), emit_units=speech)

    def inference_step(
        self,
        generator: Any,
        models: List[nn.Module],
        sample: Sample,
        prefix_tokens: Optional[Tensor] = None,
        constraints: Optional[Tensor] = None,
    ) -> List[List[Dict[str, Tensor]]]:
        """Decode the prompts of a batch; ``prefix_tokens`` [B, P] force the transcript's start."""
        with torch.no_grad():
            return generator.generate(models, sample, prefix_tokens=prefix_tokens, constraints=constraints)

    # -- training ------------------------------------------------------------
    def build_model(self, *args: Any, **kwargs: Any) -> nn.Module:
        """fairseq's; refuses a model that can't do what the task's options ask of it."""
        model = super().build_model(*args, **kwargs)
        decoder: Any = getattr(model, "decoder", None)
        if self.cfg.pack_utterances and not (hasattr(decoder, "packs") and decoder.packs()):
            raise ValueError(
                f"--pack-utterances: {type(model).__name__} with these options can't keep packed utterances "
                "apart; choose a joint_lm architecture without quantisation noise or scaled attention"
            )
        hidden = self.cfg.input_mask_prob > 0 and str(self.cfg.input_mask_tokens) == "all"
        if hidden and getattr(decoder, "prefix_end", None) is not None:
            raise ValueError("--prefix-lm needs <sep> in sight: use --input-mask-tokens speech, not all")
        if self.vocab.tasks and getattr(decoder, "prefix_end", None) is not None:
            raise ValueError("--prefix-lm is for speech recognition alone: not every task of a mixture has a <sep>")
        return model

    def train_step(
        self, sample: Sample, model: nn.Module, criterion: nn.Module, optimizer: Any, update_num: int,
        ignore_grad: bool = False,
    ) -> Tuple[Tensor, float, Dict[str, Any]]:  # fmt: skip
        masked = self.mask_inputs(sample)
        return super().train_step(masked, model, criterion, optimizer, update_num, ignore_grad)

    def mask_inputs(self, sample: Sample) -> Sample:
        """Hide input tokens at random (``--input-mask-prob``); a new sample, same targets."""
        cfg = self.cfg
        return hide_inputs(sample, self.vocab, cfg.input_mask_prob, speech_only=str(cfg.input_mask_tokens) == "speech")

    def valid_step(
        self, sample: Sample, model: nn.Module, criterion: nn.Module
    ) -> Tuple[Tensor, float, Dict[str, Any]]:
        loss, sample_size, log = super().valid_step(sample, model, criterion)
        if self.cfg.eval_wer:
            log.update(self._count_errors(sample, model))
        if self.cfg.task_mix:
            log.update(count_answers(sample, log, self.mix, self.vocab))
        return loss, sample_size, log

    def _count_errors(self, sample: Sample, model: nn.Module) -> Dict[str, int]:
        if self.vocab.tasks and not holds_only(sample, "asr", self.vocab):
            return count_errors([], [], self.vocab)
        if self.wer_generator is None:
            cfg = GenerationConfig(beam=self.cfg.eval_wer_beam, max_len_a=0, max_len_b=self.cfg.eval_wer_max_len)
            self.wer_generator = self.build_generator([model], cfg, decode_task="asr")
        hypotheses = self.inference_step(self.wer_generator, [model], sample)
        return count_errors(sample["target"], hypotheses, self.vocab)

    def reduce_metrics(self, logging_outputs: List[Dict[str, Any]], criterion: nn.Module) -> None:
        super().reduce_metrics(logging_outputs, criterion)
        log_tasks(logging_outputs, self.mix)
        log_error_rates(logging_outputs)

    # -- fairseq-eval-lm -------------------------------------------------------
    def eval_lm_dataloader(
        self, dataset: UnitDataset, max_tokens: Optional[int] = 36000, batch_size: Optional[int] = None,
        max_positions: Any = None, num_shards: int = 1, shard_id: int = 0, num_workers: int = 1,
        data_buffer_size: int = 10, context_window: int = 0,
    ) -> Any:  # fmt: skip
        """Batches for fairseq-eval-lm: every utterance whole, in one window."""
        if context_window > 0:
            raise ValueError("--context-window is meaningless here: utterances are never split")
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
