"""Output projection and loss in one pass over chunks of positions; the logits are never kept.

The idea is that of Liger-Kernel's fused linear cross-entropy and of cut cross-entropy (arXiv 2411.09009): a chunk's
logits are computed, turned *in place* into their own gradient, multiplied into the gradients of hidden states and
weights, and overwritten by the next chunk.

Which loss it is this module doesn't know. Every term is a linear function of the `Statistics` of a position, so its
derivative by them is a constant that autograd gives before any logit is known, the `slope`. With it the gradient of a
position's logits is (one part for each statistic)

    s_full softmax(z) + s_units softmax(z^s) + s_tempered/T softmax(z^s/T)
    + s_target e_y + s_unit_target e_y' + s_text_sum 1_text + s_unit_sum 1_units
    + s_sparse sum_i mass_i e_i

Positions without slope are not projected; those whose slopes touch the units alone are projected to the units alone.

The output matrix may come in several parts, one above the other: what a part needs is its own, so rows that are frozen
cost no product for a gradient that nobody wants.

Precision: logits and statistics in float32 or better. In half precision the gradient of the logits enters its two
products scaled to the half-precision range, whatever 1/tokens or the loss scale are, and both gradients are summed in
float32 until `backward` has applied the loss scale.
"""

from __future__ import annotations

from typing import Any, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sld_user_dir.losses.objective import Objective
from sld_user_dir.losses.positions import Positions
from sld_user_dir.losses.statistics import Statistics

# Positions at a time; at V = 56,000 their logits take 82 MiB in float32 on a CPU, where more were hardly
# faster. On a GPU each chunk also reads and writes the whole gradient of the weight, which takes as long
# as the products of some 760 positions (V d 12 bytes at 1.5 TB/s, 2 V d flop a position at 190 Tflop/s).
# That figure is calculated, not measured.
CPU_CHUNK_SIZE, CHUNK_SIZE = 384, 2048
CPU_PRODUCT_BLOCK = 512  # ids; MKL needs 1.45 times as long for the product with 56,000 x 1,024 at once
BLOCK_LOGITS = 2**20  # logits that a CPU's thread works on at a time, so that they stay in cache
HALF = (torch.float16, torch.bfloat16)
HALF_BLOCK = 2**13  # rows of the weight gradient that a half-precision product makes at a time


def fused_loss(
    features: Tensor,
    weight: Union[Tensor, Sequence[Tensor]],
    at: Positions,
    objective: Objective,
    divisors: Tensor,
    chunk_size: Optional[int] = None,
) -> Tuple[Tensor, Statistics, Tensor]:
    """The loss of `objective.plain_loss(features @ weight.T, ...)`, with the same results.

    Gradients are computed in the forward pass, and not at all where none is wanted; so `backward` may run only once.

    Args:
        features: (B, L, d) hidden states. Under autocast the products run in its dtype.
        weight: (V, d) output matrix, tied or not; or matrices (*, d) that make it when they are put above each other.
        at: selected positions.
        divisors: (terms,) of the whole update.
        chunk_size: positions that are projected at a time; by default what the device likes.
    """
    dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    origin = torch.zeros(len(Statistics._fields), len(at), dtype=dtype, device=features.device).requires_grad_()
    with torch.enable_grad():
        constant = objective.total(Statistics(*origin), at, divisors)
        (slope,) = torch.autograd.grad(constant, origin, materialize_grads=True)
    task = ProjectionTask(at, slope, objective.temperature, chunk_size, torch.is_grad_enabled())
    matrices = [weight] if isinstance(weight, Tensor) else weight
    linear, stats, correct = _ProjectedLoss.apply(features.reshape(-1, features.size(-1)), task, *matrices)
    return linear + constant.detach(), Statistics(*stats), correct


class ProjectionTask(NamedTuple):
    """What `_ProjectedLoss` needs besides its differentiable inputs."""

    at: Positions
    slope: Tensor  # (8, n): d loss / d statistic
    temperature: float
    chunk_size: Optional[int]
    gradients: bool


