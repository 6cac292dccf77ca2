"""Pretrained backbones (`--arch joint_hf`): what a frozen text part saves, and decoding against transformers.

    python benchmarks/backbones.py --json          about 6 minutes on one core

prints a JSON list of two entries; CPU seconds on one thread, interleaved, medians.
  frozen_ratio            forward and backward of the fused projection and loss (objective of the paper) with a frozen
                          text part / with it trained: B = 2, L = 1,024, d = 576, 49,152 text symbols and 2,000 units
  speedup_vs_huggingface  transformers' `generate` / ours on a Llama of 6 layers and width 512, 8 heads of queries and 2
                          of keys and values, random weights, float32: beam 5, batch of 8, prompts of 400, 60 tokens out
  same_hypotheses         whether both find the same hypotheses, all of the beam, in float64, where `generate` is told
                          to normalise over what may be emitted and to end as ours does
"""

import argparse
import json
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

from _measure import median_cpu_seconds  # noqa: E402
from loss import OBJECTIVES, Problem, Shape  # noqa: E402
from support import backbones  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

from sld_user_dir.losses.fused import fused_loss  # noqa: E402
from sld_user_dir.losses.positions import positions_of  # noqa: E402
from sld_user_dir.models.generation import build_generator  # noqa: E402
from sld_user_dir.vocabulary.joint import JointVocabulary  # noqa: E402

TRAINING = Shape(batch=2, length=1024, dim=576, text_vocabulary=49_152, units=2000, padding=0.0)
TEXT, POSITIONS = 15_500, 1024
BATCH, PROMPT, TRANSCRIPT, BEAM = 8, 400, 60, 5


def frozen_text(shape: Shape = TRAINING, repeats: int = 5) -> Dict[str, Any]:
    """The fused loss over two matrices, the text's and the units', the first of them trained or not."""
    problem = Problem(shape)
    text, units = problem.weight.detach().split([shape.text_vocabulary, shape.units])
    objective = OBJECTIVES["sld-paper"](problem.soft)
    sample = {"target": problem.target, "net_input": {"src_tokens": problem.src}, "segments": problem.segments}
    everywhere = positions_of(sample, problem.layout)
    at, divisors = objective.select(everywhere), objective.divisors(everywhere)

    def step(trained: bool) -> None:
        matrices = [text.detach().requires_grad_(trained), units.detach().requires_grad_()]
        loss, _, _ = fused_loss(problem.hidden, matrices, at, objective, divisors)
        loss.backward()
        problem.hidden.grad = None

    seconds = median_cpu_seconds({"trained": lambda: step(True), "frozen": lambda: step(False)}, repeats)
    ratio = seconds["frozen"] / seconds["trained"]
    return {"case": "frozen text", **shape._asdict(), "cpu_seconds": seconds, "frozen_ratio": ratio}


class Decoding:
    """A Llama with grouped-query attention as ours, and with the same tables as transformers' own."""

    def __init__(self, directory: Path) -> None:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=TEXT,
            hidden_size=512,
            intermediate_size=1536,
            num_hidden_layers=6,
            num_attention_heads=8,
            num_key_value_heads=2,
            max_position_embeddings=POSITIONS,
            tie_word_embeddings=True,
            **backbones.SPECIAL,
        )
        LlamaForCausalLM(config).save_pretrained(directory)
        backbones.make_tokenizer(directory, ["<unk>", "<|endoftext|>", *(f"t{i}" for i in range(TEXT - 2))])
        self.vocab: JointVocabulary = backbones.vocabulary_of(directory, units=500)
        self.model = backbones.make_model(directory, self.vocab, tokens_per_sample=POSITIONS, new_symbols="normal")
        self.theirs = backbones.merged(directory, self.model)

    def sample(self, batch: int, prompt: int) -> Dict[str, Any]:
        """Random units, closed by the separator."""
        torch.manual_seed(1)
        rows = torch.randint(self.vocab.unit_offset, len(self.vocab), (batch, prompt))
        rows[:, -1] = self.vocab.separator
        return {"net_input": {"src_tokens": rows}, "prompt_lengths": torch.full((batch,), prompt)}

    def compare(self, batch: int = BATCH, prompt: int = PROMPT, tokens: int = TRANSCRIPT, repeats: int = 3) -> Any:
        """CPU seconds of both, with exactly `tokens` out."""
        sample = self.sample(batch, prompt)
        prompts = sample["net_input"]["src_tokens"]
        cfg = Namespace(beam=BEAM, max_len_b=tokens, min_len=tokens)
        generator = build_generator([self.model], self.vocab, cfg)
        limits = {"max_new_tokens": tokens, "min_new_tokens": tokens, "num_beams": BEAM, "do_sample": False}
        ends = {"eos_token_id": self.vocab.eos, "pad_token_id": self.vocab.pad}
        rivals = {
            "ours": lambda: generator.generate([self.model], sample),
            "huggingface": lambda: self.theirs.generate(
                prompts, attention_mask=torch.ones_like(prompts), **limits, **ends
            ),
        }
        return median_cpu_seconds(rivals, repeats)

    def same_hypotheses(self, batch: int = 3, prompt: int = 40, tokens: int = 12) -> bool:
        """All hypotheses of the beam, some of which end before their limit."""
        model, theirs = self.model.double(), self.theirs.double()
        sample = self.sample(batch, prompt)
        generator = build_generator([model], self.vocab, Namespace(beam=BEAM, max_len_b=tokens, min_len=2))
        found = [[h["tokens"].tolist() for h in row] for row in generator.generate([model], sample)]
        prompts = sample["net_input"]["src_tokens"]
        return found == backbones.generate(theirs, self.vocab, prompts, BEAM, limit=tokens, min_len=2)


def decoding(repeats: int = 3) -> Dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        case = Decoding(Path(directory))
    seconds = case.compare(repeats=repeats)
    return {
        "case": "decoding",
        "batch": BATCH,
        "prompt": PROMPT,
        "transcript": TRANSCRIPT,
        "beam": BEAM,
        "cpu_seconds": seconds,
        "speedup_vs_huggingface": seconds["huggingface"] / seconds["ours"],
        "same_hypotheses": case.same_hypotheses(),
    }


def table(cases: Sequence[Dict[str, Any]]) -> str:
    """The cases in Markdown."""
    training, generated = cases
    first, second = training["cpu_seconds"], generated["cpu_seconds"]
    return "\n".join(
        [
            "| what | CPU seconds | against | CPU seconds | ratio |",
            "| --- " * 5 + "|",
            f"| loss, text frozen | {first['frozen']:.2f} | text trained | {first['trained']:.2f} "
            f"| {training['frozen_ratio']:.2f} |",
            f"| decoding | {second['ours']:.1f} | transformers' generate | {second['huggingface']:.1f} "
            f"| {generated['speedup_vs_huggingface']:.1f} (same hypotheses: {generated['same_hypotheses']}) |",
        ]
    )


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the cases as one JSON list (the default is a table)")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved rounds, of which the median is taken")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    cases = [frozen_text(repeats=options.repeats), decoding(options.repeats)]
    print(json.dumps(cases, indent=1) if options.json else table(cases))


if __name__ == "__main__":
    main()
