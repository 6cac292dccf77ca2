"""This package's data and losses under another trainer: a plain torch loop over a Hugging Face Llama, no fairseq.

    python examples/plain_torch.py --data manifests/digits-whisper --updates 300

Trains SLD on a data directory, then prints bits a token on `valid`, and the transcripts of a few of its utterances.
"""

import argparse
import math
from pathlib import Path
from typing import Any, Iterator

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from sld_user_dir.losses.fused import fused_loss
from sld_user_dir.losses.objective import Objective
from sld_user_dir.losses.positions import Layout, positions_of
from sld_user_dir.losses.terms.cross_entropy import SpeechCrossEntropy, TextCrossEntropy
from sld_user_dir.losses.terms.smoothed_kl import SmoothedKL
from sld_user_dir.manifests.unit_manifest import read_manifest
from sld_user_dir.sequences.dataset import SequenceDataset
from sld_user_dir.sequences.manifest_dataset import dataset_from_manifest
from sld_user_dir.vocabulary.joint import JointVocabulary

OBJECTIVE = Objective([TextCrossEntropy(), SpeechCrossEntropy(), SmoothedKL()])


def build_model(vocab: JointVocabulary) -> LlamaForCausalLM:
    """A Llama of 0.8 M parameters over the joint vocabulary."""
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=len(vocab), hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4,
        max_position_embeddings=512, pad_token_id=vocab.pad, eos_token_id=vocab.eos, bos_token_id=None,
    ))  # fmt: skip


def batches(dataset: SequenceDataset, max_tokens: int) -> Iterator[Any]:
    """Collated batches of one epoch after the other, without end."""
    epoch = 0
    while True:
        epoch += 1
        dataset.set_epoch(epoch)
        groups = dataset.batch_by_size(dataset.ordered_indices(), max_tokens=max_tokens)
        order = torch.randperm(len(groups)).tolist() if dataset.shuffle else range(len(groups))
        yield from (dataset.collater([dataset[i] for i in groups[n]]) for n in order)


def loss_of(model: LlamaForCausalLM, batch: Any, layout: Layout) -> tuple[torch.Tensor, dict[str, float]]:
    """The objective of a batch in nats, and bits a token of its parts; no mask, since padding is on the right."""
    everywhere = positions_of(batch, layout)
    divisors, at = OBJECTIVE.divisors(everywhere), OBJECTIVE.select(everywhere)
    hidden = model.model(batch["net_input"]["src_tokens"]).last_hidden_state  # (B, L, d)
    loss, stats, correct = fused_loss(hidden, model.lm_head.weight, at, OBJECTIVE, divisors)
    measures = OBJECTIVE.measures(stats, at, correct, divisors)
    return loss, {m.name: float(m.total / m.cases) / math.log(2) for m in measures if not m.name.startswith("loss_")}


def transcribe(model: LlamaForCausalLM, vocab: JointVocabulary, units: Any) -> str:
    """The greedy transcript of units int (N,)."""
    prompt = torch.tensor([[*vocab.encode_units(units).tolist(), vocab.separator]])
    out = model.generate(prompt, max_new_tokens=20, do_sample=False, attention_mask=torch.ones_like(prompt))
    return vocab.decode_text(i for i in out[0, prompt.size(1) :].tolist() if vocab.is_text(i) and i != vocab.eos)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("manifests/digits-whisper"))
    parser.add_argument("--updates", type=int, default=300)
    options = parser.parse_args()
    torch.manual_seed(1)
    vocab = JointVocabulary.load(options.data)
    layout, model = Layout.of(vocab), build_model(vocab)
    train, valid = (
        dataset_from_manifest(
            read_manifest(options.data / f"{split}.tsv"), vocab, 512, SequenceDataset, shuffle=shuffle
        )
        for split, shuffle in (("train", True), ("valid", False))
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.5e-3, betas=(0.9, 0.98))
    for update, batch in zip(range(1, options.updates + 1), batches(train, max_tokens=1200)):
        loss, bits = loss_of(model.train(), batch, layout)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if update % 50 == 0 or update == options.updates:
            print(f"update {update}: " + ", ".join(f"{name} {value:.2f}" for name, value in bits.items()), flush=True)
    model.eval()
    with torch.no_grad():
        _, bits = loss_of(model, next(batches(valid, max_tokens=5000)), layout)
        print("valid: " + ", ".join(f"{name} {value:.2f}" for name, value in bits.items()))
    manifest = read_manifest(options.data / "valid.tsv")
    for utterance in list(manifest)[:5]:
        print(f"{utterance.text!r} heard as {transcribe(model, vocab, utterance.units)!r}")


if __name__ == "__main__":
    main()
