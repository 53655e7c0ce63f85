"""Products of rows with a weight that may be made in a narrower type than the rows', without gradient.

On a CPU torch compiles a product in bfloat16 for each number of rows that it meets, which takes as long as multiplying
thousands of rows. So rows go in blocks, and the last block is filled up to a multiple of `FILLED`.
"""

import torch
from torch import Tensor

BLOCK = 1024  # rows that are multiplied at once
FILLED = 64


def filled(rows: int) -> int:
    """The number of rows that a product in a narrower type is made of: at least `rows`."""
    return -(-rows // FILLED) * FILLED


class Product:
    """`rows @ weight`, of rows (n, D) and a weight (D, M).

    Args:
        weight: (D, M).
        dtype: that the product is made in, and rounded to.
    """

    def __init__(self, weight: Tensor, dtype: torch.dtype):
        self.dtype, self._weight = dtype, weight.to(dtype)
        (inputs, outputs), lines = weight.shape, BLOCK if dtype != weight.dtype else 0
        self._rows, self._product = (self._weight.new_empty(lines, width) for width in (inputs, outputs))
        self._wide = weight.new_empty(lines, outputs)

    def add_to(self, total: Tensor, rows: Tensor) -> Tensor:
        """Add the product to `total` (n, M), in place, and return it. The sum is made in the type of `total`."""
        if total.dtype == self.dtype:
            return torch.addmm(total, rows, self._weight, out=total)
        for block, part in zip(rows.split(BLOCK), total.split(BLOCK), strict=True):
            count, lines = len(block), filled(len(block))
            self._rows[:count] = block
            torch.mm(self._rows[:lines], self._weight, out=self._product[:lines])
            part += self._wide[:count].copy_(self._product[:count])  # else the sum would make a temporary of its own
        return total
