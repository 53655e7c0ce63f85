"""Which candidates are the same hypothesis: equal keys, found by a hash table instead of by sorting.

Each key names a slot, and the first candidate of a slot stands for all that have its key. The few of a slot whose key
is another one are sorted.
"""

import torch
from torch import Tensor

FACTORS = (-7046029254386353131, -4417276706812531889)  # odd, 64 bits
SPARSE = 32  # slots for each key
SPAN = 62  # bits that a key may use


class Merger:
    """Keeps the table from call to call; what it holds from earlier ones is never read."""

    def __init__(self, device: torch.device):
        self.device = device
        self.table = torch.empty(0, dtype=torch.long, device=device)

    def first_of_equals(self, keys: Tensor) -> Tensor:
        """For each of C keys, int64, the place of the first key that is equal to it: (C,)."""
        bits = max(8, (SPARSE * len(keys)).bit_length())
        if len(self.table) < 1 << bits:
            self.table = torch.empty(1 << bits, dtype=torch.long, device=self.device)
        slots = ((keys * FACTORS[0]) >> (SPAN - bits)) & ((1 << bits) - 1)
        everything = torch.arange(len(keys), device=self.device)
        self.table.scatter_(0, slots, len(keys)).scatter_reduce_(0, slots, everything, "amin")
        first = self.table.index_select(0, slots)
        wrong = (keys.index_select(0, first) != keys).nonzero().squeeze(1)
        if len(wrong):
            distinct, groups = torch.unique(keys.index_select(0, wrong), return_inverse=True)
            places = torch.empty_like(distinct).scatter_reduce_(0, groups, wrong, "amin", include_self=False)
            first.scatter_(0, wrong, places.index_select(0, groups))
        return first
