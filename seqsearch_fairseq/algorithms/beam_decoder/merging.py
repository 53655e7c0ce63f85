"""Which candidates are the same hypothesis: equal keys, found by a hash table instead of by sorting.

Each key names a slot, and the first candidate of a slot stands for all that have its key. Those of a slot whose key is
another one try again, among themselves and in other slots, until none is left.
"""

import torch
from torch import Tensor

FACTORS = (-7046029254386353131, -4417276706812531889, 1609587929392839161, 3935559000370003845)  # odd, 64 bits
SPARSE = 4  # slots for each key
SPAN = 62  # bits that a key may use


class Merger:
    """Keeps the table from call to call; what it holds from earlier ones is never read."""

    def __init__(self, device: torch.device):
        self.device = device
        self.table = torch.empty(0, dtype=torch.long, device=device)

    def first_of_equals(self, keys: Tensor) -> Tensor:
        """For each of C keys, int64, the place of the first key that is equal to it: (C,)."""
        everything = torch.arange(len(keys), device=self.device)
        first = self._round(keys, everything, FACTORS[0])
        wrong = (keys.index_select(0, first) != keys).nonzero().squeeze(1)
        attempt = 0
        while len(wrong):
            attempt += 1
            own = keys.index_select(0, wrong)
            found = self._round(own, wrong, FACTORS[attempt % len(FACTORS)] + 2 * attempt)
            first.index_copy_(0, wrong, found)
            wrong = wrong[keys.index_select(0, found) != own]
        return first

    def _round(self, keys: Tensor, candidates: Tensor, factor: int) -> Tensor:
        bits = max(8, (SPARSE * len(keys)).bit_length())
        if len(self.table) < 1 << bits:
            self.table = torch.empty(1 << bits, dtype=torch.long, device=self.device)
        slots = ((keys * factor) >> (SPAN - bits)) & ((1 << bits) - 1)
        self.table.scatter_reduce_(0, slots, candidates, "amin", include_self=False)
        return self.table.index_select(0, slots)
