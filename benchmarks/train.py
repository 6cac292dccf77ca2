"""Training steps of joint_lm against the authors' program and against stock fairseq.

    python benchmarks/train.py --json

prints a JSON list, one entry per criterion. A step is forward, loss, backward and Adam, in float32,
on utterances with lengths like LibriSpeech's (1.4 to 24.5 s, 12.3 on average; 27 unit subwords and
3.5 text tokens a second). All rivals see the same utterances and have the same shape, dropout and
activation function.
  authors  Hugging Face's GPT-2, rows padded to 1,024, the authors' loss on all logits
  stock    fairseq's transformer_lm and cross_entropy, on the same length-bucketed batches as ours
and the ratios, of real tokens a CPU second and of peak memory above the model's:
  speedup_vs_authors, speedup_vs_stock    ours / theirs
  memory_ratio_vs_authors, memory_ratio_vs_stock    ours / theirs
"""

import json
import sys
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Optional

import numpy as np
import torch
import torch.nn.functional as F
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.models.transformer_lm import TransformerLanguageModel
from simple_parsing import ArgumentParser
from torch import Tensor, nn

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from _measure import in_fresh_process, median_cpu_seconds, note, peak_mib_above_now  # noqa: E402

from sld_user_dir.criterions.loss_options import MaskedCeConfig, SldCriterionConfig  # noqa: E402
from sld_user_dir.criterions.masked_ce import MaskedCeCriterion  # noqa: E402
from sld_user_dir.criterions.sld_criterion import SldCriterion  # noqa: E402
from sld_user_dir.models import joint_lm  # noqa: E402
from sld_user_dir.models.dictionaries import TextView  # noqa: E402
from sld_user_dir.sequences.dataset import SequenceDataset  # noqa: E402
from sld_user_dir.vocabulary.joint import JointVocabulary  # noqa: E402
from sld_user_dir.vocabulary.tokenizers import WordTokenizer  # noqa: E402

POSITIONS = 1024
UNITS_PER_S, TEXT_PER_S = 27, 3.5
OURS = {
    "sld": (SldCriterion, SldCriterionConfig(kl_variant="official")),
    "sld-paper": (SldCriterion, SldCriterionConfig()),
    "masked_ce": (MaskedCeCriterion, MaskedCeConfig()),
}


@dataclass
class Config:
    json: bool = False
    """Print the result as JSON (default: a table)."""
    layers: int = 6
    """Transformer layers; 8 heads."""
    dim: int = 512
    """Width."""
    text_vocabulary: int = 10_000
    """Text symbols."""
    units: int = 6_000
    """Unit subwords."""
    max_tokens: int = 2048
    """Tokens of a batch, padding included, for ours and for stock."""
    dropout: float = 0.1
    """In every place, of every rival."""
    activation: str = "gelu_accurate"
    """gelu_accurate, as GPT-2, or relu, fairseq's default."""
    criteria: List[str] = field(default_factory=lambda: list(OURS))
    """Which of ours: sld (official), sld-paper, masked_ce."""
    repeats: int = 3
    """Interleaved rounds, of which the median is taken."""
    threads: int = 1
    """Of torch."""
    probe: Optional[str] = None
    """For internal use: print the peak MiB of one step of this rival."""


class Problem:
    """One task, one set of batches, and every rival's training step."""

    def __init__(self, config: Config) -> None:
        torch.manual_seed(0)
        self.config = config
        symbols = [f"w{i}" for i in range(config.text_vocabulary)]
        self.vocab = JointVocabulary.build([], config.units, WordTokenizer(), symbols)
        dictionary = TextView(self.vocab)
        self.task = SimpleNamespace(vocab=self.vocab, source_dictionary=dictionary, target_dictionary=dictionary)
        self.batches = make_batches(self.vocab, config.max_tokens)
        self.tokens = sum(batch["ntokens"] for batch in self.batches)

    def rival(self, name: str, batches: Optional[List[Dict[str, Any]]] = None) -> Callable[[], None]:
        """A function that takes one training step on each batch."""
        batches = self.batches if batches is None else batches
        if name == "authors":
            model = self._hugging_face()
            losses: Callable[[Any], Tensor] = lambda batch: self._authors_loss(model, batch)  # noqa: E731
        else:
            kind = TransformerLanguageModel if name == "stock" else joint_lm.JointLanguageModel
            model = self._fairseq(kind)
            criterion = self._criterion(name)
            losses = lambda batch: criterion(model, batch)[0]  # noqa: E731
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

        def step() -> None:
            for batch in batches:
                optimizer.zero_grad()
                losses(batch).backward()
                optimizer.step()

        return step

    def _criterion(self, name: str) -> nn.Module:
        if name == "stock":
            return CrossEntropyCriterion(self.task, False)
        kind, options = OURS[name]
        return kind(self.task, options)

    def _fairseq(self, kind: Any) -> nn.Module:
        c = self.config
        args = Namespace(
            decoder_layers=c.layers,
            decoder_embed_dim=c.dim,
            decoder_ffn_embed_dim=4 * c.dim,
            decoder_attention_heads=8,
            dropout=c.dropout,
            attention_dropout=c.dropout,
            activation_fn=c.activation,
            tokens_per_sample=POSITIONS,
            quant_noise_pq=0,
        )
        joint_lm.small(args)
        return kind.build_model(args, self.task).train()

    def _hugging_face(self) -> nn.Module:
        from transformers import GPT2Config, GPT2LMHeadModel

        c = self.config
        gpt2 = GPT2Config(
            vocab_size=len(self.vocab),
            n_positions=POSITIONS,
            n_embd=c.dim,
            n_layer=c.layers,
            n_head=8,
            activation_function={"gelu_accurate": "gelu_new"}.get(c.activation, c.activation),
            attn_pdrop=c.dropout,
            resid_pdrop=c.dropout,
            embd_pdrop=c.dropout,
            use_cache=False,
            bos_token_id=self.vocab.bos,
            eos_token_id=self.vocab.eos,
        )
        return GPT2LMHeadModel(gpt2).train()

    def _authors_loss(self, model: nn.Module, batch: Dict[str, Any]) -> Tensor:
        """Their computation: logits of 1,024 positions a row, one-hot targets, a second softmax."""
        vocab, k = self.vocab, self.vocab.num_units
        tokens, target = batch["net_input"]["src_tokens"], batch["target"]
        room = (0, POSITIONS - tokens.size(1))
        tokens, target = F.pad(tokens, room, value=vocab.pad), F.pad(target, room, value=vocab.pad).flatten()
        logits = model(tokens, attention_mask=tokens.ne(vocab.pad).long()).logits.flatten(0, 1)
        real, speech = target != vocab.pad, (target >= vocab.unit_offset) | (target == vocab.separator)
        ce_text = F.cross_entropy(logits, target.masked_fill(speech | ~real, -100))
        ce_speech = F.cross_entropy(logits, target.masked_fill(~speech, -100))
        smoothed = F.one_hot((target - vocab.unit_offset).clamp(min=0), k).float() * 0.9 + 0.1 / k
        q = F.softmax(smoothed + 1e-9, dim=-1)
        log_p = F.log_softmax(logits[:, -k:], dim=-1)
        kl = F.kl_div(log_p * real[:, None], q * real[:, None], reduction="sum") / len(tokens)
        return ce_text + ce_speech + 0.008 * kl


