"""Decoding: the one-pass generator against what a user would pick instead.

    python benchmarks/decode.py --json             about 5 minutes on one core
    python benchmarks/decode.py --growth FILE      about 4 minutes; plot it by benchmarks/plot_decode.py

6 layers, 512 wide, 8 heads, vocabulary 16,000 (500 of them units), batch of 8, prompts of 400, transcripts
of exactly 60 tokens, random weights, float32, one thread; CPU seconds, interleaved, medians.

    fairseq       its SequenceGenerator, the prompt given as prefix tokens
    huggingface   transformers' generate with its own cache, on a GPT-2 of the same shape
    authors       the same as the authors' program runs it: it never meets its end token and goes on to
                  1,024 positions (batch of 1, to bound the time; ours on the same batch)

`same_hypotheses` is about ours, in float32 as timed and in float64, against the uncached decoder of
tests/support/reference_decoding.py in float64, at this model's size, on ragged prompts and batches of one.
"""

import argparse
import copy
import json
import sys
import time
from argparse import Namespace
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Optional, Sequence

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

from _measure import note  # noqa: E402
from fairseq.models.transformer_lm import TransformerLanguageModel  # noqa: E402
from fairseq.sequence_generator import SequenceGenerator  # noqa: E402
from support import reference_decoding as reference  # noqa: E402

from sld_user_dir.models.dictionaries import TextView  # noqa: E402
from sld_user_dir.models.generation import build_generator  # noqa: E402
from sld_user_dir.models.joint_lm import small  # noqa: E402
from sld_user_dir.vocabulary.joint import JointVocabulary  # noqa: E402
from sld_user_dir.vocabulary.tokenizers import WordTokenizer  # noqa: E402

VOCABULARY, UNITS, POSITIONS = 16_000, 500, 1024
BATCH, PROMPT, TRANSCRIPT = 8, 400, 60
Rival = Callable[[], Any]


def make_vocab() -> JointVocabulary:
    """A joint vocabulary of the benchmark's size; its text symbols stand for nothing."""
    symbols = [f"t{i}" for i in range(VOCABULARY - UNITS - 6)]  # beside four specials, <mask> and <sep>
    return JointVocabulary.build([], UNITS, WordTokenizer(), symbols)


def make_fairseq_model(vocab: JointVocabulary) -> TransformerLanguageModel:
    torch.manual_seed(0)
    args = Namespace(tokens_per_sample=POSITIONS, max_target_positions=POSITIONS)
    small(args)
    task = SimpleNamespace(source_dictionary=TextView(vocab), target_dictionary=TextView(vocab))
    return TransformerLanguageModel.build_model(args, task).eval()


def make_prompts(vocab: JointVocabulary, lengths: Sequence[int]) -> Dict[str, Any]:
    """A right-padded batch of random units, each row closed by the separator."""
    torch.manual_seed(1)
    rows = [torch.randint(vocab.unit_offset, VOCABULARY, (length,)) for length in lengths]
    for row in rows:
        row[-1] = vocab.separator
    source = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=vocab.pad)
    return {"net_input": {"src_tokens": source}, "prompt_lengths": torch.tensor(list(lengths))}


def ours(model: Any, vocab: JointVocabulary, sample: Dict[str, Any], beam: int, tokens: int) -> Rival:
    cfg = Namespace(beam=beam, max_len_b=tokens, min_len=tokens)
    generator = build_generator([model], vocab, cfg)
    return lambda: generator.generate([model], sample)


def fairseq(model: Any, vocab: JointVocabulary, sample: Dict[str, Any], beam: int, tokens: int) -> Rival:
    prompts = sample["net_input"]["src_tokens"]
    length = prompts.size(1) + tokens - 1  # the first token of the prompt is what it starts from
    generator = SequenceGenerator([model], TextView(vocab), beam_size=beam, max_len_b=length, min_len=length)
    start = {"prefix_tokens": prompts[:, 1:], "bos_token": vocab.separator}  # one start for all rows: same work
    return lambda: generator.generate([model], sample, **start)


def huggingface(sample: Dict[str, Any], beam: int, tokens: int) -> Rival:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    shape = {"n_layer": 6, "n_embd": 512, "n_head": 8, "n_positions": POSITIONS, "vocab_size": VOCABULARY}
    model = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=2, eos_token_id=2, pad_token_id=1)).eval()
    prompts = sample["net_input"]["src_tokens"]
    limits = {"max_new_tokens": tokens, "min_new_tokens": tokens, "num_beams": beam, "do_sample": False}
    return lambda: model.generate(prompts, attention_mask=torch.ones_like(prompts), **limits)


def measure(rivals: Dict[str, Rival], times: Dict[str, int]) -> Dict[str, float]:
    """Median CPU seconds of each rival; interleaved, and the slow ones less often than the fast."""
    seconds: Dict[str, List[float]] = {name: [] for name in rivals}
    for round_number in range(max(times.values())):
        for name, run in rivals.items():
            if round_number >= times[name]:
                continue
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
            note(f"{name}: {seconds[name][-1]:.2f} s")
    return {name: median(values) for name, values in seconds.items()}


