"""Hamming costs, plain and weighted."""

import oracles
import pytest
import torch

from seqsearch_fairseq.algorithms.costs import hamming, weighted_hamming

GOLD = torch.tensor([[0, 3, 2], [1, 1, 0]])
V = 4
LABEL_COST = {0: 2.0, 3: 0.25}
WRONG = torch.tensor([2.0, 1.0, 1.0, 0.25])
COSTS = {"plain": (hamming(GOLD, V), None), "weighted": (weighted_hamming(GOLD, WRONG), LABEL_COST)}

each_cost = pytest.mark.parametrize(("costs", "label_cost"), COSTS.values(), ids=COSTS)


@each_cost
def test_costs_at_each_position_are_the_oracles(costs, label_cost):
    for b, gold in enumerate(GOLD.tolist()):
        expected = oracles.hamming_costs(gold, V, label_cost)
        for t in range(len(gold)):
            assert costs.at(t)[b].tolist() == expected[t].tolist()


@each_cost
def test_costs_of_sequences_are_those_of_their_tokens(costs, label_cost):
    tokens = torch.randint(0, V, (2, 5, 3))
    paid = costs.of(tokens)
    for b, gold in enumerate(GOLD.tolist()):
        table = oracles.hamming_costs(gold, V, label_cost)
        for k in range(5):
            assert paid[b, k].tolist() == [table[t][token] for t, token in enumerate(tokens[b, k].tolist())]


@each_cost
def test_the_gold_costs_nothing(costs, label_cost):
    assert not costs.of(GOLD.unsqueeze(1)).any()


def test_reading_a_cost_leaves_the_weights_as_they_were():
    costs = weighted_hamming(GOLD, WRONG.clone())
    for t in range(GOLD.size(1)):
        costs.at(t)
    assert torch.equal(costs.wrong, WRONG)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_costs_have_the_dtype_that_was_asked_for(dtype):
    assert hamming(GOLD, V, dtype).at(0).dtype == dtype
    assert weighted_hamming(GOLD, WRONG.to(dtype)).at(0).dtype == dtype


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.ones(2, V), r"`wrong` must have one dimension, \(V,\), got \(2, 4\)"),
        (torch.tensor(1.0), r"`wrong` must have one dimension, \(V,\), got \(\)"),
        (torch.tensor([1.0, -0.5]), "`wrong` must not be negative, got a cost of -0.5"),
        (torch.tensor([1.0, torch.nan]), "`wrong` must not be negative, got a cost of nan"),
    ],
)
def test_weights_that_are_no_costs_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        weighted_hamming(GOLD, wrong)
