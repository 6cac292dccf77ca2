"""The loop of examples/plain_torch.py with given weights and the batches of the frameworks; losses by update as JSON.

.venv-fairseq2/bin/python tests-fairseq2/plain_loop.py DATA START.pt OUT.json --updates 300 --lr 5e-4 --tokens 1200
"""

import argparse
import json
import math
import sys
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace

import torch
from fairseq2.nn import BatchLayout

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from examples.plain_torch import loss_of
from sld_user_dir.fairseq2.joint_transformer_config import tiny
from sld_user_dir.fairseq2.joint_transformer_factory import create_joint_transformer, fill_in
from sld_user_dir.fairseq2.state_names import from_fairseq
from sld_user_dir.fairseq2.unit_batch_reader import UnitBatchReader
from sld_user_dir.fairseq2.unit_manifests import UnitManifests
from sld_user_dir.fairseq2.unit_tokenizer import UnitTokenizer
from sld_user_dir.losses.positions import Layout


class AsHuggingFace(torch.nn.Module):
    """The names by which the example asks a model: `model(…).last_hidden_state` and `lm_head.weight`."""

    def __init__(self, transformer):
        super().__init__()
        self.transformer, self.lm_head = transformer, transformer.final_proj

    def model(self, tokens):
        states = self.transformer(tokens, BatchLayout.of(tokens), features_only=True)
        return SimpleNamespace(last_hidden_state=states)


def batches(data: UnitManifests, max_tokens: int):
    """Those of both frameworks, epoch after epoch."""
    one = SimpleNamespace(dp=SimpleNamespace(size=1, rank=0), device=torch.device("cpu"))
    dataset = data.open_split("train", 1024, shuffle=True)
    reader = UnitBatchReader(dataset, one, max_num_tokens=max_tokens, num_seqs_multiple_of=8, seed=1)
    for _ in repeat(None):
        yield from (batch.sample for batch in chain.from_iterable(reader))
        reader.reset()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("start", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--tokens", type=int, default=1200)
    options = parser.parse_args()
    data, config = UnitManifests(options.data), tiny()
    config.dropout_p = config.attn_dropout_p = 0.0
    fill_in(config, UnitTokenizer(data.vocab), data)
    transformer = create_joint_transformer(config)
    transformer.load_state_dict(from_fairseq(torch.load(options.start, weights_only=True), config))
    model, layout, losses = AsHuggingFace(transformer), Layout.of(data.vocab), {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, betas=(0.9, 0.98), weight_decay=0.01)
    for update, batch in zip(range(1, options.updates + 1), batches(data, options.tokens)):
        loss, _ = loss_of(model.train(), batch, layout)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses[update] = loss.item() / math.log(2)
    options.out.write_text(json.dumps(losses))


if __name__ == "__main__":
    main()
