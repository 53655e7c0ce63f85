"""The best few of many candidates, their bound, the weights' way back, and the gradient that steps share."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqsearch_fairseq.algorithms.nearest import Best, Ranking, margin
from seqsearch_fairseq.algorithms.nearest import nearest as nearest_of
from seqsearch_fairseq.algorithms.relaxations import TOP_K
from seqsearch_fairseq.algorithms.shared_gradient import first_link, next_link, sum_of_later
from seqsearch_fairseq.algorithms.weighing import WEIGHINGS, Candidates

each_top_k = pytest.mark.parametrize("top_k", TOP_K)


@given(n=st.integers(1, 3000), count=st.integers(1, 40), seed=st.integers(0, 1000), few=st.booleans())
def test_the_best_are_those_of_topk(n, count, seed, few):
    count = min(count, n)
    draws = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, n, generator=draws)
    if few:  # candidates that are none, and ties
        scores = scores.round().masked_fill(torch.rand(2, n, generator=draws) < 0.7, -torch.inf)
    found = best(scores, count)
    assert torch.equal(found.scores, torch.topk(scores, count, dim=1).values)
    assert torch.equal(scores.gather(1, found.places), found.scores)
    assert all(len(set(row.tolist())) == count for row in found.places)


@each_top_k
@pytest.mark.parametrize("alpha", [0.5, 3.0, 50.0])
@pytest.mark.parametrize("just", [1e-6, -1e-6], ids=["inside", "outside"])
def test_at_the_edge_of_the_bound_what_is_left_out_weighs_less_than_the_precision(top_k, alpha, just):
    n, width, dtype = 1000, 3, torch.float64
    edge = -2.0 - margin(n, width, alpha, top_k, dtype)
    scores = torch.full((1, n), edge + just, dtype=dtype)
    scores[0, [5, 500, 900]] = torch.tensor([0.0, -1.0, -2.0], dtype=dtype)
    found = nearest(scores, best(scores, width), alpha, top_k, torch.zeros(1, dtype=torch.bool))
    if just > 0:  # all others score more than the bound allows
        assert found is None
        return
    assert found is not None
    assert found.places.tolist() == [[5, 500, 900]]
    weights = TOP_K[top_k](scores, torch.ones_like(scores, dtype=torch.bool), width, alpha).weights
    left = weights.index_fill(2, found.places[0], 0.0).sum(dim=2)
    assert float(left.max()) < torch.finfo(dtype).eps


@each_top_k
def test_sentences_that_have_ended_do_not_count(top_k):
    scores = torch.zeros(2, 1000)
    scores[0, :3] = torch.tensor([90.0, 60.0, 30.0])
    top = best(scores, 3)
    assert nearest(scores, top, 1.0, top_k, torch.tensor([False, False])) is None
    assert nearest(scores, top, 1.0, top_k, torch.tensor([False, True])) is not None


@each_top_k
@pytest.mark.parametrize("alpha", [0.3, 2.0, 20.0])
def test_weights_and_their_way_back_are_the_relaxations(top_k, alpha):
    draws = torch.Generator().manual_seed(1)
    scores = torch.randn(2, 12, generator=draws, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(2, 12, generator=draws) < 0.8
    expected = TOP_K[top_k](scores, mask, 3, alpha).weights
    of_weights = torch.randn(2, 3, 12, generator=draws, dtype=torch.float64)
    gradient = torch.autograd.grad(expected, scores, of_weights)[0]

    weighing = WEIGHINGS[top_k]
    finite = torch.where(mask, scores.detach(), 0.0)
    places = best(scores.detach().masked_fill(~mask, -torch.inf), 3).places
    given = Candidates(finite, torch.zeros_like(finite).masked_fill(~mask, -torch.inf), places)
    for chosen in [slice(0, 3)] + [slice(j, j + 1) for j in range(3) if weighing.one_by_one]:
        torch.testing.assert_close(weighing.weights(given, chosen, alpha), expected[:, chosen].detach())
    mine = weighing.of_scores(given, slice(0, 3), alpha, expected.detach(), of_weights)
    torch.testing.assert_close(mine, gradient, rtol=1e-10, atol=1e-12)


def best(scores: torch.Tensor, count: int) -> Best:
    return Ranking(scores).best(count)


def nearest(scores: torch.Tensor, top: Best, alpha: float, top_k: str, ended: torch.Tensor) -> Best | None:
    return nearest_of(Ranking(scores), top, scores.size(1), alpha, top_k, ended)


class _Scaled(torch.autograd.Function):
    """`row k of the matrix, times k`, whose gradient goes through the link."""

    @staticmethod
    def forward(ctx, link, matrix, k):
        ctx.set_materialize_grads(False)
        ctx.matrix, ctx.k = matrix, k
        return matrix[k] * k, next_link(link)

    @staticmethod
    def backward(ctx, of_row, of_link):
        total = sum_of_later(of_link, ctx.matrix, torch.float32)
        total[ctx.k] += ctx.k * of_row
        return total, None, None


def test_links_hand_the_sum_of_all_steps_to_the_matrix_in_each_backward_pass():
    matrix = torch.randn(4, 2).half().requires_grad_()
    link = first_link(matrix, torch.float32)
    rows = []
    for k in range(4):
        row, link = _Scaled.apply(link, matrix.detach().float(), k)
        rows.append(row)
    loss = torch.stack(rows[:3]).sum()  # the last step is not part of it
    for _ in range(2):
        (gradient,) = torch.autograd.grad(loss, matrix, retain_graph=True)
        assert gradient.dtype == torch.float16
        assert gradient.tolist() == [[0, 0], [1, 1], [2, 2], [0, 0]]


def test_a_link_takes_no_memory_and_a_frozen_matrix_has_none():
    matrix = torch.randn(100, 100, requires_grad=True)
    link = first_link(matrix, torch.float32)
    assert link is not None
    assert link.shape == matrix.shape
    assert link.untyped_storage().nbytes() == 4
    assert first_link(matrix.detach(), torch.float32) is None
    with torch.no_grad():
        assert first_link(matrix, torch.float32) is None
    assert next_link(None) is None
