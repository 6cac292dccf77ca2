"""How much faster fairseq2's model decodes where keys and values are kept: the same hypotheses, processor seconds.

OMP_NUM_THREADS=1 .venv-fairseq2/bin/python tests-fairseq2/time_decoding.py --data manifests/digits-whisper
"""

import argparse
import time
from pathlib import Path

import torch

from sld_user_dir.fairseq2.joint_transformer_config import ARCHITECTURES
from sld_user_dir.fairseq2.joint_transformer_factory import create_joint_transformer, fill_in
from sld_user_dir.fairseq2.recipe_config import SearchSection
from sld_user_dir.fairseq2.recipe_parts import generator_of
from sld_user_dir.fairseq2.transformer_cache import TransformerCache
from sld_user_dir.fairseq2.unit_manifests import UnitManifests
from sld_user_dir.fairseq2.unit_tokenizer import UnitTokenizer

ROUNDS = 3


def seconds_of(generator, sample) -> tuple:
    """Hypotheses of a batch, and the least processor seconds of a few rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        found = generator.generate(None, sample)
        times.append(time.process_time() - start)
    return [[one["tokens"].tolist() for one in nbest] for nbest in found], min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("manifests/digits-whisper"))
    parser.add_argument("--arch", nargs="*", default=["tiny", "small"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--max-len-b", type=int, default=40)
    options = parser.parse_args()
    data = UnitManifests(options.data)
    dataset = data.open_split("valid", 1024)
    sample = dataset.collater([dataset[row] for row in range(options.batch)])
    print("| model | beam | sequences run again (s) | keys and values kept (s) | times as fast | same hypotheses |")
    print("| --- | --- | --- | --- | --- | --- |")
    kept = TransformerCache.supports
    for arch in options.arch:
        config = ARCHITECTURES[arch]()
        fill_in(config, UnitTokenizer(data.vocab), data)
        torch.manual_seed(1)
        model = create_joint_transformer(config).eval()
        for beam in (1, 5):
            generator = generator_of(model, data.vocab, SearchSection(beam=beam, max_len_b=options.max_len_b))
            TransformerCache.supports = staticmethod(lambda model: False)
            again, slow = seconds_of(generator, sample)
            TransformerCache.supports = staticmethod(kept)
            found, fast = seconds_of(generator, sample)
            same = "yes" if found == again else "no"
            print(f"| {arch} | {beam} | {slow:.2f} | {fast:.2f} | {slow / fast:.1f} | {same} |", flush=True)


if __name__ == "__main__":
    main()
