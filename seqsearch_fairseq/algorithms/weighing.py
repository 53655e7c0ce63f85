"""What the candidates weigh in each `P_j`, and the way back: from the gradient of the weights to that of the scores.

The formulas are those of `relaxations.py`, written without what autograd would keep. `SquaredDistance` needs each
P_j's own anchor m_j alone, so it can go through them one by one. `successive` makes P_1 ... P_K in turn, and goes
back through them.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.relaxations import successive_top_k


class Candidates(NamedTuple):
    """n candidates of each sentence, and the K best of them."""

    scores: Tensor  # (B, n), finite
    penalty: Tensor  # broadcasts to (B, n): 0, or -inf for what is no candidate
    places: Tensor  # (B, K) of m_1 ... m_K; that of m_1 where there are fewer

    @property
    def anchors(self) -> Tensor:
        """m_1 ... m_K: (B, K)."""
        return self.scores.gather(1, self.places)


class Weighing(Protocol):
    one_by_one: bool  # whether any of the K distributions can be asked for alone

    def weights(self, given: Candidates, chosen: slice, alpha: float) -> Tensor:
        """P_j for the j in `chosen`: (B, k, n)."""

    def of_scores(self, given: Candidates, chosen: slice, alpha: float, weights: Tensor, of_weights: Tensor) -> Tensor:
        """The gradient of the scores (B, n), from that of the weights (B, k, n)."""


class _SquaredDistance:
    """`P_j = softmax(-alpha * (S - m_j)^2)`: Goyal et al. 2018, section 3.2."""

    one_by_one = True

    def weights(self, given: Candidates, chosen: slice, alpha: float) -> Tensor:
        logits = self._gaps(given, chosen).square_().mul_(-alpha).add_(given.penalty.unsqueeze(1))
        return torch.softmax(logits, dim=2)

    def of_scores(self, given: Candidates, chosen: slice, alpha: float, weights: Tensor, of_weights: Tensor) -> Tensor:
        shares = of_weights * weights
        shares.addcmul_(weights, shares.sum(dim=2, keepdim=True), value=-1)  # the gradient of the logits
        shares.mul_(self._gaps(given, chosen)).mul_(-2 * alpha)
        of_anchors = shares.sum(dim=2).neg_()  # (B, k)
        return shares.sum(dim=1).scatter_add_(1, given.places[:, chosen], of_anchors)

    @staticmethod
    def _gaps(given: Candidates, chosen: slice) -> Tensor:
        return given.scores.unsqueeze(1) - given.anchors[:, chosen].unsqueeze(2)  # (B, k, n)


class _Successive:
    """`P_j = softmax(alpha * S^j)`, `S^(j+1) = S^j + log(1 - P_j)`: Ploetz & Roth 2018, section 3.1."""

    one_by_one = False

    def weights(self, given: Candidates, chosen: slice, alpha: float) -> Tensor:
        width = given.places.size(1)
        weights = given.scores.new_empty(len(given.scores), width, given.scores.size(1))
        remaining = given.scores.clone()
        count = _count(given)
        for j in range(width):
            torch.softmax(alpha * remaining + given.penalty, dim=1, out=weights[:, j])
            if j + 1 == width:
                break
            top, others, rest = _without_the_largest(weights[:, j])
            if bool(((rest == 0) & (count > 1)).any()):
                return self._all(given.scores, given, alpha)[:, chosen]
            nothing_left = count == 1  # then there is nothing to remove
            log_rest = others.neg_().log1p_().scatter_(1, top, torch.where(nothing_left, 0.0, rest.log()))
            remaining += log_rest
        dead = count <= torch.arange(width, device=weights.device)  # (B, K): these are copies of row 0
        if bool(dead.any()):
            weights = torch.where(dead.unsqueeze(2), weights[:, :1], weights)
        return weights[:, chosen]

    def of_scores(self, given: Candidates, chosen: slice, alpha: float, weights: Tensor, of_weights: Tensor) -> Tensor:
        """From the last choice to the first. All of them have to be asked for."""
        count = _count(given)
        live = (count > torch.arange(weights.size(1), device=weights.device)).unsqueeze(2)  # (B, K, 1)
        of_live = of_weights
        if not bool(live.all()):
            of_live = of_weights * live
            of_live[:, 0] += (of_weights * ~live).sum(dim=1)  # a dead row is a copy of row 0
        of_remaining: Tensor | None = None  # the gradient of S^(j+1)
        for j in reversed(range(weights.size(1))):
            taken, of_taken = weights[:, j], of_live[:, j]
            if of_remaining is None:
                of_remaining = alpha * _softmax_backward(taken, of_taken)
                continue
            top, others, rest = _without_the_largest(taken)
            if bool(((rest == 0) & (count > 1)).any()):
                return self._of_scores_by_autograd(given, alpha, of_weights)
            of_top = of_remaining.gather(1, top)
            of_taken = of_taken + (of_remaining / (others - 1)).scatter_(1, top, 0.0)  # log(1 - P_j) of the others
            of_log_rest = torch.where(rest > 0, others / rest - taken, 0.0)  # and log(1 - P_j[top])
            of_remaining = of_remaining + alpha * (_softmax_backward(taken, of_taken) + of_top * of_log_rest)
        assert of_remaining is not None
        return of_remaining

    def _of_scores_by_autograd(self, given: Candidates, alpha: float, of_weights: Tensor) -> Tensor:
        """The same where what is left of a distribution is too small for the type of its weights."""
        with torch.enable_grad():
            scores = given.scores.detach().requires_grad_()
            again = self._all(scores, given, alpha)
        return torch.autograd.grad(again, scores, of_weights)[0]

    @staticmethod
    def _all(scores: Tensor, given: Candidates, alpha: float) -> Tensor:
        mask = (given.penalty == 0).expand_as(scores)
        return successive_top_k(scores, mask, given.places.size(1), alpha).weights


class _Rest(NamedTuple):
    top: Tensor  # (B, 1) the place of the largest weight
    others: Tensor  # (B, n) the weights without it
    rest: Tensor  # (B, 1) their sum: 1 minus the largest, exact where that rounds to 1


def _without_the_largest(weights: Tensor) -> _Rest:
    top = weights.argmax(dim=1, keepdim=True)
    others = weights.scatter(1, top, 0.0)
    return _Rest(top, others, others.sum(dim=1, keepdim=True))


def _count(given: Candidates) -> Tensor:
    """How many candidates there are: (B, 1), or (1, 1) where all sentences have the same."""
    return (given.penalty == 0).sum(dim=1, keepdim=True)


def _softmax_backward(weights: Tensor, of_weights: Tensor) -> Tensor:
    """The gradient of logits (B, n) from that of their softmax."""
    shares = of_weights * weights
    return shares.addcmul_(weights, shares.sum(dim=1, keepdim=True), value=-1)


WEIGHINGS: dict[str, Weighing] = {"squared-distance": _SquaredDistance(), "successive": _Successive()}
