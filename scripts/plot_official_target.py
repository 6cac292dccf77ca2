"""Draw docs/official_target.png and print the figures that docs/losses.md states."""

import dataclasses
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Union

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from simple_parsing import ArgumentParser

sys.path.insert(0, str(Path(__file__).parents[1]))

from sld_user_dir.losses.label_smoothing import effective_label_smoothing
from sld_user_dir.losses.terms.official_kl import OfficialKL
from sld_user_dir.losses.terms.smoothed_kl import SmoothedKL

KL = Union[OfficialKL, SmoothedKL]
VARIANTS: Dict[str, KL] = {"official": OfficialKL(), "paper": SmoothedKL()}
STYLE = {"official": "-", "paper": "--"}


@dataclass
class Config:
    output: Path = Path("docs/official_target.png")
    """Where the figure goes."""
    num_units: int = 6000
    """K of the left panel and of the printed figures."""


def entropy(kl: KL, num_units: int) -> float:
    """Entropy of the KL's target, in nats."""
    a, b = kl.target(num_units)
    return -(a * math.log(a) + (num_units - 1) * b * math.log(b))


def draw(config: Config) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    lengths = np.arange(1, 1025)
    for color, alpha in zip(("C0", "C1", "C2"), (0.002, 0.008, 0.032)):
        for name, kl in VARIANTS.items():
            weighted = dataclasses.replace(kl, weight=alpha)
            smoothing = [effective_label_smoothing(weighted, 1.0, config.num_units, n) for n in lengths.tolist()]
            left.plot(lengths, smoothing, STYLE[name], color=color, label=f"{name}, α = {alpha}")
    left.set(xlabel="mean speech tokens of a sentence, N", ylabel="effective label smoothing λ")
    left.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    units = np.unique(np.geomspace(2, 20000, 200).astype(int))
    for name, kl in VARIANTS.items():
        masses = [kl.target(int(k))[0] for k in units]
        right.loglog(units, masses, STYLE[name], color="k", label=name)
    right.loglog(units, 1 / units, ":", color="gray", label="uniform")
    right.set(xlabel="number of units, K", ylabel="mass of the KL's target on y")
    right.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    config.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(config.output, dpi=90, metadata={"Software": None})


def main(argv: Optional[List[str]] = None) -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_arguments(Config, dest="config")
    config: Config = parser.parse_args(argv).config
    k = config.num_units
    print(f"K = {k}, eps = 0.1, T = 1; uniform: mass {1 / k:.3e}, entropy {math.log(k):.4f} nats")
    for name, kl in VARIANTS.items():
        a, b = kl.target(k)
        print(f"{name}: {a:.3e} on y, {b:.3e} elsewhere, entropy {entropy(kl, k):.4f} nats")
        for n in (100, 400, 1000):
            smoothing = effective_label_smoothing(kl, 1.0, k, n)
            print(f"  alpha 0.008, N = {n}: effective label smoothing {smoothing:.3f}")
    draw(config)
    print(f"wrote {config.output}")


if __name__ == "__main__":
    main()
