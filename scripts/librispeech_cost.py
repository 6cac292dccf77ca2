"""What scripts/librispeech.sh costs, by calculation: tokens, GPU hours, disk. Nothing here is measured.

    python scripts/librispeech_cost.py                      # one A100's peaks, as assumed below
    python scripts/librispeech_cost.py --train-tflops 125 --train-utilisation 0.25 --encoder-tflops 8

Every number comes from an option or from a formula in this file.
"""

import sys
from dataclasses import dataclass
from typing import Dict, Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant

CONVOLUTIONS = ((1, 10, 5), (512, 3, 2), (512, 3, 2), (512, 3, 2), (512, 3, 2), (512, 2, 2), (512, 2, 2))
"""input channels, kernel, stride of HuBERT's and WavLM's seven layers of 512 channels"""


@dataclass(frozen=True)
class CostConfig:
    """Sizes of corpus, encoder, model, and assumptions on the hardware."""

    train_hours: float = 960.9
    """LibriSpeech's three training sets"""
    train_utterances: int = 281_241
    """recordings in them"""
    train_words: int = 9_400_000
    """words of their transcripts, about"""
    other_hours: float = 21.2
    """dev and test sets"""
    kmeans_share: float = 0.10416667
    """of the training recordings, encoded once more for k-means"""
    units_a_piece: float = 2.0
    """ASSUMED: units that a SentencePiece piece stands for; stage 4 tells the truth"""
    tokens_a_word: float = 1.2
    """ASSUMED: GPT-2 tokens of a word in lower case"""
    epochs: int = 10
    """of training"""
    positions: int = 1024
    """to which the authors' program pads every utterance"""
    layers: int = 24
    """of GPT-2 medium, and of the encoder"""
    width: int = 1024
    """of both"""
    encoder_layer: int = 23
    """blocks of the encoder that are run"""
    vocabulary: int = 50_257 + 6_000 + 6
    """text, pieces, specials"""
    train_tflops: float = 312.0
    """peak of a GPU in half precision: an A100's"""
    train_utilisation: float = 0.3
    """ASSUMED: share of that peak"""
    encoder_tflops: float = 19.5
    """peak in float32, in which features are computed"""
    encoder_utilisation: float = 0.5
    """ASSUMED: share of that peak"""


def cost(c: CostConfig) -> Dict[str, float]:
    """Named quantities, in the order in which they are printed."""
    speeds = sum(1 / speed for speed in (0.9, 1.0, 1.1))
    hours = c.train_hours * speeds
    utterances = 3 * c.train_utterances
    units = hours * 3600 * 50
    text = 3 * c.train_words * c.tokens_a_word
    tokens = units / c.units_a_piece + text + 2 * utterances  # separator, end of sentence
    block = 12 * c.width**2  # parameters: 4 of attention, 8 of the feed-forward
    length = tokens / utterances

    def model_flops(n: float) -> float:  # a token, forward and backward, in rows of n tokens
        attention = 2 * n * c.width * c.layers  # causal: half of 4 n width a layer
        return 3 * (2 * (c.layers * block + c.vocabulary * c.width) + attention)

    training = c.epochs * tokens * model_flops(length)
    padded = c.epochs * utterances * c.positions * model_flops(c.positions)
    encoded_s = 3600 * (hours + c.other_hours + c.kmeans_share * c.train_hours)
    encoding = encoded_s * encoder_flops_a_second(c, units / utterances)
    parameters = c.layers * block + (c.vocabulary + c.positions) * c.width
    giga = 1e9
    return {
        "speech with speed perturbation, hours": hours,
        "units an epoch, millions": units / 1e6,
        "tokens an epoch, millions": tokens / 1e6,
        "updates of 64 utterances": c.epochs * -(-utterances // 64),
        "training, GFLOP a token": model_flops(length) / giga,
        "training, EFLOP": training / 1e18,
        "training, GPU hours": training / (c.train_tflops * 1e12 * c.train_utilisation) / 3600,
        "the same padded to 1,024 as the authors do, times as much": padded / training,
        "encoder, GFLOP a second of speech": encoder_flops_a_second(c, units / utterances) / giga,
        "encoder, EFLOP": encoding / 1e18,
        "encoder, GPU hours": encoding / (c.encoder_tflops * 1e12 * c.encoder_utilisation) / 3600,
        "disk: features on disk, GB": 0.0,
        "disk: features, had they been dumped in float32, GB": units * c.width * 4 / giga,
        "disk: unit manifests (4.5 bytes a unit), GB": 4.5 * units / giga,
        "disk: subword manifests, twice, and memory map (14 bytes a piece), GB": 14 * units / c.units_a_piece / giga,
        "disk: three checkpoints (12 bytes a parameter, Adam's moments included), GB": 3 * 12 * parameters / giga,
    }


def encoder_flops_a_second(c: CostConfig, frames: float) -> float:
    """Of one second of speech, forward, in utterances of so many frames: convolutions, positions, blocks."""
    rate, total = 16000.0, 0.0
    for channels, kernel, stride in CONVOLUTIONS:
        rate /= stride
        total += rate * 2 * 512 * channels * kernel
    positional = 2 * c.width * (c.width // 16) * 128  # a frame: kernel 128 in 16 groups
    block = 2 * 12 * c.width**2 + 4 * frames * c.width  # attention sees the whole utterance
    return total + 50 * (positional + c.encoder_layer * block)


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(CostConfig, dest="config")
    for name, value in cost(parser.parse_args(argv).config).items():
        print(f"    {value:10,.{0 if value > 999 or not value else 1}f}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
