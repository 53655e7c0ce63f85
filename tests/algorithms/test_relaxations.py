"""The relaxed argmax and the two relaxed top-k: against the oracle, at their limits, and where numbers are hard."""

import numpy as np
import oracles
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from seqsearch_fairseq.algorithms.relaxations import TOP_K, peaked_softmax

pytestmark = pytest.mark.filterwarnings("error")

each_top_k = pytest.mark.parametrize("top_k", TOP_K)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
ALPHAS = [1e-3, 0.3, 1.0, 10.0, 1e3, 1e5, 1e8]

# Rows that are hard on arithmetic: (scores, how many of them are candidates).
HARD_ROWS = {
    "all tie": ([0.0, 0.0, 0.0, 0.0], 4),
    "the best two tie": ([-1.0, -1.0, -3.0, -4.0], 4),
    "the last two tie": ([-1.0, -2.0, -3.0, -3.0], 4),
    "far apart": ([-100.0, -250.0, -300.0, -7000.0], 4),
    "nearly tie": ([-1.0, -1.0 - 1e-6, -1.0 - 2e-6, -5.0], 4),
    "one candidate": ([-2.0, 0.0, 0.0, 0.0], 1),
    "two candidates": ([-2.0, -3.0, 0.0, 0.0], 2),
    "two that tie": ([-2.0, -2.0, 9.0, 9.0], 2),
}


def first_ones(count: int, size: int) -> torch.Tensor:
    return (torch.arange(size) < count).unsqueeze(0)