class _ProjectedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, task: ProjectionTask, *matrices: Tensor) -> Tuple[Tensor, ...]:
        ctx.inputs = (features.dtype, *(matrix.dtype for matrix in matrices))
        device = features.device.type
        if torch.is_autocast_enabled(device) and features.dtype != torch.float64:
            dtype = torch.get_autocast_dtype(device)
            features, matrices = features.to(dtype), tuple(matrix.to(dtype) for matrix in matrices)
        wanted, _, *wanted_of_matrices = (task.gradients and needed for needed in ctx.needs_input_grad)
        with torch.autocast(device, enabled=False):
            chunks = _ChunkedProjection(features, matrices, task, wanted, wanted_of_matrices)
            chunks.run()
        ctx.gradients = (chunks.grad_features, *chunks.grad_matrices)
        ctx.mark_non_differentiable(chunks.stats, chunks.correct)
        return (task.slope * chunks.stats).sum(), chunks.stats, chunks.correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Tuple[Optional[Tensor], ...]:
        if ctx.gradients is None:
            raise RuntimeError("the fused loss can run backward only once; use --loss-form plain")
        if grad.device.type != "cpu" or grad != 1:  # not worth a pass on a CPU, not worth a stall on a GPU
            for gradient in ctx.gradients:
                if gradient is not None:
                    gradient.mul_(grad)
        scaled = [
            None if gradient is None else gradient.to(dtype) for gradient, dtype in zip(ctx.gradients, ctx.inputs)
        ]
        ctx.gradients = None  # they were scaled in place
        return (scaled[0], None, *scaled[1:])


class _Rows(NamedTuple):
    """Rows of one of the matrices, and the columns of a part's logits that they make."""

    weight: Tensor  # (rows, d)
    grad: Optional[Tensor]  # None where the rows are frozen
    columns: slice