def make_corpus(vocab: JointVocabulary) -> SequenceDataset:
    """500 utterances with lengths like LibriSpeech's."""
    rng = np.random.default_rng(0)
    seconds = 1.4 + 23.1 * rng.beta(3, 3.36, size=500)
    units = [rng.integers(0, vocab.num_units, int(s * UNITS_PER_S)) for s in seconds]
    texts = [rng.integers(vocab.text_start, vocab.text_end, max(1, int(s * TEXT_PER_S))) for s in seconds]
    return SequenceDataset(units, texts, vocab)


def make_batches(vocab: JointVocabulary, max_tokens: int) -> List[Dict[str, Any]]:
    """Two batches of a simulated corpus, from a third and from two thirds of its order by length."""
    data = make_corpus(vocab)
    batches = data.batch_by_size(data.ordered_indices(), max_tokens=max_tokens)
    chosen = [batches[len(batches) // 3], batches[2 * len(batches) // 3]]
    return [data.collater([data[int(i)] for i in batch]) for batch in chosen]


def cases(config: Config) -> List[Dict[str, object]]:
    names = ["authors", "stock", *config.criteria]
    shape = [
        f"--{name}" for name in ("layers", "dim", "text_vocabulary", "units", "max_tokens", "dropout", "activation")
    ]
    arguments = [part for flag in shape for part in (flag, str(getattr(config, flag[2:])))]
    memory = {name: in_fresh_process(__file__, [*arguments, "--probe", name]) for name in names}
    note(f"peak MiB above the model: {memory}")
    torch.set_num_threads(config.threads)
    problem = Problem(config)
    seconds = median_cpu_seconds({name: problem.rival(name) for name in names}, config.repeats)
    return [_case(name, config, problem, seconds, memory) for name in config.criteria]


def _case(
    name: str, config: Config, problem: Problem, seconds: Dict[str, float], memory: Dict[str, float]
) -> Dict[str, object]:
    positions = sum(batch["target"].numel() for batch in problem.batches)
    rows = sum(batch["nsentences"] for batch in problem.batches)
    result: Dict[str, object] = {"case": name}
    for rival in ("authors", "stock"):
        result[f"speedup_vs_{rival}"] = round(seconds[rival] / seconds[name], 2)
        result[f"memory_ratio_vs_{rival}"] = round(memory[name] / memory[rival], 3)
    return {
        **result,
        "tokens_per_second": round(problem.tokens / seconds[name]),
        "authors_tokens_per_second": round(problem.tokens / seconds["authors"]),
        "stock_tokens_per_second": round(problem.tokens / seconds["stock"]),
        "peak_mib": round(memory[name]),
        "authors_peak_mib": round(memory["authors"]),
        "stock_peak_mib": round(memory["stock"]),
        "padding": round(1 - problem.tokens / positions, 3),
        "authors_padding": round(1 - problem.tokens / (rows * POSITIONS), 3),
        "utterances": rows,
        "layers": config.layers,
        "dim": config.dim,
        "vocabulary": len(problem.vocab),
        "activation": config.activation,
        "threads": config.threads,
        "torch": torch.__version__,
    }


def main(argv: Optional[List[str]] = None) -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_arguments(Config, dest="config")
    config: Config = parser.parse_args(argv).config
    if config.probe:
        torch.set_num_threads(config.threads)
        print(peak_mib_above_now(Problem(config).rival(config.probe)))
        return
    results = cases(config)
    if config.json:
        print(json.dumps(results, indent=1))
        return
    for result in results:
        ratios = (f"{key} {value}" for key, value in result.items() if "_vs_" in key)
        print(f"{result['case']}: " + ", ".join(ratios))


if __name__ == "__main__":
    main()
