"""The losses of SEARNN, against their formulas one cell at a time, and where they must agree."""

import math

import pytest
import torch

from seqsearch_fairseq.algorithms.searnn.losses import LOSSES, Cells, best_tokens, searnn_loss

each_loss = pytest.mark.parametrize("name", LOSSES)


def softmax(values: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in values)
    return [math.exp(value) / total for value in values]


def divergence(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def centred(values: list[float]) -> list[float]:
    return [value - sum(values) / len(values) for value in values]


def plain_loss(name: str, s: list[float], c: list[float], best: int, scale: float) -> float:
    """The module docstring's formulas, for one cell whose tokens were all tried."""
    c = [cost - min(c) for cost in c]
    augmented = [score + scale * cost for score, cost in zip(s, c, strict=True)]
    target = softmax([-scale * cost for cost in c])
    formulas = {
        "ll": lambda: -math.log(softmax(s)[best]),
        "llcas": lambda: -math.log(softmax(augmented)[best]),
        "shl": lambda: max(augmented) - s[best],
        "kl": lambda: divergence(target, softmax(s)),
        "inverse-kl": lambda: divergence(softmax(s), target),
        "l2": lambda: (
            sum((a + b) ** 2 for a, b in zip(centred(s), centred([scale * x for x in c]), strict=True)) / len(s)
        ),
    }
    return formulas[name]()


def random_cells(seed: int = 0, dtype=torch.float64) -> Cells:
    draws = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(6, 5, generator=draws, dtype=dtype)
    costs = 0.3 + torch.rand(6, 5, generator=draws, dtype=torch.float64)
    tried = torch.rand(6, 5, generator=draws) < 0.7
    tried[:, 0] = True
    tried[0] = True
    tried[1] = torch.arange(5) == 0  # a single token
    return Cells(scores.requires_grad_(), costs, tried, None)


@pytest.mark.parametrize("scale", [0.5, 1.0, 20.0])
@each_loss
def test_losses_are_their_formulas(name, scale):
    cells = random_cells()
    losses = searnn_loss(name, cells, scale)
    for row, loss in enumerate(losses.tolist()):
        tried = cells.tried[row]
        s, c = cells.scores[row, tried].tolist(), cells.costs[row, tried].tolist()
        assert loss == pytest.approx(plain_loss(name, s, c, c.index(min(c)), scale), abs=1e-9)


@each_loss
def test_gradcheck(name):
    cells = random_cells(1)
    assert torch.autograd.gradcheck(lambda scores: searnn_loss(name, cells._replace(scores=scores), 3.0), cells.scores)


@each_loss
def test_tokens_that_were_not_tried_do_not_count(name):
    cells = random_cells(2)
    changed = cells._replace(
        scores=torch.where(cells.tried, cells.scores, 1e4), costs=torch.where(cells.tried, cells.costs, -7.0)
    )
    torch.testing.assert_close(searnn_loss(name, changed, 2.0), searnn_loss(name, cells, 2.0))
    searnn_loss(name, cells, 2.0).sum().backward()
    assert bool(cells.scores.grad[~cells.tried].eq(0).all())


@each_loss
def test_float32_and_steep_scales_stay_finite(name):
    cells = random_cells(3, torch.float32)
    losses = searnn_loss(name, cells, 200.0)
    losses.sum().backward()
    assert losses.dtype == torch.float32
    assert bool(losses.isfinite().all()) and bool(cells.scores.grad.isfinite().all())


def test_without_costs_the_cost_augmented_loss_is_ll():
    cells = random_cells(4)._replace(costs=torch.zeros(6, 5, dtype=torch.float64))
    found = []
    for name in ("ll", "llcas"):
        torch.manual_seed(1)  # every token ties
        found.append(searnn_loss(name, cells))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("name", ["shl", "kl", "inverse-kl", "l2", "ll"])
def test_losses_are_not_negative(name):
    for seed in range(20):
        assert float(searnn_loss(name, random_cells(seed), 2.0).detach().min()) > -1e-12


def test_ll_can_normalise_over_the_whole_vocabulary():
    scores = torch.randn(3, 7, dtype=torch.float64)
    costs = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    cells = Cells(scores[:, 2:4], costs, torch.ones(3, 2, dtype=torch.bool), torch.logsumexp(scores, dim=1))
    expected = torch.nn.functional.cross_entropy(scores, torch.tensor([3, 2, 3]), reduction="none")
    torch.testing.assert_close(searnn_loss("ll", cells), expected)


def test_ties_are_broken_evenly_among_tried_tokens():
    costs = torch.tensor([[0.5, 0.2, 0.2, 0.0, 0.2]]).expand(4000, -1)
    tried = torch.tensor([True, True, True, False, True]).expand(4000, -1)
    counts = torch.bincount(best_tokens(costs, tried), minlength=5)
    assert counts[[0, 3]].tolist() == [0, 0]
    assert bool((counts[[1, 2, 4]] - 4000 / 3).abs().max() < 4 * (4000 * 2 / 9) ** 0.5)


@pytest.mark.parametrize(
    "name,scale,normaliser,message",
    [
        ("nll", 1.0, None, "`loss` must be one of ll, llcas, shl, kl, inverse-kl, l2, got nll"),
        ("kl", 0.0, None, "`scale` must be a positive number, got 0.0"),
        ("kl", math.inf, None, "`scale` must be a positive number, got inf"),
        ("shl", 1.0, torch.zeros(6), "only ll and kl normalise over the whole vocabulary"),
    ],
)
def test_bad_arguments_are_refused(name, scale, normaliser, message):
    with pytest.raises(ValueError, match=message):
        searnn_loss(name, random_cells()._replace(log_normaliser=normaliser), scale)
