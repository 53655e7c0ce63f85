"""What is kept of a relaxed beam's steps: against the search itself, the oracle and hard beam search."""

import numpy as np
import oracles
import pytest
import torch
from builders import Batch, hard_batch, random_batch

from seqsearch_fairseq.algorithms.hard_beam import hard_beam
from seqsearch_fairseq.algorithms.relaxations import TOP_K
from seqsearch_fairseq.algorithms.soft_beam import soft_beam
from seqsearch_fairseq.algorithms.trace import Trace, trace

HARD = 1e8  # alpha that stands for infinity, in float64
V = 5

each_top_k = pytest.mark.parametrize("top_k", TOP_K)


def traced(batch: Batch, beam_size: int, alpha: float, top_k: str = "squared-distance", heaviest: int = V) -> Trace:
    return trace(batch.step, batch.lengths, batch.costs, beam_size, alpha, batch.candidates, top_k, heaviest)


def by_token(found: Trace) -> torch.Tensor:
    """The token weights in the vocabulary's order: (B, T, K, V)."""
    return torch.zeros_like(found.token_weights).scatter(3, found.tokens, found.token_weights)


@each_top_k
@pytest.mark.parametrize("beam_size", [1, 3, 4])
@pytest.mark.parametrize("alpha", [0.3, 10.0])
def test_each_steps_weights_and_scores_are_the_oracles(alpha, beam_size, top_k):
    batch = random_batch(3, vocabulary=V, masked=[1, 4], label_cost={2: 2.0})
    found = traced(batch, beam_size, alpha, top_k)
    for b, model in enumerate(batch.models):
        costs = batch.token_costs_of(b)
        for t in range(len(costs)):
            expected = oracles.relaxed_beam(model, costs[: t + 1], beam_size, alpha, batch.candidate_list, top_k)
            live = expected.live
            assert found.live[b, t].tolist() == live.tolist()
            np.testing.assert_allclose(found.scores[b, t, live], expected.scores[live], rtol=1e-9)
            np.testing.assert_allclose(found.backpointers[b, t], expected.soft_backpointers[t], atol=1e-12)
            np.testing.assert_allclose(by_token(found)[b, t], expected.token_weights[t], atol=1e-12)


@each_top_k
def test_the_trace_ends_in_what_the_search_returns_and_its_weights_sum_to_one(top_k):
    batch = random_batch(5, vocabulary=V)
    found = traced(batch, 3, 2.0, top_k)
    with torch.no_grad():  # as the trace: in the same form
        searched = soft_beam(batch.step, batch.lengths, batch.costs, 3, 2.0, batch.candidates, top_k)
    for mine, same in zip(found.result, searched, strict=True):
        torch.testing.assert_close(mine, same, rtol=0, atol=0)
    for weights in (found.backpointers, found.token_weights):
        torch.testing.assert_close(weights.sum(dim=3), torch.ones_like(found.scores))
    last = found.scores[torch.arange(len(batch.lengths)), batch.lengths - 1]
    torch.testing.assert_close(last, searched.scores, rtol=0, atol=0)
    assert (found.token_weights.diff(dim=3) <= 0).all()  # heaviest first
    heaviest = traced(batch, 3, 2.0, top_k, heaviest=2)
    torch.testing.assert_close(heaviest.token_weights, found.token_weights[..., :2], rtol=0, atol=0)


@each_top_k
@pytest.mark.parametrize("beam_size", [2, 4])
def test_at_a_large_alpha_the_trace_is_hard_beam_searchs(beam_size, top_k):
    batch = hard_batch(0, HARD, beam_size, vocabulary=V, masked=[2])
    found = traced(batch, beam_size, HARD, top_k)
    hard = hard_beam(batch.step, batch.lengths, beam_size, batch.candidates)
    for b, length in enumerate(batch.lengths.tolist()):
        live = found.live[b, :length]
        assert torch.equal(live, hard.totals[b, :length] > -torch.inf)
        one_hot = torch.nn.functional.one_hot(hard.beams[b, :length], beam_size).double()
        torch.testing.assert_close(found.backpointers[b, :length][live], one_hot[live])
        assert torch.equal(found.tokens[b, :length, :, 0][live], hard.appended[b, :length][live])
        torch.testing.assert_close(found.scores[b, :length][live], hard.totals[b, :length][live])


def test_beams_that_chose_the_same_are_said_to_coincide():
    batch = random_batch(0, lengths=(4, 4), vocabulary=V)
    assert traced(batch, 3, 1e-6).coincide.all()  # every candidate weighs the same for every beam
    assert not traced(batch, 1, 1e-6).coincide.any()  # a single one
    assert not traced(hard_batch(0, HARD, 3, vocabulary=V), 3, HARD).coincide.any()


def test_at_least_one_token_is_kept():
    with pytest.raises(ValueError, match="`heaviest` must be at least 1, got 0"):
        traced(random_batch(0), 2, 1.0, heaviest=0)