def compare(model: Any, vocab: JointVocabulary, beam: int, times: Dict[str, int]) -> Dict[str, Any]:
    """All three at the shape of the claim."""
    sample = make_prompts(vocab, [PROMPT] * BATCH)
    rivals = {
        "ours": ours(model, vocab, sample, beam, TRANSCRIPT),
        "huggingface": huggingface(sample, beam, TRANSCRIPT),
        "fairseq": fairseq(model, vocab, sample, beam, TRANSCRIPT),
    }
    ours(model, vocab, make_prompts(vocab, [20] * 2), beam, 3)()  # warm up
    seconds = measure(rivals, times)
    return {
        "case": f"beam {beam}",
        "batch": BATCH,
        "prompt": PROMPT,
        "transcript": TRANSCRIPT,
        "beam": beam,
        "cpu_seconds": seconds,
        "repeats": times,
        "speedup_vs_fairseq": seconds["fairseq"] / seconds["ours"],
        "speedup_vs_huggingface": seconds["huggingface"] / seconds["ours"],
    }


def compare_with_authors(model: Any, vocab: JointVocabulary, beam: int = 5) -> Dict[str, Any]:
    sample = make_prompts(vocab, [PROMPT])
    rivals = {
        "ours": ours(model, vocab, sample, beam, TRANSCRIPT),
        "authors": huggingface(sample, beam, POSITIONS - PROMPT),
    }
    seconds = measure(rivals, {"ours": 3, "authors": 1})
    shape = {"batch": 1, "prompt": PROMPT, "transcript": TRANSCRIPT, "beam": beam}
    ratio = seconds["authors"] / seconds["ours"]
    return {"case": "authors", **shape, "cpu_seconds": seconds, "speedup_vs_authors": ratio}


def same_hypotheses(model: Any, vocab: JointVocabulary) -> bool:
    """Tokens equal and scores within 1e-4 of the uncached decoder in float64, as timed and in float64."""
    exact = copy.deepcopy(model).double()
    lengths, beam, tokens = [30, 9, 1, 17], 5, 8
    sample = make_prompts(vocab, lengths)
    emitted = [vocab.eos, *vocab.text_ids]
    cfg = Namespace(beam=beam, max_len_b=tokens, min_len=2)
    generators = [build_generator([m], vocab, cfg) for m in (model, exact)]
    together = [generator.generate([model], sample) for generator in generators]
    for row, length in enumerate(lengths):
        prompt = sample["net_input"]["src_tokens"][row, :length]
        alone = {"net_input": {"src_tokens": prompt[None]}, "prompt_lengths": torch.tensor([length])}
        scorer = reference.model_scorer([exact], prompt.tolist(), emitted)
        expected = reference.beam_search(scorer, vocab.eos, beam, tokens, min_len=2)
        for found in [batch[row] for batch in together] + [g.generate([model], alone)[0] for g in generators]:
            if [h["tokens"].tolist() for h in found] != [list(h.tokens) for h in expected]:
                return False
            if max(abs(h["score"].item() - other.score) for h, other in zip(found, expected)) > 1e-4:
                return False
    return True


def growth(model: Any, vocab: JointVocabulary) -> List[Dict[str, Any]]:
    """CPU seconds as one of prompt, beam and batch grows, the others staying at 400, 5 and 2; 20 tokens out."""
    cases = []
    axes = {"prompt": (100, 200, 400, 800), "beam": (1, 2, 5, 10, 20), "batch": (1, 2, 4, 8)}
    for axis, values in axes.items():
        for value in values:
            shape = {"prompt": 400, "beam": 5, "batch": 2, axis: value}
            sample = make_prompts(vocab, [shape["prompt"]] * shape["batch"])
            rivals = {
                "ours": ours(model, vocab, sample, shape["beam"], 20),
                "huggingface": huggingface(sample, shape["beam"], 20),
            }
            if axis == "prompt" and value <= 400:
                rivals["fairseq"] = fairseq(model, vocab, sample, shape["beam"], 20)
            note(f"{axis} {value}")
            seconds = measure(rivals, {"ours": 3, "huggingface": 1, "fairseq": 1})
            cases.append({"axis": axis, **shape, "transcript": 20, "cpu_seconds": seconds})
    return cases


def table(cases: List[Dict[str, Any]]) -> str:
    """The cases in Markdown: CPU seconds, and how many times ours."""
    rivals = ("fairseq", "huggingface", "authors")
    lines = ["| case | ours | " + " | ".join(rivals) + " | same hypotheses |", "| --- " * (len(rivals) + 3) + "|"]
    for case in cases:
        seconds = case["cpu_seconds"]
        cells = [f"{seconds[r]:.1f} s (x {seconds[r] / seconds['ours']:.1f})" if r in seconds else "" for r in rivals]
        shape = f"{case['case']}, batch of {case['batch']}"
        lines.append(f"| {shape} | {seconds['ours']:.1f} s | {' | '.join(cells)} | {case['same_hypotheses']} |")
    return "\n".join(lines)


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the cases as one JSON list (the default is a table)")
    parser.add_argument("--growth", metavar="FILE", help="measure the growth instead, and write it to this JSON file")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    vocab = make_vocab()
    model = make_fairseq_model(vocab)
    if options.growth:
        Path(options.growth).write_text(json.dumps(growth(model, vocab), indent=1) + "\n", encoding="utf-8")
        return
    cases = [
        compare(model, vocab, 5, {"ours": 5, "huggingface": 2, "fairseq": 1}),
        compare(model, vocab, 1, {"ours": 5, "huggingface": 3, "fairseq": 1}),
        compare_with_authors(model, vocab),
    ]
    same = same_hypotheses(model, vocab)
    cases = [{**case, "same_hypotheses": same} for case in cases]
    print(json.dumps(cases, indent=1) if options.json else table(cases))


if __name__ == "__main__":
    main()
