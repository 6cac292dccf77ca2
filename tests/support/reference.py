"""Slow float64 oracles that never import the product's code.

The loss here is written position by position from the definitions: explicit one-hot targets over
all units, an explicit second softmax, explicit sums. It shares nothing with the closed forms.
"""

import itertools
import math
from typing import Dict, List, Tuple

import torch
from torch import Tensor


def smoothed_target(y: int, num_units: int, eps: float, variant: str, temperature: float) -> Tensor:
    """q (K,) of the KL for a target unit y in 0 … K-1."""
    s = torch.full((num_units,), eps / num_units, dtype=torch.float64)
    s[y] += 1 - eps
    if variant == "paper":
        return s
    return torch.softmax((s + 1e-9) / temperature, dim=0)


def centroid_target(y: int, centroids: Tensor, neighbours: int, width: float) -> Tensor:
    """q (K,) on the units whose centroids (K, D) are the nearest to that of y, y first."""
    k = len(centroids)
    squared = [[float(((centroids[i] - centroids[j]) ** 2).sum()) for j in range(k)] for i in range(k)]
    spacing = [min((squared[i][j] for j in range(k) if j != i), default=1.0) for i in range(k)]
    tau_squared = width**2 * sum(spacing) / k
    order = sorted(range(k), key=lambda j: (j != y, squared[y][j]))[:neighbours]
    q = torch.zeros(k, dtype=torch.float64)
    for j in order:
        q[j] = math.exp(-squared[y][j] / (2 * tau_squared))
    return q / q.sum()


def ctc(log_probs: Tensor, labels: List[int]) -> Tensor:
    """-log P(labels) under log_probs (N, C), blank 0, by going through all C**N paths."""
    paths = []
    for path in itertools.product(range(log_probs.size(1)), repeat=log_probs.size(0)):
        if [c for c, _ in itertools.groupby(path) if c] == labels:
            paths.append(sum(log_probs[t, c] for t, c in enumerate(path)))
    return -torch.stack(paths).logsumexp(0) if paths else torch.tensor(math.inf)


def cross_entropy(log_probs: Tensor, y: int, smoothing: float, low: int, high: int) -> Tensor:
    """- sum_k q_k log p_k, q = (1 - smoothing) one-hot + smoothing uniform over ids low … high-1."""
    q = torch.zeros_like(log_probs)
    q[y] = 1 - smoothing
    q[low:high] += smoothing / (high - low)
    return -(q[q > 0] * log_probs[q > 0]).sum()


def kl_divergence(q: Tensor, log_p: Tensor) -> Tensor:
    return sum(q[k] * (q[k].log() - log_p[k]) for k in range(len(q)) if q[k] > 0)


def position_losses(
    z: Tensor, x: int, y: int, pad: int, separator: int, offset: int, options: Dict
) -> Dict[str, List[Tensor]]:
    """The terms that the position with input x and target y adds to each component."""
    num_units = len(z) - offset
    official = options["kl_variant"] == "official"
    unit, text = y >= offset, y not in (pad, separator) and y < offset
    terms: Dict[str, List[Tensor]] = {"text": [], "speech": [], "kl": []}
    log_p = torch.log_softmax(z, dim=0)
    if text:
        terms["text"].append(cross_entropy(log_p, y, options["text_label_smoothing"], 0, offset))
    if unit:
        if options["speech_within_units"]:
            inside = torch.log_softmax(z[offset:], dim=0)
            log_p = torch.cat([torch.zeros_like(z[:offset]), inside])
        smoothing = options["speech_label_smoothing"]
        terms["speech"].append(cross_entropy(log_p, y, smoothing, offset, len(z)))
    elif official and y == separator:
        terms["speech"].append(-log_p[y])
    temperature = options["temperature"]
    log_q = torch.log_softmax(z[offset:] / temperature, dim=0)
    if official and not (x == pad and y == pad):
        q = smoothed_target(y - offset if unit else 0, num_units, options["smoothing"], "official", temperature)
        if y == pad:
            q = torch.full_like(q, 1 / num_units)
        terms["kl"].append(temperature**2 * kl_divergence(q, log_q))
    elif unit and not official:
        q = smoothed_target(y - offset, num_units, options["smoothing"], "paper", temperature)
        if options["kl_variant"] == "centroid":
            q = options["targets"][y - offset]
        terms["kl"].append(temperature**2 * kl_divergence(q, log_q))
    return terms


def loss(
    logits: Tensor, src: Tensor, target: Tensor, pad: int, separator: int, offset: int, **options
) -> Tuple[Tensor, Dict[str, Tensor]]:
    """The objective for logits (B, L, V) in float64, and the sums of its components."""
    sums = {name: logits.new_zeros(()) for name in ("text", "speech", "kl")}
    counts = dict.fromkeys(sums, 0)
    for row in range(logits.size(0)):
        if bool((target[row] == pad).all()):
            continue  # no sentence
        for t in range(logits.size(1)):
            x, y = int(src[row, t]), int(target[row, t])
            terms = position_losses(logits[row, t], x, y, pad, separator, offset, options)
            for name, values in terms.items():
                sums[name] = sums[name] + sum(values, torch.zeros_like(sums[name]))
                counts[name] += len(values)
    if options["kl_denominator"] == "sentence":
        counts["kl"] = sum(int((target[row] != pad).any()) for row in range(len(target)))
    weighted = (options[f"{name}_weight"] * sums[name] / max(counts[name], 1) for name in sums)
    return sum(weighted, 0 * logits.sum()), sums
