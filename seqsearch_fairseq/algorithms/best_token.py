"""The best-scoring token of each row of features, without gradient: what a greedy search asks of the output layer.

`OutputMaximum` makes the product and the search for its maximum in one go, a block of rows and columns at a time, so
that scores are looked at while they are in the processor's cache. Where it cannot, `best_token` looks at all scores.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.step import OutputLayer, Step

ROWS, COLUMNS = 1024, 1024  # of a block of scores
LANES = 16  # products with a multiple of this many columns are up to twice as fast
BLOCK, FEW_BLOCKS = 64, 8


class OutputMaximum:
    """From features (R, D) to the best candidate of each row: (R,), the first where several tie.

    Args:
        output: the output layer. Its local scores may be log-probabilities: the best token is the same.
        candidates: (V,) bool.
    """

    def __init__(self, output: OutputLayer, candidates: Tensor):
        weight, bias = output.weight, torch.zeros_like(output.weight[:, 0]) if output.bias is None else output.bias
        bias = bias.masked_fill(~candidates, -torch.inf)
        missing = -len(weight) % LANES
        if missing > 0 and len(weight) <= COLUMNS:
            weight = torch.nn.functional.pad(weight, (0, 0, 0, missing))
            bias = torch.nn.functional.pad(bias, (0, missing), value=-torch.inf)
        blocks = -(-len(weight) // COLUMNS)
        width = -(-len(weight) // (blocks * BLOCK)) * BLOCK  # nearly even blocks
        self._weights = [part.t() for part in weight.split(width)]
        self._biases = bias.split(width)
        self._buffer = weight.new_empty(0)

    def __call__(self, features: Tensor) -> Tensor:
        return torch.cat([self._of_rows(rows) for rows in features.split(ROWS)])

    def _of_rows(self, features: Tensor) -> Tensor:
        if len(self._weights) == 1:
            return largest(self._scores(features, 0))
        best = torch.full_like(features[:, 0], -torch.inf)
        found, start = torch.zeros(len(features), dtype=torch.long, device=features.device), 0
        for i, weight in enumerate(self._weights):
            scores, place = largest_with_score(self._scores(features, i))
            better = scores > best
            found = torch.where(better, place + start, found)
            best = torch.where(better, scores, best)
            start += weight.size(1)
        return found

    def _scores(self, features: Tensor, i: int) -> Tensor:
        width = self._weights[i].size(1)
        if len(self._buffer) < len(features) * width:
            self._buffer = features.new_empty(len(features) * max(weight.size(1) for weight in self._weights))
        out = self._buffer[: len(features) * width].view(len(features), width)
        return torch.addmm(self._biases[i], features, self._weights[i], out=out)


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
    """The place of each row's maximum, the first where several tie: (R,) from (R, V)."""
    if scores.size(1) < FEW_BLOCKS * BLOCK or scores.is_cuda:
        return scores.argmax(dim=1)
    return largest_with_score(scores)[1]


def largest_with_score(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's maximum and its place, the first where several tie: (R,) each, from (R, V).

    On a CPU torch finds a maximum far faster than its place; so for a large V: the maxima of blocks, the first block
    that holds the largest, and its place in there.
    """
    rows, width = scores.shape
    whole = width // BLOCK * BLOCK
    if width < FEW_BLOCKS * BLOCK or scores.is_cuda:
        best, place = scores.max(dim=1)
        return best, place
    blocks = scores[:, :whole].unflatten(1, (-1, BLOCK))  # (R, V / BLOCK, BLOCK)
    block = blocks.amax(dim=2).argmax(dim=1)
    inside = blocks[torch.arange(rows, device=scores.device), block]  # (R, BLOCK)
    best, place = inside.max(dim=1)
    place = block * BLOCK + place
    if whole == width:
        return best, place
    rest, last = scores[:, whole:].max(dim=1)
    return torch.maximum(rest, best), torch.where(rest > best, whole + last, place)
