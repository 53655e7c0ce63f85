"""The best-scoring token of each row of features, without gradient: what a greedy search asks of the output layer.

`OutputMaximum` makes the product for a block of rows at a time, in memory that is used again; `RoundedMaximum` makes it
in a narrower type, and finds the same tokens. Where the output layer is no product, `best_token` looks at whatever
scores it gives.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.products import filled
from seqsearch_fairseq.algorithms.step import OutputLayer, Step

ROWS = 512  # of a block of scores
FEW_TOKENS = 2048  # of a vocabulary: up to there a product in a narrower type saves less than its rounding costs
SLACK = 1.25  # on the bound of that rounding: sums inside a product are rounded, too
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
        self._weight, self._bias = weight.t(), bias
        self._buffer = weight.new_empty(0, len(weight))

    def __call__(self, features: Tensor) -> Tensor:
        features = features.to(self._weight.dtype)
        if len(self._buffer) < min(len(features), ROWS):
            self._buffer = features.new_empty(min(len(features), ROWS), len(self._bias))
        best = [self._of_block(block) for block in features.split(ROWS)]
        return best[0] if len(best) == 1 else torch.cat(best)

    def _of_block(self, features: Tensor) -> Tensor:
        return largest(torch.addmm(self._bias, features, self._weight, out=self._buffer[: len(features)]))


class RoundedMaximum:
    """As `OutputMaximum`, by a product in the output layer's type, narrower than its weights'.

    Rounding changes a factor, the bias and the result by a share of at most u, and so a score by at most

        e = u (2 |features| |weight| + |bias| + |score|)

    The best candidate is among those whose rounded scores are at most 2 e below the largest. They are scored again.
    """

    def __init__(self, output: OutputLayer, candidates: Tensor):
        weight, bias = output.weight, torch.zeros_like(output.weight[:, 0]) if output.bias is None else output.bias
        unit = torch.finfo(output.dtype).eps / 2 * SLACK
        self._of_norm = 4 * unit * weight.norm(dim=1).max()
        self._of_bias, self._of_score = 2 * unit * bias.abs().max(), 2 * unit
        self._exact = weight, bias
        pad, missing = torch.nn.functional.pad, -len(weight) % BLOCK
        bias = pad(bias.masked_fill(~candidates, -torch.inf), (0, missing), value=-torch.inf)
        self._weight, self._bias = pad(weight, (0, 0, 0, missing)).to(output.dtype).t(), bias.to(output.dtype)
        self._rounded, self._wide = self._weight.new_empty(0, len(bias)), weight.new_empty(0, len(bias))

    def __call__(self, features: Tensor) -> Tensor:
        features = features.to(self._wide.dtype)
        lines = filled(min(len(features), ROWS))
        if len(self._wide) < lines:
            self._rounded, self._wide = (old.new_empty(lines, old.size(1)) for old in (self._rounded, self._wide))
        best = [self._of_block(block) for block in features.split(ROWS)]
        return best[0] if len(best) == 1 else torch.cat(best)

    def _of_block(self, features: Tensor) -> Tensor:
        count, lines = len(features), filled(len(features))
        rounded, rows = self._rounded[:lines], self._rounded.new_empty(lines, features.size(1))
        rows[:count] = features
        torch.addmm(self._bias, rows, self._weight, out=rounded)
        blocks = self._wide[:count].copy_(rounded[:count]).unflatten(1, (-1, BLOCK))  # (R, V / BLOCK, BLOCK)
        maxima = blocks.amax(dim=2)
        best = maxima.amax(dim=1)
        floor = best - self._of_norm * features.norm(dim=1) - self._of_bias - self._of_score * best.abs()  # (R,)
        row, block = maxima.ge(floor.unsqueeze(1)).nonzero(as_tuple=True)
        place, inside = blocks[row, block].ge(floor[row].unsqueeze(1)).nonzero(as_tuple=True)
        row, token = row[place], block[place] * BLOCK + inside  # (N,) in order
        weight, bias = self._exact
        scores = (weight[token] * features[row]).sum(dim=1) + bias[token]
        best = torch.full_like(best, -torch.inf).scatter_reduce(0, row, scores, "amax")
        token = token.where(scores == best[row], len(weight))
        first = token.new_full((count,), len(weight)).scatter_reduce(0, row, token, "amin")
        return first.clamp(max=len(weight) - 1)  # of a row of NaN, whose loss will be an error


def output_maximum(output: OutputLayer, candidates: Tensor) -> OutputMaximum | RoundedMaximum:
    """The best candidates by the output layer's product, in its type where that is faster."""
    narrow = torch.finfo(output.dtype).bits < torch.finfo(output.weight.dtype).bits
    return (RoundedMaximum if narrow and len(output.weight) > FEW_TOKENS else OutputMaximum)(output, candidates)


def chooser(step: Step, candidates: Tensor) -> Callable[[Tensor], Tensor]:
    """`best_token` of a step and its candidates, by the faster way where the step has one."""
    if step.row_step is not None:
        return step.row_step.best_of(candidates)
    if step.rounded_output is not None:
        return output_maximum(step.rounded_output, candidates)
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
