"""Plot what `benchmarks/decode.py --growth FILE` measured.

python benchmarks/plot_decode.py growth.json docs/decoding_growth.png
"""

import argparse
import json
from pathlib import Path
from typing import Optional, Sequence

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

STYLES = {"ours": "o-", "huggingface": "s--", "fairseq": "^:"}


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", help="JSON file of benchmarks/decode.py --growth")
    parser.add_argument("figure", help="file to write; its suffix says the format")
    options = parser.parse_args(argv)
    cases = json.loads(Path(options.measured).read_text(encoding="utf-8"))

    figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), constrained_layout=True)
    for plot, axis in zip(axes, ("prompt", "beam", "batch")):
        along = [case for case in cases if case["axis"] == axis]
        for name, style in STYLES.items():
            points = [(case[axis], case["cpu_seconds"][name]) for case in along if name in case["cpu_seconds"]]
            if points:
                plot.plot(*zip(*points), style, label=name)
        fixed = ", ".join(f"{key} {along[0][key]}" for key in ("prompt", "beam", "batch") if key != axis)
        plot.set(xlabel=axis, title=fixed, ylim=(0, None))
        plot.grid(alpha=0.3)
    axes[0].set_ylabel(f"CPU seconds, {cases[0]['transcript']} tokens out")
    axes[0].legend()
    figure.savefig(options.figure)


if __name__ == "__main__":
    main()
