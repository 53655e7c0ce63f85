"""Which candidates are the same hypothesis: equal keys, found by a hash table instead of by sorting.

Each key names a slot, and the first candidate of a slot stands for all that have its key. The few of a slot whose key
is another one are sorted.
"""

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

    def first_of_equals(self, keys: Tensor) -> Tensor:
        """For each of C keys, int64, the place of the first key that is equal to it: (C,)."""
        bits = max(8, (SPARSE * len(keys)).bit_length())
        if len(self.table) < 1 << bits:
            self.table = self.table.new_empty(1 << bits)
            self.places = torch.arange(1 << bits, dtype=torch.int32, device=keys.device)
        slots = ((keys * FACTORS[0]) >> (SPAN - bits)) & ((1 << bits) - 1)
        table = self.table[: 1 << bits].fill_(len(keys))
        first = table.scatter_reduce_(0, slots, self.places[: len(keys)], "amin").index_select(0, slots).long()
        wrong = (keys.index_select(0, first) != keys).nonzero().squeeze(1)
        if len(wrong):
            distinct, groups = torch.unique(keys.index_select(0, wrong), return_inverse=True)
            places = torch.full_like(distinct, len(keys)).scatter_reduce_(0, groups, wrong, "amin")
            first.scatter_(0, wrong, places.index_select(0, groups))
        return first
