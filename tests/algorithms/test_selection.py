"""`select` against the plain form that lets every candidate take part: values and gradients."""

import pytest
import torch

from seqsearch_fairseq.algorithms.relaxations import TOP_K
from seqsearch_fairseq.algorithms.selection import Selection, only_candidate, select, select_from_all

each_top_k = pytest.mark.parametrize("top_k", sorted(TOP_K))
ROUNDING = 1e-13  # relative, float64


def problem(spread: float, batch: int = 3, beams: int = 3, vocabulary: int = 300, seed: int = 0):
    """Cumulated log-probabilities (B, K, V), the more peaked the larger `spread`, and a mask of candidates."""
    torch.manual_seed(seed)
    behind = torch.arange(beams, dtype=torch.float64).view(1, -1, 1)
    total = torch.log_softmax(spread * torch.randn(batch, beams, vocabulary, dtype=torch.float64), dim=2) - behind
    return total.requires_grad_(), torch.rand(batch, beams, vocabulary) > 0.2


def everything_it_gives(chosen: Selection, vocabulary: int) -> list[torch.Tensor]:
    """All averages under the weights, each contracted with fixed random numbers."""
    torch.manual_seed(1)
    batch = chosen.scores.size(0)
    table = torch.randn(vocabulary, 4, dtype=torch.float64)
    values = torch.randn(batch, vocabulary, dtype=torch.float64)
    found = [chosen.soft_beams, chosen.mean_embedding(table), chosen.mean_of_tokens(values), chosen.scores]
    return [(part * torch.randn_like(part)).sum() for part in found]


@each_top_k
@pytest.mark.parametrize(("alpha", "spread"), [(0.5, 1.0), (1.0, 6.0), (10.0, 3.0), (1e3, 3.0), (1e7, 1.0)])
def test_values_and_gradients_are_those_of_all_candidates(top_k, alpha, spread):
    total, mask = problem(spread)
    results = []
    for choose in (select, select_from_all):
        parts = everything_it_gives(choose(total, mask, alpha, top_k), total.size(2))
        (gradient,) = torch.autograd.grad(sum(parts), total)
        results.append((torch.stack(parts), gradient))
    (fast, fast_gradient), (plain, plain_gradient) = results
    torch.testing.assert_close(fast, plain, rtol=ROUNDING, atol=ROUNDING)
    scale = float(plain_gradient.abs().max())
    torch.testing.assert_close(fast_gradient, plain_gradient, rtol=0, atol=ROUNDING * max(scale, 1.0))


@each_top_k
def test_few_candidates_are_kept_when_the_scores_are_peaked_and_all_of_them_when_they_are_flat(top_k):
    total, mask = problem(spread=3.0)
    peaked, flat = (select(total, mask, alpha, top_k).tokens for alpha in (1e3, 1e-3))
    assert 3 <= peaked.size(1) < 64
    assert flat is None


@each_top_k
def test_hard_backpointers_are_those_of_all_candidates(top_k):
    total, mask = problem(spread=3.0)
    fast, plain = (choose(total, mask, 50.0, top_k) for choose in (select, select_from_all))
    assert torch.equal(fast.best_beams, plain.best_beams)
    assert torch.equal(fast.best_tokens, plain.best_tokens)


@each_top_k
def test_the_averages_are_sums_over_beams_and_over_tokens(top_k):
    total, mask = problem(spread=1.0, vocabulary=5)
    chosen = select(total, mask, 2.0, top_k)
    weights, _ = TOP_K[top_k](total.flatten(1), mask.flatten(1), 3, 2.0)
    by_candidate = weights.unflatten(2, (3, 5))  # (B, K, K, V)
    torch.testing.assert_close(chosen.soft_beams, by_candidate.sum(dim=3))
    torch.testing.assert_close(chosen.soft_tokens(5), by_candidate.sum(dim=2))


@each_top_k
@pytest.mark.parametrize("alpha", [1.0, 1e3])
def test_the_backward_pass_can_run_twice(top_k, alpha):
    total, mask = problem(spread=3.0)
    loss = sum(everything_it_gives(select(total, mask, alpha, top_k), total.size(2)))
    first, second = (torch.autograd.grad(loss, total, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_masked_candidates_and_dead_beams_weigh_nothing():
    total, mask = problem(spread=3.0)
    mask[:, 2] = False
    chosen = select(total, mask, 1.0, "squared-distance")
    assert not chosen.soft_beams[:, :, 2].any()
    assert not (chosen.soft_tokens(total.size(2)) * ~mask.any(dim=1, keepdim=True)).any()


def test_the_mask_of_one_candidate_holds_the_first_one():
    mask = only_candidate(torch.tensor([[True, False]]), torch.tensor([False, True, True]))
    assert mask.nonzero().tolist() == [[0, 0, 1]]


def test_the_bound_is_strict_enough():
    """What is left out weighs less than float64 resolves, for scores at the edge of the bound."""
    total, mask = problem(spread=3.0, vocabulary=40)
    for alpha in torch.logspace(-1, 3, 15).tolist():
        chosen, plain = select(total, mask, alpha, "successive"), select_from_all(total, mask, alpha, "successive")
        torch.testing.assert_close(chosen.soft_tokens(40), plain.soft_tokens(40), rtol=0, atol=ROUNDING)


@each_top_k
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("choose", [select, select_from_all])
def test_between_beams_that_differ_by_rounding_alone_the_first_is_the_hard_backpointer(choose, dtype, top_k):
    total, mask = problem(spread=3.0)
    behind = (
        4 * torch.finfo(dtype).eps * torch.tensor([[[0.0], [1.0], [2.0]], [[2.0], [1.0], [0.0]], [[1.0], [0.0], [2.0]]])
    )
    collapsed = total[:, :1].detach().to(dtype) - behind.to(dtype)
    chosen = choose(collapsed, mask[:, :1].expand_as(mask), 50.0, top_k)
    assert torch.equal(chosen.best_beams, torch.zeros_like(chosen.best_beams))
    assert (chosen.soft_beams - 1 / 3).abs().max() < 0.01 or top_k == "successive"
