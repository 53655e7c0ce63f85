"""The best few of many candidates, and how many of them are enough.

Where alpha is large almost all mass of every `P_j` lies on a few candidates near m_1 ... m_K. The M best are enough where
a bound shows that what the others weigh is below the precision of the scores' type:

    squared-distance   (n - M) * exp(-alpha * (m_K - S_M)^2)
    successive         (n - M) * exp(-alpha * (m_K - S_M - log K))

with n candidates and S_M the smallest score that is kept. For `squared-distance` the denominator of P_j holds the term of
m_j, which is 1. For `successive` one of the K best has lost at most (K - 1) / K of its mass when P_j is formed, so the
denominator is at least `(exp(m_K) / K)^alpha`.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

LEVELS = (64, 256, 1024)  # how many of the best candidates are looked for before all of them are taken
ENOUGH = (16, 32, 64, 256, 1024)  # and how many of these may be kept
SHARE = 4  # at most one candidate in so many is kept: beyond that all of them cost no more


class Best(NamedTuple):
    """The best candidates of each sentence, best first."""

    scores: Tensor  # (B, M), -inf where there are fewer
    places: Tensor  # (B, M)


def best(scores: Tensor, count: int) -> Best:
    """The `count` largest of `scores` (B, n), in few passes over them.

    The scores are laid out as R rows of n / R columns. The `count` columns with the largest maxima hold the `count` best
    scores, but for those of the last, shorter row, so only these columns are sorted.
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


def nearest(scores: Tensor, width: int, alpha: float, top_k: str, ended: Tensor) -> Best | None:
    """The best candidates, when the others weigh nothing in any sentence; None when they do.

    Args:
        scores: (B, n), -inf for what is no candidate.
        width: K.
        alpha: > 0.
        top_k: a name of `relaxations.TOP_K`.
        ended: (B,) bool, sentences whose choice is not read.
    """
    n = scores.size(1)
    for level in LEVELS:
        if level * SHARE > n:
            return None
        found = best(scores, level)
        for kept in ENOUGH:
            if width <= kept <= level and _is_enough(found.scores, kept, n, width, alpha, top_k, ended):
                return Best(found.scores[:, :kept], found.places[:, :kept])
    return None


def _is_enough(top: Tensor, kept: int, n: int, width: int, alpha: float, top_k: str, ended: Tensor) -> bool:
    weakest = torch.where(top[:, :width].isfinite(), top[:, :width], torch.inf).amin(dim=1)  # m_K
    margin = weakest - top[:, kept - 1]  # infinite where every candidate is kept
    exponent = alpha * margin.square() if top_k == "squared-distance" else alpha * (margin - math.log(width))
    outside = math.log(n - kept) - exponent
    return bool(((outside < math.log(torch.finfo(top.dtype).eps)) | ended).all())
