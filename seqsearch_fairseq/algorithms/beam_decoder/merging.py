"""Which candidates are the same hypothesis, and what they score together.

Equal keys are found by a hash table instead of by sorting: each key names a slot, and the first candidate of a slot
stands for all that have its key. The few of a slot whose key is another one are sorted. Most candidates are alone, so
sums are taken over the others only.
"""

from collections.abc import Callable

import torch
from torch import Tensor

FACTORS = (-7046029254386353131, -4417276706812531889)  # odd, 64 bits
SPARSE = 8  # slots for each key
SPAN = 62  # bits that a key may use


class Merger:
    """Keeps the memory of the table from call to call."""

    def __init__(self, device: torch.device):
        self.table = torch.empty(0, dtype=torch.int32, device=device)
        self.places = torch.empty(0, dtype=torch.int32, device=device)  # 0, 1, 2, ...
        self.long_places = torch.empty(0, dtype=torch.long, device=device)

    def numbers(self, count: int) -> Tensor:
        """0, 1, 2, ..."""
        if count > len(self.long_places):
            self.long_places = torch.arange(2 * count, device=self.long_places.device)
        return self.long_places[:count]

    def first_of_equals(self, keys: Tensor) -> Tensor:
        """For each of C keys, int64, the place of the first key that is equal to it: (C,)."""
        bits = max(8, (SPARSE * len(keys)).bit_length())
        if len(self.table) < 1 << bits:
            self.table = self.table.new_empty(1 << bits)
            self.places = torch.arange(1 << bits, dtype=torch.int32, device=keys.device)
        slots = (keys * FACTORS[0]).bitwise_right_shift_(SPAN - bits).bitwise_and_((1 << bits) - 1)
        table = self.table[: 1 << bits].fill_(len(keys))
        first = table.scatter_reduce_(0, slots, self.places[: len(keys)], "amin").index_select(0, slots).long()
        wrong = (keys.index_select(0, first) != keys).nonzero().view(-1)
        if len(wrong):
            distinct, groups = torch.unique(keys.index_select(0, wrong), return_inverse=True)
            places = torch.full_like(distinct, len(keys)).scatter_reduce_(0, groups, wrong, "amin")
            first.scatter_(0, wrong, places.index_select(0, groups))
        return first


def log_add_of_equals(scores: Tensor, first: Tensor, others: Tensor) -> Tensor:
    """The log-add of the scores of equal candidates, where the first of them is; -inf at `others`: (C,).

    Args:
        scores: (C,)
        first: (C,) for each candidate, where the first one is that is equal to it.
        others: the candidates that are not the first ones.
    """
    owners, parts = first.index_select(0, others), scores.index_select(0, others)
    totals = scores.scatter_reduce(0, owners, parts, "amax")
    peaks = totals.index_select(0, owners)
    finite = peaks.clamp(min=torch.finfo(scores.dtype).min)
    shares = torch.zeros_like(scores).index_add_(0, owners, parts.sub_(finite).exp_()).index_select(0, owners)
    shares += scores.index_select(0, owners).sub_(finite).exp_()  # at least 1 where there is a score
    totals.scatter_(0, owners, shares.log_().add_(peaks))
    return totals.index_fill_(0, others, -torch.inf)


def largest_of_equals(scores: Tensor, first: Tensor, others: Tensor) -> Tensor:
    """The same with the largest score."""
    owners, parts = first.index_select(0, others), scores.index_select(0, others)
    return scores.scatter_reduce(0, owners, parts, "amax").index_fill_(0, others, -torch.inf)


MERGES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "log-add": log_add_of_equals,
    "max": largest_of_equals,
}
