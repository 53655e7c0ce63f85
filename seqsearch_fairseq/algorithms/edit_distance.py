"""Levenshtein distances of many pairs of sequences at once."""

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.sequences import sequence_lengths

BITS = 52  # the longest gold sequence that is one word: float64 holds its sums of powers of two exactly


def edit_table(found: Tensor, gold: Tensor) -> Tensor:
    """Levenshtein distance of the whole found sequence (R, T) to each prefix of the gold (R, S): (R, S + 1) integer.

    Neighbours in a column of the usual table differ by -1, 0 or 1. So a column is two words of bits, where it rises and
    where it falls, and a found token moves all S differences with a dozen operations on words (Myers 1999; Hyyro 2003
    for distances of whole sequences).
    """
    if gold.size(1) > BITS:
        return _by_rows(found, gold)
    rises = gold.new_full((len(gold),), (1 << gold.size(1)) - 1)
    falls = torch.zeros_like(rises)
    lengths = sequence_lengths(found)
    for t, same in enumerate(_where_equal(found, gold)):
        either = same | falls
        diagonal = (((either & rises) + rises) ^ rises) | either  # where the table does not rise along the diagonal
        falls_along = rises & diagonal
        rises_along = falls | ~(rises | diagonal)
        rises_along = rises_along << 1 | 1  # the first row counts the found tokens
        falls_along = falls_along << 1
        goes_on = t < lengths
        falls = torch.where(goes_on, rises_along & diagonal, falls)
        rises = torch.where(goes_on, falls_along | ~(rises_along | diagonal), rises)
    places = torch.arange(gold.size(1), device=gold.device)
    steps = (rises.unsqueeze(1) >> places & 1) - (falls.unsqueeze(1) >> places & 1)  # (R, S)
    return torch.cat([lengths.unsqueeze(1), lengths.unsqueeze(1) + steps.cumsum(dim=1)], dim=1)


def _where_equal(found: Tensor, gold: Tensor) -> Tensor:
    """For each found token the places of the gold that hold it, as bits: (T, R)."""
    powers = 2.0 ** torch.arange(gold.size(1), dtype=torch.float64, device=gold.device)
    dtype = torch.float32 if gold.size(1) <= 24 else torch.float64  # what holds their sums exactly
    equal = found.t().unsqueeze(2) == gold  # (T, R, S)
    return (equal.to(dtype) @ powers.to(dtype)).long()


def _by_rows(found: Tensor, gold: Tensor) -> Tensor:
    """The usual table, one row of it for each found token.

    `D'[s] = min(D[s] + 1, D[s-1] + differs, D'[s-1] + 1)`, whose last case is a running minimum of `D'[s] - s`.
    """
    places = torch.arange(gold.size(1) + 1, device=gold.device)
    table = places.repeat(len(gold), 1)  # (R, S + 1): distances of the empty prefix of `found`
    lengths = sequence_lengths(found)
    for t in range(found.size(1)):
        differs = gold.ne(found[:, t : t + 1]).long()
        best = torch.minimum(table[:, 1:] + 1, table[:, :-1] + differs)
        best = torch.cat([table[:, :1] + 1, best], dim=1)
        best = (best - places).cummin(dim=1).values + places
        table = torch.where((t < lengths).unsqueeze(1), best, table)
    return table
