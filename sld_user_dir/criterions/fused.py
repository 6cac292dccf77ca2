"""Output projection and loss in one pass over chunks of positions; the logits are never kept.

The idea is that of Liger-Kernel's fused linear cross-entropy and of cut cross-entropy
(arXiv 2411.09009): a chunk's logits are computed, turned *in place* into their own gradient,
multiplied into the gradients of hidden states and weights, and overwritten by the next chunk.

Which loss it is this module doesn't know. `losses.py` writes every loss as a linear function of
the `Statistics` of a position, so its derivative by them is a constant, the `Weights`, known before
any logit is. With it the gradient of a position's logits is (one term per statistic)

    w_full softmax(z) + w_units softmax(z^s) + w_tempered/T softmax(z^s/T)
    + w_target e_y + w_unit_target e_y' + w_text_sum 1_text + w_unit_sum 1_units
    + w_neighbours sum_i q_i e_i

Positions without weight are not projected; those whose weights touch the units alone are
projected to the units alone.

Precision: logits and statistics in float32 or better. In half precision the gradient of the logits
enters its two products scaled to the half-precision range, whatever 1/tokens or the loss scale
are, and both gradients are summed in float32 until `backward` has applied the loss scale.
"""

from typing import Any, Dict, NamedTuple, Optional, Tuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .losses import Components, Denominators, Layout, Objective, Rows, Statistics, components, total_loss

CHUNK_SIZE = 256  # positions; at V = 56,000 their logits take 55 MiB in float32
BLOCK_LOGITS = 2**20  # logits that a CPU's thread works on at a time, so that they stay in cache
HALF = (torch.float16, torch.bfloat16)
HALF_BLOCK = 2**13  # rows of the weight gradient that a half-precision product makes at a time


def fused_loss(
    features: Tensor,
    weight: Tensor,
    rows: Rows,
    objective: Objective,
    layout: Layout,
    denominators: Denominators,
    chunk_size: Optional[int] = None,
) -> Tuple[Tensor, Components, Tensor]:
    """The loss of `losses.plain_loss(features @ weight.T, ...)`, with the same results.

    features: (B, L, d) hidden states; weight: (V, d) output matrix, tied or not. Under autocast
    the products run in its dtype. Gradients are computed in the forward pass, and not at all
    where none is wanted; so `backward` may run only once.
    """
    dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    origin = torch.zeros(len(Statistics._fields), len(rows.position), dtype=dtype)
    origin = origin.to(features.device).requires_grad_()
    with torch.enable_grad():
        parts = components(Statistics(*origin), rows, objective, layout)
        constant = total_loss(parts, objective, denominators)
        (slope,) = torch.autograd.grad(constant, origin, materialize_grads=True)
    plan = Plan(
        rows=rows,
        slope=slope,
        unit_offset=layout.unit_offset,
        temperature=objective.temperature,
        chunk_size=chunk_size,
        gradients=torch.is_grad_enabled(),
    )
    flat = features.reshape(-1, features.size(-1))
    linear, stats, correct = _ProjectedLoss.apply(flat, weight, plan)
    parts = components(Statistics(*stats), rows, objective, layout)
    return linear + constant.detach(), parts, correct


class Plan(NamedTuple):
    """What `_ProjectedLoss` needs besides its two differentiable inputs."""

    rows: Rows
    slope: Tensor  # (8, n): d loss / d statistic
    unit_offset: int
    temperature: float
    chunk_size: Optional[int]
    gradients: bool


class _ProjectedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, plan: Plan) -> Tuple[Tensor, ...]:
        ctx.inputs = (features.dtype, weight.dtype)
        device = features.device.type
        if torch.is_autocast_enabled(device) and features.dtype != torch.float64:
            dtype = torch.get_autocast_dtype(device)
            features, weight = features.to(dtype), weight.to(dtype)
        wanted = [plan.gradients and needed for needed in ctx.needs_input_grad[:2]]
        with torch.autocast(device, enabled=False):
            walk = _Walk(features, weight, plan, *wanted)
            walk.run()
        ctx.gradients = (walk.grad_features, walk.grad_weight)
        ctx.mark_non_differentiable(walk.stats, walk.correct)
        return (plan.slope * walk.stats).sum(), walk.stats, walk.correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Tuple[Optional[Tensor], ...]:
        if ctx.gradients is None:
            raise RuntimeError("the fused loss can run backward only once; use --loss-form plain")
        scaled = [
            None if gradient is None else gradient.mul_(grad).to(dtype)
            for gradient, dtype in zip(ctx.gradients, ctx.inputs)
        ]
        ctx.gradients = None  # they were scaled in place
        return (*scaled, None)


