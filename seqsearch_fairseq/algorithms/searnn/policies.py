"""The reference policy of SEARNN: it knows the gold, finishes a sequence with it, and says what the result costs.

    copy         output what the gold holds at these positions
    best-suffix  append the suffix of the gold that costs least (BLEU, GLEU, edit distance), or is best by BLEU-1
    max-f1       finish a right chunk, end a wrong one, and copy all the chunks that follow

None of them needs the model, so that a reference roll-out is never run. Sequences are as in `sequence_costs.py`: rows
of tokens without the end of sentence, filled with `FILL`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.edit_distance import edit_table
from seqsearch_fairseq.algorithms.sequence_costs import (
    COSTS_OF_MATCHES,
    MAX_ORDER,
    SEQUENCE_COSTS,
    ChunkLabels,
    SequenceCost,
    ngrams_agree,
)
from seqsearch_fairseq.algorithms.sequences import FILL, sequence_lengths

# From prefixes (R, L) and the gold sequences of their sentences (R, S) to the cost of the finished sequences (R,).
ReferencePolicy = Callable[[Tensor, Tensor], Tensor]


def copy_policy(cost: SequenceCost) -> ReferencePolicy:
    """Copy the gold from the prefix's end on; where the gold has ended, end."""

    def finish(prefixes: Tensor, gold: Tensor) -> Tensor:
        return cost(copied(prefixes, gold), gold)

    return finish


def best_suffix_policy(name: str, chosen_by: str | None = None) -> ReferencePolicy:
    """Append whichever suffix of the gold costs least, the empty one included, by the cost called `name`.

    Args:
        name: of the cost.
        chosen_by: another cost by which the suffix is chosen, the longest where several tie; `name` then prices it. The
            authors choose by BLEU-1 and price by BLEU. Both must be of `COSTS_OF_MATCHES`.
    """
    if name == "edit" and chosen_by is None:
        return _least_edit_over_suffixes
    if name in COSTS_OF_MATCHES:
        pays, chooses = COSTS_OF_MATCHES[name], COSTS_OF_MATCHES[chosen_by or name]
        return lambda prefixes, gold: _least_over_suffix_matches(prefixes, gold, pays, chooses)
    if chosen_by is not None:
        raise ValueError(f"`name` must be one of {', '.join(COSTS_OF_MATCHES)} beside `chosen_by`, got {name}")
    return lambda prefixes, gold: least_over_suffixes(prefixes, gold, SEQUENCE_COSTS[name])


def max_f1_policy(labels: ChunkLabels) -> ReferencePolicy:
    """The completion with the largest chunk F1."""
    return lambda prefixes, gold: labels.one_minus_f1(labels.completed(prefixes, gold), gold)


def copied(prefixes: Tensor, gold: Tensor) -> Tensor:
    """Each prefix with the gold's tokens after it: (R, max of both widths)."""
    width = max(prefixes.size(1), gold.size(1))
    prefixes, gold = (torch.nn.functional.pad(rows, (0, width - rows.size(1)), value=FILL) for rows in (prefixes, gold))
    return torch.where(prefixes.ne(FILL), prefixes, gold)


def least_over_suffixes(prefixes: Tensor, gold: Tensor, cost: SequenceCost) -> Tensor:
    """The least cost of a prefix followed by a suffix of its gold: (R,). The plain way: every suffix is tried."""
    best = cost(prefixes, gold)
    lengths = sequence_lengths(prefixes)
    wide = torch.nn.functional.pad(prefixes, (0, gold.size(1)), value=FILL)
    places = torch.arange(wide.size(1), device=gold.device)
    gold_lengths = sequence_lengths(gold)
    for size in range(1, gold.size(1) + 1):  # the last `size` tokens of the gold
        from_end = places - lengths.unsqueeze(1)  # where in the suffix each place lies
        index = (gold_lengths - size).unsqueeze(1) + from_end
        inside = (from_end >= 0) & (from_end < size) & (gold_lengths >= size).unsqueeze(1)
        tried = torch.where(inside, gold.gather(1, index.clamp(0, gold.size(1) - 1)), wide)
        best = torch.minimum(best, cost(tried, gold))
    return best


