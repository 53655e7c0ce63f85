"""The output layer of a decoder in a search: what each step asks of it, and the gradient that is put off to the end.

With logits `z = W h + c` and the log normaliser `Z = logsumexp(z)`, the gradient of Z is

    with respect to h: E_p[W]        to W: p h^T        to c: p        p = softmax(z)

A step that keeps E_p[W], a vector of h's size, never needs the V logits of its rows again for the gradient of h. That
of W and c can wait: each step leaves its features, its normalisers and their gradients in one parcel, and when all
steps are done the logits are made again for all their rows together, a block of the vocabulary at a time. These are the
products that cross entropy makes, and as large.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsearch_fairseq.algorithms.shared_gradient import empty_link, next_link
from seqsearch_fairseq.algorithms.step import OutputLayer

BLOCK = 1024  # tokens of the vocabulary whose logits are made again at once


class SearchedOutput:
    """An output layer during one search of `steps` steps with at most `rows` rows each, and the links of its gradient.

    `links` are what the first step takes.
    """

    def __init__(self, layer: OutputLayer, steps: int, rows: int):
        self.normalized = layer.normalized
        self.weight = layer.weight.detach().to(layer.dtype)  # (V, D)
        self.bias = None if layer.bias is None else layer.bias.detach().to(layer.dtype)  # (V,)
        self.accumulated = torch.promote_types(layer.weight.dtype, torch.float32)
        shape = steps, rows, layer.weight.size(1) + 2
        wanted = layer.weight.requires_grad or (layer.bias is not None and layer.bias.requires_grad)
        self.links: tuple[Tensor | None, Tensor | None, Tensor | None] = (None, None, None)
        if wanted and torch.is_grad_enabled():
            self.links = _Begin.apply(layer.weight, layer.bias, self, shape)

    def logits(self, features: Tensor) -> Tensor:
        """(R, V), float32 or wider, from features (R, D)."""
        return self.product(features).to(self.accumulated)

    def product(self, features: Tensor) -> Tensor:
        """The same in the type that the product is made in."""
        return F.linear(features.to(self.weight.dtype), self.weight, self.bias)

    def times_weight(self, of_logits: Tensor) -> Tensor:
        """`of_logits @ W`, (R, D): the gradient of the features."""
        return (of_logits.to(self.weight.dtype) @ self.weight).to(of_logits.dtype)


def next_links(links: tuple) -> tuple:
    """What the forward pass of a step returns for the next one."""
    return tuple(next_link(link) for link in links)


def add_to_parcel(parcel: Tensor | None, shape: torch.Size, at: int, features: Tensor, log_z: Tensor, of_log_z: Tensor):
    """Leave what the gradient of a step's log normalisers needs: features (N, D), log_z (N,), its gradient (N,)."""
    if parcel is None:
        parcel = log_z.new_zeros(shape)
    here = parcel[at, : len(features)]  # some steps have fewer rows
    here[:, :-2], here[:, -2], here[:, -1] = features, log_z, of_log_z
    return parcel


class _Begin(torch.autograd.Function):
    """Three links: of the weight, of the bias, and the parcel (T, N, D + 2)."""

    @staticmethod
    def forward(ctx, weight, bias, layer, shape):
        ctx.weight, ctx.bias, ctx.accumulated = layer.weight, layer.bias, layer.accumulated
        ctx.set_materialize_grads(False)
        of_bias = None if bias is None else empty_link(weight, bias.shape, layer.accumulated)
        return (
            empty_link(weight, weight.shape, layer.accumulated),
            of_bias,
            empty_link(weight, shape, layer.accumulated),
        )

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, of_weight, of_bias, parcel):
        wants_weight, wants_bias = ctx.needs_input_grad[:2]
        if parcel is None:
            return of_weight if wants_weight else None, of_bias if wants_bias else None, None, None
        weight, bias = ctx.weight, ctx.bias
        of_weight = torch.zeros_like(weight, dtype=ctx.accumulated) if of_weight is None else of_weight
        of_bias = torch.zeros_like(weight[:, 0], dtype=ctx.accumulated) if of_bias is None else of_bias
        rows = parcel.flatten(0, 1)
        rows = rows[rows[:, -1] != 0]  # ended sentences and steps that left nothing
        features, log_z, of_log_z = rows[:, :-2].to(weight.dtype), rows[:, -2:-1], rows[:, -1:]
        for begin in range(0, weight.size(0), BLOCK):
            block = slice(begin, begin + BLOCK)
            logits = F.linear(features, weight[block], None if bias is None else bias[block])
            shares = logits.to(log_z.dtype).sub_(log_z).exp_().mul_(of_log_z)  # (R, BLOCK)
            if wants_weight:
                add_product(of_weight[block], shares, features)
            if wants_bias:
                of_bias[block] += shares.sum(dim=0)
        return of_weight if wants_weight else None, of_bias if wants_bias else None, None, None


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """`total += left^T right`, the product in the type of `right`."""
    left = left.to(right.dtype)
    if right.dtype == total.dtype:
        total.addmm_(left.T, right)
    else:
        total += left.T @ right
