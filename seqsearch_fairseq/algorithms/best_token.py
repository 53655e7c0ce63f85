"""The best-scoring token of each row of features, without gradient: what a greedy search asks of the output layer.

`OutputMaximum` makes the product for a block of rows at a time, in memory that is used again. Where the output layer is
no product, `best_token` looks at whatever scores it gives.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.step import OutputLayer, Step

ROWS = 512  # of a block of scores
FEW_TOKENS = 1024  # of a vocabulary: up to there a product in a narrow type gains less than its rounding changes
LANES = 16  # products with a multiple of this many columns are up to twice as fast, where they are few
FEW = 1024  # columns
BLOCK, FEW_BLOCKS = 64, 8


class OutputMaximum:
    """From features (R, D) to the best candidate of each row: (R,), the first where several tie.

    Args:
        output: the output layer. Its local scores may be log-probabilities: the best token is the same.
        candidates: (V,) bool.
    """

    def __init__(self, output: OutputLayer, candidates: Tensor):
        weight, bias = output.weight, torch.zeros_like(output.weight[:, 0]) if output.bias is None else output.bias
        bias, missing = bias.masked_fill(~candidates, -torch.inf), -len(weight) % LANES
        if missing > 0 and len(weight) <= FEW:
            weight = torch.nn.functional.pad(weight, (0, 0, 0, missing))
            bias = torch.nn.functional.pad(bias, (0, missing), value=-torch.inf)
        dtype = output.dtype if len(output.weight) > FEW_TOKENS else weight.dtype
        self._weight, self._bias = weight.t().to(dtype), bias.to(dtype)
        self._buffer = self._weight.new_empty(0, len(weight))

    def __call__(self, features: Tensor) -> Tensor:
        if len(self._buffer) < min(len(features), ROWS):
            self._buffer = self._weight.new_empty(min(len(features), ROWS), len(self._bias))
        best = [self._of_block(block) for block in features.split(ROWS)]
        return best[0] if len(best) == 1 else torch.cat(best)

    def _of_block(self, features: Tensor) -> Tensor:
        scores = self._buffer[: len(features)]
        torch.addmm(self._bias, features.to(scores.dtype), self._weight, out=scores)
        return largest(scores.to(features.dtype))


def chooser(step: Step, candidates: Tensor) -> Callable[[Tensor], Tensor]:
    """`best_token` of a step and its candidates, by the faster way where the step has one."""
    if step.row_step is not None:
        return step.row_step.best_of(candidates)
    return partial(best_token, step, candidates=candidates)


def best_token(step: Step, features: Tensor, candidates: Tensor) -> Tensor:
    """The best-scoring candidate of each row: (R,)."""
    return best_by(step.scores(features), candidates)


def best_by(scores: Tensor, candidates: Tensor) -> Tensor:
    """The best-scoring candidate of each row of scores (R, V): (R,)."""
    best = largest(scores)
    if not bool(candidates[best].all()):
        best = largest(scores.masked_fill(~candidates, -torch.inf))
    return best


def largest(scores: Tensor) -> Tensor:
    """The place of each row's maximum, the first where several tie: (R,) from (R, V).

    On a CPU torch finds a maximum far faster than its place; so for a large V: the maxima of blocks, the first block
    that holds the largest, and its place in there.
    """
    rows, width = scores.shape
    whole = width // BLOCK * BLOCK
    if width < FEW_BLOCKS * BLOCK or scores.is_cuda:
        return scores.argmax(dim=1)
    blocks = scores[:, :whole].unflatten(1, (-1, BLOCK))  # (R, V / BLOCK, BLOCK)
    block = blocks.amax(dim=2).argmax(dim=1)
    inside = blocks[torch.arange(rows, device=scores.device), block]  # (R, BLOCK)
    best, place = inside.max(dim=1)
    if whole == width:
        return block * BLOCK + place
    rest, last = scores[:, whole:].max(dim=1)
    return torch.where(rest > best, whole + last, block * BLOCK + place)
