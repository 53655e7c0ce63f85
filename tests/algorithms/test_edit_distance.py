"""The table of edit distances by bits, against a library."""

import pytest
import torch
from rapidfuzz.distance import Levenshtein

from seqsearch_fairseq.algorithms.edit_distance import BITS, edit_table
from seqsearch_fairseq.algorithms.sequences import FILL


def sequences(rows: int, width: int, draws: torch.Generator) -> torch.Tensor:
    tokens = torch.randint(0, 4, (rows, width), generator=draws)
    lengths = torch.randint(0, width + 1, (rows, 1), generator=draws)
    return tokens.masked_fill(torch.arange(width) >= lengths, FILL)


@pytest.mark.parametrize("width", [0, 1, 7, 24, 25, BITS, BITS + 1, 70])
@pytest.mark.parametrize("length", [0, 1, 12])
def test_each_prefix_of_the_gold_has_its_distance(width, length):
    draws = torch.Generator().manual_seed(width)
    found, gold = sequences(40, length, draws), sequences(40, width, draws)
    for row, ours, theirs in zip(edit_table(found, gold).tolist(), found.tolist(), gold.tolist(), strict=True):
        ours, theirs = ([token for token in tokens if token != FILL] for tokens in (ours, theirs))
        expected = [Levenshtein.distance(ours, theirs[:s]) for s in range(len(theirs) + 1)]
        assert row[: len(expected)] == expected and len(row) == width + 1
