"""Which candidates are the same hypothesis, and what they score together.

Equal keys are found by a table instead of by sorting: each key names a slot, and the first candidate of a slot stands
for all that have its key. Where keys are small each has a slot of its own; else the slot is a hash, and the few whose
slot another key has taken are sorted.
"""

from collections.abc import Callable

import torch
from torch import Tensor

FACTORS = (-7046029254386353131, -4417276706812531889)  # odd, 64 bits
SPARSE = 8  # slots for each key
SPAN = 62  # bits that a key may use
OWN_SLOTS = 1 << 21  # keys below this have slots of their own
NOTHING = -80.0  # exp of this changes no sum that is at least 1, and exp of less is slow
LATEST = 1 << 62  # above all numbers in a table


class Merger:
    """Keeps the memory of the table from call to call.

    Args:
        limit: all keys are below.
    """

    def __init__(self, device: torch.device, limit: int):
        self.numbers = torch.arange(256, device=device)  # 0, 1, 2, ...
        self.counted = self.numbers
        self.own_slots = torch.full((limit,), LATEST, device=device) if limit <= OWN_SLOTS else None
        self.begin = LATEST
        self.hashed = torch.empty(0, dtype=torch.int32, device=device)

    def count(self, length: int) -> Tensor:
        """0, 1, 2, ... to the length."""
        if length != len(self.counted):  # a frame asks for the same several times
            if length > len(self.numbers):
                self.numbers = torch.arange(2 * length, device=self.numbers.device)
            self.counted = self.numbers[:length]
        return self.counted

    def first_of_equals(self, keys: Tensor) -> Tensor:
        """For each of C keys, int64, the place of the first key that is equal to it: (C,)."""
        if self.own_slots is None:
            return self._by_hash(keys)
        self.begin -= len(keys)  # so that its numbers are below all that the table has from the calls before
        numbers = self.count(len(keys)) + self.begin
        return self.own_slots.scatter_reduce_(0, keys, numbers, "amin").index_select(0, keys).sub_(self.begin)

    def _by_hash(self, keys: Tensor) -> Tensor:
        bits = max(8, (SPARSE * len(keys)).bit_length())
        if len(self.hashed) < 1 << bits:
            self.hashed = self.hashed.new_empty(1 << bits)
        slots = (keys * FACTORS[0]).bitwise_right_shift_(SPAN - bits).bitwise_and_((1 << bits) - 1)
        numbers = self.count(len(keys)).int()
        table = self.hashed[: 1 << bits].fill_(len(keys))  # which brings it into the cache, too
        first = table.scatter_reduce_(0, slots, numbers, "amin").index_select(0, slots).long()
        wrong = (keys.index_select(0, first) != keys).nonzero().view(-1)
        if len(wrong):
            distinct, groups = torch.unique(keys.index_select(0, wrong), return_inverse=True)
            places = torch.full_like(distinct, len(keys)).scatter_reduce_(0, groups, wrong, "amin")
            first.scatter_(0, wrong, places.index_select(0, groups))
        return first


def log_add_of_equals(scores: Tensor, first: Tensor) -> Tensor:
    """The log-add of the scores (C,) of equal candidates, where the first of them is, and -inf elsewhere: (C,)."""
    peaks = largest_of_equals(scores, first)
    gaps = scores.sub(peaks.clamp(min=torch.finfo(scores.dtype).min).index_select(0, first))
    shares = gaps.clamp_(min=NOTHING).exp_()  # of a sum of at least 1
    return torch.zeros_like(peaks).index_add_(0, first, shares).clamp_(min=1.0).log_().add_(peaks)


def largest_of_equals(scores: Tensor, first: Tensor) -> Tensor:
    """The same with the largest score."""
    return torch.full_like(scores, -torch.inf).scatter_reduce_(0, first, scores, "amax")


MERGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"log-add": log_add_of_equals, "max": largest_of_equals}
