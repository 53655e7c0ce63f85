"""The reference policies, against the plain ones and against every completion."""

import functools

import pytest
import searnn_oracle as oracle
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqsearch_fairseq.algorithms.searnn.policies import (
    best_suffix_policy,
    copy_policy,
    least_over_suffixes,
    max_f1_policy,
)
from seqsearch_fairseq.algorithms.sequence_costs import FILL, SEQUENCE_COSTS, ChunkLabels

COSTS = {
    "hamming": oracle.hamming,
    "normalised-hamming": oracle.normalised_hamming,
    "edit": oracle.edit,
    "bleu": oracle.bleu,
    "bleu-1": functools.partial(oracle.bleu, order=1),
    "gleu": oracle.gleu,
}
NAMES = ["O", "B-X", "I-X", "B-Y", "I-Y"]

sequences = st.lists(st.integers(0, 3), max_size=8).map(tuple)
pairs = st.lists(st.tuples(sequences, st.lists(st.integers(0, 3), min_size=1, max_size=8).map(tuple)), min_size=1)


def filled(rows, extra=0) -> torch.Tensor:
    width = max(map(len, rows)) + extra
    return torch.tensor([[*row, *[FILL] * (width - len(row))] for row in rows], dtype=torch.long).view(len(rows), width)


@pytest.mark.parametrize("name", COSTS)
@given(pairs=pairs, extra=st.integers(0, 2))
def test_copying(name, pairs, extra):
    prefixes, gold = zip(*pairs, strict=True)
    found = copy_policy(SEQUENCE_COSTS[name])(filled(prefixes), filled(gold, extra))
    expected = [COSTS[name](oracle.complete_copy(*pair), pair[1]) for pair in pairs]
    torch.testing.assert_close(found.tolist(), expected)


@pytest.mark.parametrize("name", COSTS)
@given(pairs=pairs, extra=st.integers(0, 2), more=st.integers(0, 2))
def test_the_best_suffix(name, pairs, extra, more):
    prefixes, gold = zip(*pairs, strict=True)
    expected = [oracle.best_suffix_cost(*pair, COSTS[name]) for pair in pairs]
    found = best_suffix_policy(name)(filled(prefixes, more), filled(gold, extra))
    torch.testing.assert_close(found.tolist(), expected)
    plain = least_over_suffixes(filled(prefixes, more), filled(gold, extra), SEQUENCE_COSTS[name])
    torch.testing.assert_close(plain.tolist(), expected)


@pytest.mark.parametrize("name", ["bleu", "gleu"])
@given(pairs=pairs, extra=st.integers(0, 2), more=st.integers(0, 2))
def test_a_suffix_that_is_chosen_by_bleu_1(name, pairs, extra, more):
    expected = []
    for prefix, gold in pairs:
        finished = [prefix + gold[begin:] for begin in range(len(gold) + 1)]
        expected.append(COSTS[name](min(finished, key=lambda row: round(COSTS["bleu-1"](row, gold), 12)), gold))
    prefixes, gold = zip(*pairs, strict=True)
    found = best_suffix_policy(name, "bleu-1")(filled(prefixes, more), filled(gold, extra))
    torch.testing.assert_close(found.tolist(), expected)


def test_only_costs_of_matches_can_be_priced_apart():
    with pytest.raises(ValueError, match="must be one of bleu, bleu-1, gleu beside `chosen_by`, got edit"):
        best_suffix_policy("edit", "bleu-1")


@given(
    pairs=st.lists(
        st.integers(1, 5).flatmap(
            lambda size: st.tuples(
                st.lists(st.integers(0, 4), max_size=size).map(tuple),
                st.lists(st.integers(0, 4), min_size=size, max_size=size).map(tuple),
            )
        ),
        min_size=1,
        max_size=3,
    ),
    extra=st.integers(0, 2),
)
def test_the_largest_f1(pairs, extra):
    """Gold labels that begin a chunk with I- are among them."""
    prefixes, gold = zip(*pairs, strict=True)
    cost = functools.partial(oracle.chunk_f1, names=NAMES)
    expected = [oracle.max_f1_cost(*pair, range(len(NAMES)), cost) for pair in pairs]
    found = max_f1_policy(ChunkLabels(NAMES))(filled(prefixes, extra), filled(gold, extra))
    torch.testing.assert_close(found.tolist(), expected)


def test_a_wrong_chunk_is_not_gone_on_with():
    labels = ChunkLabels(NAMES)
    gold = torch.tensor([[1, 2, 2, 3]])  # B-X I-X I-X B-Y
    assert labels.completed(torch.tensor([[0, FILL, FILL, FILL]]), gold).tolist() == [[0, 0, 0, 3]]
    assert labels.completed(torch.tensor([[1, FILL, FILL, FILL]]), gold).tolist() == [[1, 2, 2, 3]]
