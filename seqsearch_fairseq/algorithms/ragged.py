"""Rows of sentences, a different number each, as a rectangle with K rows a sentence."""

from typing import NamedTuple

import torch
from torch import Tensor


class Layout(NamedTuple):
    """n rows of B sentences in a rectangle of B * K rows; the surplus repeats a sentence's first row."""

    sentences: Tensor  # (B,)
    rows: Tensor  # (n,) the place of each row in the rectangle
    fill: Tensor  # (B * K,) the row in each place

    @property
    def is_full(self) -> bool:
        """Whether there is no surplus: then the rectangle is the rows as they are."""
        return len(self.fill) == len(self.rows)


def lay_out(sentence: Tensor) -> Layout:
    """From the sentence of each of n rows, ascending, to a layout of the sentences that there are."""
    sentences, number, counts = torch.unique_consecutive(sentence, return_inverse=True, return_counts=True)
    width, starts = int(counts.max()), counts.cumsum(0) - counts
    rows = torch.arange(len(sentence), device=sentence.device)
    places = number * width + rows - starts[number]
    fill = starts.repeat_interleave(width)
    fill[places] = rows
    return Layout(sentences, places, fill)
