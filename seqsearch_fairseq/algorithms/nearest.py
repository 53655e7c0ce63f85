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

COLUMNS = 16  # the more columns, the more maxima to go through; the fewer, the longer the columns that are sorted
SHARE = 64  # at most one candidate in so many is kept: beyond that, going through all of them is as fast


class Best(NamedTuple):
    """Candidates of each sentence, the best first where nothing else is said."""

    scores: Tensor  # (B, M), -inf where there are fewer
    places: Tensor  # (B, M)


class GroupedRanking:
    """Finds the best candidates from the largest score of each group of them: (B, G), -inf for one that has none.

    Those that are larger than a bound, or the k largest, are in groups whose maximum is: only these are sorted.
    """

    def __init__(self, maxima: Tensor):
        self._maxima = maxima

    def best(self, count: int) -> Best:
        """The `count` largest."""
        groups = torch.topk(self._maxima, min(count, self._maxima.size(1)), dim=1, sorted=False).indices
        members = self._members(groups)
        missing, pad = count - members.scores.size(1), torch.nn.functional.pad
        if missing > 0:
            members = Best(pad(members.scores, (0, missing), value=-torch.inf), pad(members.places, (0, missing)))
        return _sorted(members, count)

    def above(self, lowest: Tensor, at_least: int, at_most: int) -> Best | None:
        """Those above `lowest` (B,), in all sentences as many; None where one has more than `at_most`."""
        groups = int((self._maxima > lowest.unsqueeze(1)).sum(dim=1).max())
        if groups > at_most:
            return None
        groups = min(max(groups, at_least), self._maxima.size(1))
        members = self._members(torch.topk(self._maxima, groups, dim=1, sorted=False).indices)
        count = int((members.scores > lowest.unsqueeze(1)).sum(dim=1).max())
        return None if count > at_most else _sorted(members, max(count, at_least))

    def _members(self, groups: Tensor) -> Best:
        """All that is in groups (B, g), and what is in none, in any order."""
        raise NotImplementedError


class Ranking(GroupedRanking):
    """The same of `scores` (B, n), -inf for what is no candidate, in one pass over them.

    The scores are laid out as R rows of n / R columns, and the groups are the columns; the last, shorter row is in
    none.
    """

    def __init__(self, scores: Tensor):
        n = scores.size(1)
        self._scores = scores
        self._rows = max(1, math.isqrt(n // COLUMNS))
        self._columns = n // self._rows
        whole = scores[:, : self._rows * self._columns].unflatten(1, (self._rows, self._columns))  # (B, R, n / R)
        super().__init__(whole.amax(dim=1))  # (B, n / R)

    def _members(self, groups: Tensor) -> Best:
        end, n = self._rows * self._columns, self._scores.size(1)
        down = torch.arange(0, end, self._columns, device=groups.device)
        rest = torch.arange(end, n, device=groups.device).expand(len(groups), -1)
        places = torch.cat([(groups.unsqueeze(2) + down).flatten(1), rest], dim=1)
        return Best(self._scores.gather(1, places), places)


def _sorted(members: Best, count: int) -> Best:
    top = torch.topk(members.scores, count, dim=1)
    return Best(top.values, members.places.gather(1, top.indices))


def nearest(
    ranking: GroupedRanking, top: Best, n: int, alpha: float, top_k: str, ended: Tensor, share: int = SHARE
) -> Best | None:
    """The best candidates, when the others weigh nothing in any sentence; None where these are too many.

    Args:
        ranking: of all candidates.
        top: the K best of them.
        n: how many candidates there are.
        alpha: > 0.
        top_k: a name of `relaxations.TOP_K`.
        ended: (B,) bool, sentences whose choice is not read.
        share: at most n / share candidates are kept.
    """
    width = top.scores.size(1)
    if width * share > n:
        return None
    weakest = torch.where(top.scores.isfinite(), top.scores, torch.inf).amin(dim=1)  # m_K
    lowest = weakest - margin(n, width, alpha, top_k, top.scores.dtype)
    return ranking.above(lowest.masked_fill(ended, torch.inf), width, n // share)


def margin(n: int, width: int, alpha: float, top_k: str, dtype: torch.dtype) -> float:
    """How far below m_K a score has to be, so that n of its kind weigh less than the precision of `dtype`."""
    exponent = math.log(n) - math.log(torch.finfo(dtype).eps)
    return math.sqrt(exponent / alpha) if top_k == "squared-distance" else exponent / alpha + math.log(width)
