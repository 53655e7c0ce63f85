"""The gradient of a matrix that every step of a recurrence reads.

A gradient as large as an embedding or an output layer for each step, added up by autograd, costs as much as the
products that make it. So the steps hand one matrix on. Each step takes a link and returns the next one, and in the
backward pass the gradient of a link is what all later steps have added up: a step adds its own part in place, and
gives the sum to the step before it. The first link gives it to the matrix.

    matrix -> first_link -> step 1 -> link -> step 2 -> link -> ...

A link holds no values: it is a zero in the matrix's shape, and costs no memory.
"""

import torch
from torch import Tensor


def first_link(matrix: Tensor, dtype: torch.dtype) -> Tensor | None:
    """The link that the first step takes, in the type that the steps add up in; None where no gradient is asked for."""
    if not (torch.is_grad_enabled() and matrix.requires_grad):
        return None
    return _FirstLink.apply(matrix, dtype)


def next_link(link: Tensor | None) -> Tensor | None:
    """What the forward pass of a step returns for the next one."""
    return None if link is None else empty_link(link, link.shape, link.dtype)


def empty_link(like: Tensor, shape: torch.Size | tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros in any shape, in the memory of one."""
    return torch.zeros((), dtype=dtype, device=like.device).expand(shape)


def sum_of_later(of_link: Tensor | None, like: Tensor, dtype: torch.dtype) -> Tensor:
    """What the later steps have added up, to add to in place: `of_link`, or zeros where there was no later step."""
    return torch.zeros_like(like, dtype=dtype) if of_link is None else of_link


class _FirstLink(torch.autograd.Function):
    @staticmethod
    def forward(ctx, matrix, dtype):
        ctx.dtype = matrix.dtype
        return empty_link(matrix, matrix.shape, dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, of_link):
        return of_link.to(ctx.dtype), None