def _least_edit_over_suffixes(prefixes: Tensor, gold: Tensor) -> Tensor:
    """The prefix is edited into some prefix of the gold, and the rest is copied: the least entry of the table's row."""
    gold_lengths = sequence_lengths(gold)
    beyond = torch.arange(gold.size(1) + 1, device=gold.device) > gold_lengths.unsqueeze(1)
    least = edit_table(prefixes, gold).masked_fill(beyond, torch.iinfo(torch.long).max).amin(dim=1)
    return least.double() / gold_lengths.clamp(min=1)


def _least_over_suffix_matches(prefixes: Tensor, gold: Tensor, pays, chooses) -> Tensor:
    """As `least_over_suffixes`, from counts: what `pays` says of the suffix that `chooses` finds cheapest.

    An n-gram of the gold is in a prefix with a suffix as often as in the prefix, plus in the suffix, plus where they
    meet: with k tokens of the prefix and n - k of the suffix. No sequence is put together.
    """
    lengths, gold_lengths = sequence_lengths(prefixes), sequence_lengths(gold)
    begin = torch.arange(gold.size(1) + 1, device=gold.device)  # (J,) where in the gold the suffix begins
    matches = [_suffix_matches(prefixes, lengths, gold, n) for n in range(1, MAX_ORDER + 1)]  # each (R, J)
    totals = lengths.unsqueeze(1) + (gold_lengths.unsqueeze(1) - begin).clamp(min=0)
    counts = torch.stack(matches, dim=2), totals, gold_lengths.unsqueeze(1)
    if pays is chooses:
        return pays(*counts).amin(dim=1)
    return pays(*counts).gather(1, chooses(*counts).argmin(dim=1, keepdim=True)).squeeze(1)


def _suffix_matches(prefixes: Tensor, lengths: Tensor, gold: Tensor, n: int) -> Tensor:
    """How many n-grams of the gold are in each prefix with each of its suffixes: (R, J) float64."""
    rows, size = gold.shape
    if size < n:
        return torch.zeros(rows, size + 1, dtype=torch.float64, device=gold.device)
    kinds = gold.unfold(1, n, 1)  # (R, G, n)
    whole = kinds.ne(FILL).all(dim=2)
    same = ngrams_agree(kinds, kinds) & whole.unsqueeze(1)  # (R, G, G)
    first = whole & ~same.tril(-1).any(dim=2)  # one of each kind stands for all
    # In the suffix that begins at j: those that begin at j or later. No n-gram begins in the last n - 1 places.
    small = torch.int16  # counts of at most S, four times as fast as in int64
    in_suffix = same.flip(2).cumsum(dim=2, dtype=small).flip(2)  # (R, G, J - n)
    counts = torch.nn.functional.pad(in_suffix, (0, n)).transpose(1, 2)  # (R, J, G)
    prefixes = torch.nn.functional.pad(prefixes, (0, n), value=FILL)
    counts = counts + ngrams_agree(kinds, prefixes.unfold(1, n, 1)).sum(dim=2, dtype=small).unsqueeze(1)
    end = lengths.unsqueeze(1) - torch.arange(n, 0, -1, device=gold.device)  # places of the prefix's last n tokens
    last = torch.where(end >= 0, prefixes.gather(1, end.clamp(min=0)), FILL)  # (R, n)
    wide = torch.nn.functional.pad(gold, (0, n), value=FILL)
    for k in range(1, n):
        ends = (kinds[:, :, :k] == last[:, n - k :].unsqueeze(1)).all(dim=2)  # (R, G)
        heads = wide.unfold(1, n - k, 1)[:, : size + 1]  # (R, J, n - k) how each suffix begins
        counts = counts + (ngrams_agree(heads, kinds[:, :, k:]) & ends.unsqueeze(1))
    held = torch.minimum(counts, same.sum(dim=2, dtype=small).unsqueeze(1)) * first.unsqueeze(1)
    return held.sum(dim=2).double()
