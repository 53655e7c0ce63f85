"""Products with a weight that may be made in a narrower type than the numbers around them, without gradient.

In a narrower type both factors are rounded to it, sums inside a product are wide, and its result is rounded once more.
A weight is rounded once, when its `Product` is made.
"""

import torch
from torch import Tensor


class Product:
    """`rows @ weight`, of rows (n, D) and a weight (D, M).

    Args:
        weight: (D, M).
        dtype: that the product is made in.
    """

    def __init__(self, weight: Tensor, dtype: torch.dtype):
        self.dtype, self._weight = dtype, weight.to(dtype)
        self._buffer = self._weight.new_empty(0)

    def add_to(self, total: Tensor, rows: Tensor) -> Tensor:
        """Add the product to `total` (n, M), in place, and return it. Sums are made in the type of `total`."""
        if total.dtype == self.dtype:
            return torch.addmm(total, rows, self._weight, out=total)
        if self._buffer.numel() < total.numel():
            self._buffer = self._weight.new_empty(total.numel())
        product = self._buffer[: total.numel()].view(total.shape)
        return total.add_(torch.mm(rows.to(self.dtype), self._weight, out=product))
