"""Per-token costs: what it costs to output a token where the gold sequence has another.

A new cost is one more function that returns `TokenCosts`.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class TokenCosts(NamedTuple):
    """Weighted Hamming cost against a batch of gold sequences: 0 for the gold token, `wrong[v]` for another token v."""

    gold: Tensor  # (B, T) integer
    wrong: Tensor  # (V,) cost of predicting each token where it is not the gold one

    def at(self, t: int, sentences: Tensor | None = None) -> Tensor:
        """The cost of each token at position t: (B, V), or (b, V) of some `sentences` (b,)."""
        gold = self.gold[:, t : t + 1]
        gold = gold if sentences is None else gold[sentences]
        costs = self.wrong.expand(gold.size(0), -1).clone()
        return costs.scatter(1, gold, 0.0)

    def of(self, tokens: Tensor) -> Tensor:
        """The cost of each token of `tokens` (B, K, T) against the gold: (B, K, T)."""
        return self.wrong[tokens] * tokens.ne(self.gold.unsqueeze(1))


def hamming(gold: Tensor, vocabulary_size: int, dtype: torch.dtype = torch.float32) -> TokenCosts:
    """Each wrong token costs 1."""
    return TokenCosts(gold, torch.ones(vocabulary_size, dtype=dtype, device=gold.device))


def weighted_hamming(gold: Tensor, wrong: Tensor) -> TokenCosts:
    """Predicting token v wrongly costs `wrong[v]` (V,); the papers' NER cost is 2 for `O` and 1 for the rest."""
    if wrong.dim() != 1:
        raise ValueError(f"`wrong` must have one dimension, (V,), got {tuple(wrong.shape)}")
    if not bool((wrong >= 0).all()):
        raise ValueError(f"`wrong` must not be negative, got a cost of {float(wrong.min())}")
    return TokenCosts(gold, wrong)