class _Part:
    """A range of the joint vocabulary, its text or its units, and room for a chunk's logits in it."""

    def __init__(
        self, matrices: Sequence[Tensor], grads: Sequence[Optional[Tensor]], first: int, end: int, chunk_size: int
    ) -> None:
        self.first, self.size = first, end - first
        self.rows: List[_Rows] = []
        start = 0  # of the matrix in the vocabulary
        for matrix, grad in zip(matrices, grads):
            inside = slice(max(first - start, 0), max(end - start, 0))
            weight = matrix[inside]
            if len(weight):
                column = start + inside.start - first
                columns = slice(column, column + len(weight))
                self.rows.append(_Rows(weight, None if grad is None else grad[inside], columns))
            start += len(matrix)
        # one for all chunks: fresh memory costs page faults
        self.buffer = matrices[0].new_empty(chunk_size * self.size)

    def project(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """inputs @ weight.T, (c, size), of type `dtype`; valid until the next call."""
        logits = self.buffer[: len(inputs) * self.size].view(len(inputs), self.size)
        block = CPU_PRODUCT_BLOCK if inputs.device.type == "cpu" else self.size
        for rows in self.rows:
            for some, columns in zip(rows.weight.split(block), logits[:, rows.columns].split(block, dim=1)):
                torch.mm(inputs, some.t(), out=columns)
        return logits.to(dtype)

    def locate(self, ids: Tensor) -> Tuple[Tensor, Tensor]:
        """Columns of the ids (c, 1), and whether they lie in this part; if not, the column is any."""
        columns = ids - self.first
        return columns.clamp(0, self.size - 1), (columns >= 0) & (columns < self.size)


class _Peak(NamedTuple):
    """A statistic that is a sum over few logits of a row: sum_i masses_i logits[columns_i]."""

    statistic: str
    logits: Tensor  # (c, size)
    columns: Tensor  # (c, m)
    masses: Tensor  # (c, m)


class _ChunkedProjection:
    """One pass over the chunks of positions; fills `stats`, `correct` and the gradients."""

    def __init__(
        self,
        features: Tensor,
        matrices: Sequence[Tensor],
        task: ProjectionTask,
        want_features: bool,
        want_matrices: Sequence[bool],
    ) -> None:
        self.features, self.task = features, task
        self.wanted = want_features or any(want_matrices)
        dtype = task.slope.dtype
        self.grad_features = torch.zeros_like(features, dtype=dtype) if want_features else None
        self.grad_matrices = [
            torch.zeros_like(matrix, dtype=dtype) if wanted else None for matrix, wanted in zip(matrices, want_matrices)
        ]
        self.stats = torch.zeros_like(task.slope)
        self.correct = torch.zeros_like(task.at.is_unit)
        self.used = Statistics(*(task.slope != 0).any(1).tolist())
        self.on_cpu = features.device.type == "cpu"
        size = task.chunk_size or (CPU_CHUNK_SIZE if self.on_cpu else CHUNK_SIZE)
        self.chunk_size = max(1, min(size, task.slope.size(1)))
        offset, size = task.at.layout.unit_offset, sum(map(len, matrices))
        self.units = _Part(matrices, self.grad_matrices, offset, size, self.chunk_size)
        self.text = _Part(matrices, self.grad_matrices, 0, offset, self.chunk_size)

    def run(self) -> None:
        slope, unit = Statistics(*self.task.slope), self.task.at.is_unit
        full = (slope.full != 0) | ((slope.target != 0) & ~unit)
        some = (self.task.slope != 0).any(0)
        for chosen, parts in ((full, [self.units, self.text]), (some & ~full, [self.units])):
            for chunk in chosen.nonzero().squeeze(1).split(self.chunk_size):
                if len(chunk):
                    self._chunk(chunk, parts)

    def _chunk(self, chunk: Tensor, parts: Sequence[_Part]) -> None:
        """Walk over the rows of indices `chunk` (c,), projected to `parts`: the units, or units and text."""
        position = self.task.at.index[chunk]
        inputs = self.features[position]  # (c, d)
        logits = [part.project(inputs, self.stats.dtype) for part in parts]
        slope = self.task.slope[:, chunk, None]  # (8, c, 1)
        stats = torch.zeros_like(slope)
        peaks = self._peaks(chunk, parts, logits)
        for peak in peaks:
            picked = peak.logits.gather(1, peak.columns).mul_(peak.masses)
            getattr(Statistics(*stats), peak.statistic).add_(picked.sum(1, keepdim=True))
        block = len(chunk)
        if self.on_cpu:
            block = max(1, BLOCK_LOGITS * torch.get_num_threads() // sum(part.size for part in parts))
        tops = [
            self._softmaxes([z[i : i + block] for z in logits], slope[:, i : i + block], stats[:, i : i + block])
            for i in range(0, len(chunk), block)
        ]
        self.correct[chunk] = (Statistics(*stats).target >= torch.cat(tops)).squeeze(1)
        self.stats[:, chunk] = stats.squeeze(2)
        if self.wanted:
            for peak in peaks:
                peak.logits.scatter_add_(1, peak.columns, getattr(Statistics(*slope), peak.statistic) * peak.masses)
            self.accumulate(logits, parts, inputs, position, slope)

    def _peaks(self, chunk: Tensor, parts: Sequence[_Part], logits: Sequence[Tensor]) -> List[_Peak]:
        """The terms of single logits; the target counts in the part where it lies."""
        at, units = self.task.at, logits[0]
        peaks = []
        for part, z in zip(parts, logits):
            columns, inside = part.locate(at.target[chunk, None])
            peaks.append(_Peak("target", z, columns, inside.to(z.dtype)))
        columns, inside = self.units.locate(at.unit_target[chunk, None])
        peaks.append(_Peak("unit_target", units, columns, inside.to(units.dtype)))
        if self.used.sparse and at.sparse_ids is not None and at.sparse_masses is not None:
            columns = at.sparse_ids[chunk] - self.units.first
            peaks.append(_Peak("sparse", units, columns, at.sparse_masses[chunk].to(units.dtype)))
        return peaks

    def _softmaxes(self, logits: Sequence[Tensor], slopes: Tensor, stats: Tensor) -> Tensor:
        """Statistics and gradient of the terms that touch every logit (b, size) of a part.

        Fills in `stats` (8, b, 1); the logits become the gradient, but for the peaks. Returns their
        maximum (b, 1).

        On each part the softmax over everything is the part's own softmax, times the part's share of
        the probability. So one softmax serves both, and the one over the units is exact however
        improbable they are.
        """
        units, text = logits[0], logits[1] if len(logits) > 1 else None
        slope, found, temperature = Statistics(*slopes), Statistics(*stats), self.task.temperature
        if self.used.unit_sum:
            found.unit_sum.copy_(units.sum(1, keepdim=True))
        if self.used.text_sum and text is not None:
            found.text_sum.copy_(text.sum(1, keepdim=True))
        tempered = None
        if self.used.tempered and temperature != 1:
            tempered = units / temperature
            found.tempered.copy_(softmax_(tempered)[1])
        top, lse_units = softmax_(units)
        found.units.copy_(lse_units)
        of_units = slope.units
        if temperature == 1:
            found.tempered.copy_(lse_units)
            of_units = of_units + slope.tempered
        if text is not None:
            top_text, lse_text = softmax_(text)
            top = torch.maximum(top, top_text)
            found.full.copy_(torch.logaddexp(lse_units, lse_text))
            of_units = of_units + slope.full * torch.sigmoid(lse_units - lse_text)
            text *= slope.full * torch.sigmoid(lse_text - lse_units)
            if self.used.text_sum:
                text += slope.text_sum
        units *= of_units
        if tempered is not None:
            units += tempered.mul_(slope.tempered / temperature)
        if self.used.unit_sum:
            units += slope.unit_sum
        return top

    def accumulate(
        self, gradients: Sequence[Tensor], parts: Sequence[_Part], inputs: Tensor, position: Tensor, slope: Tensor
    ) -> None:
        """Multiply the gradients (c, size) of the parts' logits into those of features and weight."""
        rescale = None
        if inputs.dtype in HALF:
            # Rows of L1 norm <= 2^10, inputs divided by the number of rows: neither product can
            # leave the range of float16 while |weight| and |inputs| stay below 64.
            mass = Statistics(*slope.abs())
            rescale = (mass.full + mass.units + mass.tempered).amax() / 2**9
            gradients = [(gradient / rescale).to(inputs.dtype) for gradient in gradients]
            inputs = inputs / len(inputs)
        pairs = [(gradient[:, rows.columns], rows) for gradient, part in zip(gradients, parts) for rows in part.rows]
        if self.grad_features is not None:
            products = [(gradient @ rows.weight).to(self.stats.dtype) for gradient, rows in pairs]
            product = sum(products[1:], start=products[0])
            self.grad_features[position] = product if rescale is None else product * rescale
        for gradient, rows in pairs:
            if rows.grad is None:
                continue
            if rescale is None:
                rows.grad.addmm_(gradient.t(), inputs)
                continue
            for some, columns in zip(rows.grad.split(HALF_BLOCK), gradient.split(HALF_BLOCK, dim=1)):
                some += (columns.t() @ inputs).to(some.dtype) * (rescale * len(inputs))


def softmax_(z: Tensor) -> Tuple[Tensor, Tensor]:
    """z (b, k) becomes its softmax, in place; returns its maximum and its logsumexp, both (b, 1)."""
    top = z.amax(1, keepdim=True)
    torch.softmax(z, 1, out=z)
    return top, top - z.amax(1, keepdim=True).log_()  # the greatest probability is exp(top - logsumexp)
