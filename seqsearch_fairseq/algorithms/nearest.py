"""The best few of many candidates, and how many of them are enough.

Where alpha is large almost all mass of every `P_j` lies on a few candidates near m_1 ... m_K. Candidates that score
at most S weigh no more than

    squared-distance   n * exp(-alpha * (m_K - S)^2)
    successive         n * exp(-alpha * (m_K - S - log K))

with n candidates. Where that is below the precision of the scores' type, those that score more than S are enough. For
`squared-distance` the denominator of P_j holds the term of m_j, which is 1. For `successive` one of the K best has
lost at most (K - 1) / K of its mass when P_j is formed, so the denominator is at least `(exp(m_K) / K)^alpha`.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

SHARE = 32  # at most one candidate in so many is kept: beyond that, going through all of them is as fast


class Best(NamedTuple):
    """The best candidates of each sentence, best first."""

    scores: Tensor  # (B, M), -inf where there are fewer
    places: Tensor  # (B, M)


def best(scores: Tensor, count: int) -> Best:
    """The `count` largest of `scores` (B, n), in few passes over them.

    The scores are laid out as R rows of n / R columns. The `count` columns with the largest maxima hold the `count`
    best scores, but for those of the last, shorter row, so only these columns are sorted.
    """
    n = scores.size(1)
    rows = math.isqrt(n // count)
    if rows < 3:
        return Best(*torch.topk(scores, count, dim=1))
    columns = n // rows
    table = scores[:, : rows * columns].unflatten(1, (rows, columns))  # (B, R, n / R)
    chosen = torch.topk(table.amax(dim=1), count, dim=1, sorted=False).indices  # (B, M)
    down = torch.arange(rows, device=scores.device) * columns
    within = (chosen.unsqueeze(2) + down).flatten(1)  # (B, M * R)
    rest = torch.arange(rows * columns, n, device=scores.device).expand(len(scores), -1)
    within = torch.cat([within, rest], dim=1)
    top = torch.topk(scores.gather(1, within), count, dim=1)
    return Best(top.values, within.gather(1, top.indices))


def nearest(scores: Tensor, top: Best, alpha: float, top_k: str, ended: Tensor, share: int = SHARE) -> Best | None:
    """The best candidates, when the others weigh nothing in any sentence; None where these are too many.

    Args:
        scores: (B, n), -inf for what is no candidate.
        top: the K best of them.
        alpha: > 0.
        top_k: a name of `relaxations.TOP_K`.
        ended: (B,) bool, sentences whose choice is not read.
        share: at most n / share candidates are kept.
    """
    n, width = scores.size(1), top.scores.size(1)
    weakest = torch.where(top.scores.isfinite(), top.scores, torch.inf).amin(dim=1)  # m_K
    lowest = weakest - margin(n, width, alpha, top_k, scores.dtype)
    above = (scores > lowest.unsqueeze(1)).sum(dim=1)  # (B,)
    kept = max(width, int(above.masked_fill(ended, 0).max()))
    return None if kept * share > n else best(scores, kept)


def margin(n: int, width: int, alpha: float, top_k: str, dtype: torch.dtype) -> float:
    """How far below m_K a score has to be, so that n of its kind weigh less than the precision of `dtype`."""
    exponent = math.log(n) - math.log(torch.finfo(dtype).eps)
    return math.sqrt(exponent / alpha) if top_k == "squared-distance" else exponent / alpha + math.log(width)