class _Walk:
    """One pass over the chunks of positions; fills `stats`, `correct` and the gradients."""

    def __init__(self, features: Tensor, weight: Tensor, plan: Plan, want_features: bool, want_weight: bool) -> None:
        self.features, self.weight, self.plan = features, weight, plan
        self.wanted = want_features or want_weight
        self.grad_features = self.grad_weight = None
        if want_features:
            self.grad_features = torch.zeros_like(features, dtype=plan.slope.dtype)
        if want_weight:
            self.grad_weight = torch.zeros_like(weight, dtype=plan.slope.dtype)
        self.stats = torch.zeros_like(plan.slope)
        self.correct = torch.zeros_like(plan.rows.text)
        self.size = max(1, min(plan.chunk_size or CHUNK_SIZE, plan.slope.size(1)))
        # one for all chunks: fresh memory costs page faults
        self.buffer = weight.new_empty(self.size * weight.size(0))
        self.used = Statistics(*(plan.slope != 0).any(1).tolist())

    def run(self) -> None:
        slope, unit = Statistics(*self.plan.slope), self.plan.rows.unit
        inside = (slope.units != 0) | (slope.tempered != 0)
        full = (slope.full != 0) | ((slope.target != 0) & ~unit)
        some = (self.plan.slope != 0).any(0)
        offset = self.plan.unit_offset
        self._group(full & ~inside, first_id=0, softmax_units=False)
        self._group(full & inside, first_id=0, softmax_units=True)
        self._group(some & ~full, first_id=offset, softmax_units=True)

    def _group(self, chosen: Tensor, first_id: int, softmax_units: bool) -> None:
        """Walk over the rows of mask `chosen` (n,), projected to the ids from `first_id` on."""
        rows, weight = chosen.nonzero().squeeze(1), self.weight[first_id:].t()
        for chunk in rows.split(self.size) if len(rows) else ():
            index = self.plan.rows.position[chunk]
            inputs = self.features[index]  # (c, d)
            shape = (len(chunk), weight.size(1))
            logits = self.buffer[: shape[0] * shape[1]].view(shape)  # (c, V - first_id)
            logits = torch.mm(inputs, weight, out=logits).to(self.stats.dtype)
            block = len(chunk)
            if logits.device.type == "cpu":
                block = max(1, BLOCK_LOGITS * torch.get_num_threads() // logits.size(1))
            for part, of_part in zip(logits.split(block), chunk.split(block)):
                self._block(part, of_part, first_id, softmax_units)
            if self.wanted:
                self.accumulate(logits, inputs, index, chunk, first_id)

    def _block(self, z: Tensor, chunk: Tensor, first_id: int, softmax_units: bool) -> None:
        """Statistics of the logits z (c, V - first_id); z becomes its own gradient."""
        rows, used = self.plan.rows, self.used
        slope = Statistics(*self.plan.slope[:, chunk, None])  # each (c, 1)
        text, units = z.tensor_split([self.plan.unit_offset - first_id], dim=1)
        target = (rows.target[chunk, None] - first_id).clamp_(min=0)
        unit_target = rows.unit_target[chunk, None] - first_id
        stats = {"target": z.gather(1, target), "unit_target": z.gather(1, unit_target)}
        if used.unit_sum:
            stats["unit_sum"] = units.sum(1, keepdim=True)
        if used.text_sum and not first_id:
            stats["text_sum"] = text.sum(1, keepdim=True)
        near = masses = None
        if used.neighbours and rows.neighbours is not None and rows.masses is not None:
            near, masses = rows.neighbours[chunk] - first_id, rows.masses[chunk].to(z.dtype)
            stats["neighbours"] = (z.gather(1, near) * masses).sum(1, keepdim=True)
        inside = self._softmax_units(units, slope, stats) if softmax_units else None
        if first_id:
            z.zero_()
        else:
            top, stats["full"] = softmax_(z, slope.full)
            self.correct[chunk] = (stats["target"] >= top).squeeze(1)
        for name, values in stats.items():
            getattr(Statistics(*self.stats), name)[chunk] = values.squeeze(1)
        if not self.wanted:
            return
        if inside is not None:
            units += inside
        z.scatter_add_(1, target, slope.target)
        z.scatter_add_(1, unit_target, slope.unit_target)
        if near is not None and masses is not None:
            z.scatter_add_(1, near, slope.neighbours * masses)
        if used.unit_sum:
            units += slope.unit_sum
        if used.text_sum:
            text += slope.text_sum

    def _softmax_units(self, units: Tensor, slope: Statistics, stats: Dict[str, Tensor]) -> Tensor:
        """The gradient (c, K) of the terms w_units lse(z^s) + w_tempered lse(z^s / T)."""
        temperature = self.plan.temperature
        if temperature == 1 or not self.used.tempered:
            inside = units.clone()
            _, stats["units"] = softmax_(inside, slope.units + slope.tempered)
            stats["tempered"] = stats["units"]
            return inside
        inside = units / temperature
        _, stats["tempered"] = softmax_(inside, slope.tempered / temperature)
        if self.used.units:
            other = units.clone()
            _, stats["units"] = softmax_(other, slope.units)
            inside += other
        return inside

    def accumulate(self, gradient: Tensor, inputs: Tensor, index: Tensor, chunk: Tensor, first_id: int) -> None:
        """Multiply the logits' gradient (c, V - first_id) into those of features and weight."""
        weight = self.weight[first_id:]
        rescale = None
        if weight.dtype in HALF:
            # Rows of L1 norm <= 2^10, inputs divided by the number of rows: neither product can
            # leave the range of float16 while |weight| and |inputs| stay below 64.
            mass = Statistics(*self.plan.slope[:, chunk].abs())
            rescale = (mass.full + mass.units + mass.tempered).amax() / 2**9
            gradient, inputs = (gradient / rescale).to(weight.dtype), inputs / len(chunk)
        if self.grad_features is not None:
            product = (gradient @ weight).to(self.grad_features.dtype)
            self.grad_features[index] = product if rescale is None else product * rescale
        if self.grad_weight is None:
            return
        sums = self.grad_weight[first_id:]
        if rescale is None:
            sums.addmm_(gradient.t(), inputs)
            return
        for some, column in zip(sums.split(HALF_BLOCK), gradient.split(HALF_BLOCK, dim=1)):
            some += (column.t() @ inputs).to(sums.dtype) * (rescale * len(chunk))


def softmax_(z: Tensor, scale: Tensor) -> Tuple[Tensor, Tensor]:
    """z (c, V) becomes scale * softmax(z), in place; returns its maximum and logsumexp (c, 1)."""
    top = z.amax(1, keepdim=True)
    total = z.sub_(top).exp_().sum(1, keepdim=True)
    z.mul_(scale / total)
    return top, top + total.log()