def random_row(seed: int, size: int = 7, masked: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores (1, size) without ties, and a mask with `masked` False."""
    draws = torch.Generator().manual_seed(seed)
    scores = torch.randn(1, size, generator=draws, dtype=torch.float64)
    return scores, torch.randperm(size, generator=draws).unsqueeze(0) >= masked


# -------------------------------------------------------------------------------------------------- peaked softmax


def test_peaked_softmax_is_the_softmax_of_the_scaled_scores():
    scores, mask = random_row(0)
    torch.testing.assert_close(peaked_softmax(scores, 2.5), torch.softmax(2.5 * scores, dim=1))
    torch.testing.assert_close(peaked_softmax(scores, 2.5, mask)[mask], torch.softmax(2.5 * scores[mask], dim=0))
    assert not peaked_softmax(scores, 2.5, mask)[~mask].any()


def test_peaked_softmax_becomes_the_argmax_among_the_candidates():
    scores, mask = random_row(1)
    best = scores.masked_fill(~mask, -torch.inf).argmax()
    assert peaked_softmax(scores, 1e8, mask)[0].tolist() == [float(i == best) for i in range(scores.size(1))]


@pytest.mark.parametrize("alpha", [0, 0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("relaxation", ["peaked_softmax", *TOP_K])
def test_alpha_must_be_a_positive_finite_number(relaxation, alpha):
    scores, mask = random_row(0)
    with pytest.raises(ValueError, match=f"`alpha` must be a positive number, got {alpha}"):
        if relaxation == "peaked_softmax":
            peaked_softmax(scores, alpha, mask)
        else:
            TOP_K[relaxation](scores, mask, 2, alpha)


# --------------------------------------------------------------------------------------------------- relaxed top-k


@each_top_k
@pytest.mark.parametrize("alpha", [0.3, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("seed", range(3))
def test_weights_are_the_oracles(top_k, alpha, seed):
    scores, mask = random_row(seed)
    k, count = 6, int(mask.sum())  # one more than there are candidates
    weights, live = TOP_K[top_k](scores, mask, k, alpha)
    expected = oracles.TOP_K[top_k](scores[mask].numpy(), alpha, count)
    assert live[0].tolist() == [True] * count + [False]
    np.testing.assert_allclose(weights[0, :count, mask[0]], expected, rtol=1e-9, atol=1e-12)


@each_top_k
@each_dtype
@pytest.mark.parametrize("seed", range(3))
def test_large_alpha_gives_the_hard_top_k(top_k, dtype, seed):
    scores, mask = random_row(seed)
    best = scores.masked_fill(~mask, -torch.inf).argsort(dim=1, descending=True)[:, :4]
    weights, live = TOP_K[top_k](scores.to(dtype), mask, 4, 1e8)
    assert live.all()
    torch.testing.assert_close(weights, torch.nn.functional.one_hot(best, scores.size(1)).to(dtype))


@each_top_k
@each_dtype
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("row", HARD_ROWS.values(), ids=HARD_ROWS)
def test_weights_and_gradients_are_finite_on_hard_rows(top_k, dtype, alpha, row):
    values, count = row
    mask = first_ones(count, len(values))
    for k in (1, 2, 4, 6):
        scores = torch.tensor([values], dtype=dtype, requires_grad=True)
        weights, live = TOP_K[top_k](scores, mask, k, alpha)
        (weights * torch.rand_like(weights)).sum().backward()
        torch.testing.assert_close(weights.sum(dim=2), torch.ones(1, k, dtype=dtype))
        assert (weights >= 0).all()
        assert not weights[:, :, ~mask[0]].any()
        assert torch.isfinite(scores.grad).all()
        assert not scores.grad[~mask].any()
        for j in range(count, k):
            assert not live[0, j]
            assert torch.equal(weights[0, j], weights[0, 0])


@each_top_k
def test_what_stands_in_a_masked_place_does_not_matter(top_k):
    scores, mask = random_row(3)
    expected = TOP_K[top_k](scores, mask, 3, 2.0).weights
    for junk in (1e30, -1e30, torch.inf, -torch.inf, torch.nan):
        filled = scores.masked_fill(~mask, junk).requires_grad_()
        weights = TOP_K[top_k](filled, mask, 3, 2.0).weights
        assert torch.equal(weights, expected)
        weights.square().sum().backward()
        assert torch.isfinite(filled.grad).all()


@each_top_k
def test_rows_of_a_batch_do_not_meet(top_k):
    rows = [random_row(seed) for seed in range(3)]
    scores, masks = (torch.cat(column) for column in zip(*rows, strict=True))
    together = TOP_K[top_k](scores, masks, 3, 2.0)
    for b, (row, mask) in enumerate(rows):
        alone = TOP_K[top_k](row, mask, 3, 2.0)
        torch.testing.assert_close(together.weights[b], alone.weights[0], rtol=1e-12, atol=1e-14)


@each_top_k
@given(
    values=st.lists(st.floats(-5, 5), min_size=2, max_size=6, unique=True),
    alpha=st.sampled_from([0.3, 1.0, 10.0, 1e4]),
    data=st.data(),
)
def test_permuting_the_candidates_permutes_the_weights(top_k, values, alpha, data):
    ordered = sorted(values)
    assume(min(high - low for low, high in zip(ordered, ordered[1:], strict=False)) > 1e-3)  # who comes first is clear
    order = torch.tensor(data.draw(st.permutations(range(len(values)))))
    mask = torch.tensor([data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)).filter(any))])
    scores = torch.tensor([values], dtype=torch.float64)
    weights, live = TOP_K[top_k](scores, mask, 3, alpha)
    permuted, permuted_live = TOP_K[top_k](scores[:, order], mask[:, order], 3, alpha)
    torch.testing.assert_close(permuted, weights[:, :, order], rtol=1e-9, atol=1e-9)
    assert torch.equal(permuted_live, live)


@each_top_k
@given(values=st.lists(st.floats(-5, 5), min_size=1, max_size=6), shift=st.floats(-100, 100))
def test_adding_a_constant_to_all_scores_changes_nothing(top_k, values, shift):
    scores = torch.tensor([values], dtype=torch.float64)
    mask = torch.ones_like(scores, dtype=torch.bool)
    weights = TOP_K[top_k](scores, mask, 2, 3.0).weights
    torch.testing.assert_close(TOP_K[top_k](scores + shift, mask, 2, 3.0).weights, weights, rtol=1e-8, atol=1e-8)


@each_top_k
@pytest.mark.parametrize("alpha", [0.3, 3.0])
@pytest.mark.parametrize("k", [2, 4])
def test_gradients_are_those_of_finite_differences(top_k, alpha, k):
    scores, mask = random_row(4, size=5)  # three candidates, so with k = 4 one row is dead
    assert torch.autograd.gradcheck(lambda x: TOP_K[top_k](x, mask, k, alpha).weights, scores.requires_grad_())


def test_squared_distance_averages_candidates_that_tie():
    scores, mask = torch.tensor([[-1.0, -1.0, -9.0]]), first_ones(3, 3)
    weights = TOP_K["squared-distance"](scores, mask, 2, 1e4).weights[0]
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.5, 0.0]] * 2))


def test_successive_takes_what_is_left_where_squared_distance_takes_the_same_again():
    scores, mask = torch.tensor([[0.0, -0.05, -9.0]], dtype=torch.float64), first_ones(3, 3)
    apart = {name: TOP_K[name](scores, mask, 2, 40.0).weights[0] for name in TOP_K}
    distance = {name: float((weights[0] - weights[1]).abs().sum()) for name, weights in apart.items()}
    assert distance["successive"] > 10 * distance["squared-distance"]
