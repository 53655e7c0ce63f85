"""The losses of SEARNN: functions of a cell's scores s and of the costs c of its tokens.

With c shifted so that its minimum is 0, and a* a token of minimal cost (ties are broken at random):

    LL          -log softmax(s)[a*]
    LLCAS       -log softmax(s + c)[a*]               cost-augmented softmax
    SHL         max_a (s + c)[a] - s[a*]              structured hinge
    KL          KL(softmax(-scale * c) || softmax(s))
    inverse-KL  KL(softmax(s) || softmax(-scale * c))
    L2          mean of (s - (-scale * c))^2, both centred

Where only some tokens were tried, the others have no cost (which is not a cost of zero): every loss looks at the tried
ones alone. LL and KL may normalise the model's scores over the whole vocabulary instead; the target of KL gives no
probability to what was not tried. Costs are constants: no gradient flows through them.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

TIE = 1e-8  # costs that differ by less are equal


class Cells(NamedTuple):
    """C cells with A tokens each."""

    scores: Tensor  # (C, A) of the tokens that were tried
    costs: Tensor  # (C, A) what the finished sequences cost
    tried: Tensor  # (C, A) bool: False is no token; at least one True a cell
    log_normaliser: Tensor | None  # (C,) log-sum-exp of the scores of the whole vocabulary; None: of the tried tokens


def best_tokens(costs: Tensor, tried: Tensor) -> Tensor:
    """(C,) the place of a token of minimal cost in each cell, drawn evenly among those that tie."""
    costs = costs.masked_fill(~tried, torch.inf)
    tied = costs <= costs.amin(dim=1, keepdim=True) + TIE
    return torch.rand(costs.shape).to(costs.device).masked_fill(~tied, -1.0).argmax(dim=1)


def ll(cells: Cells, best: Tensor, scale: float) -> Tensor:
    chosen = cells.scores.gather(1, best.unsqueeze(1)).squeeze(1)
    normaliser = _logsumexp(cells.scores, cells.tried) if cells.log_normaliser is None else cells.log_normaliser
    return normaliser - chosen


def llcas(cells: Cells, best: Tensor, scale: float) -> Tensor:
    augmented = cells.scores + scale * _shifted(cells)
    return _logsumexp(augmented, cells.tried) - augmented.gather(1, best.unsqueeze(1)).squeeze(1)


def shl(cells: Cells, best: Tensor, scale: float) -> Tensor:
    augmented = (cells.scores + scale * _shifted(cells)).masked_fill(~cells.tried, _floor(cells.scores))
    return augmented.amax(dim=1) - cells.scores.gather(1, best.unsqueeze(1)).squeeze(1)


def kl(cells: Cells, best: Tensor, scale: float) -> Tensor:
    target = _log_target(cells, scale)
    found = _log_softmax(cells) if cells.log_normaliser is None else cells.scores - cells.log_normaliser.unsqueeze(1)
    return _divergence(target, found, cells.tried)


def inverse_kl(cells: Cells, best: Tensor, scale: float) -> Tensor:
    return _divergence(_log_softmax(cells), _log_target(cells, scale), cells.tried)


def l2(cells: Cells, best: Tensor, scale: float) -> Tensor:
    gap = _centred(cells.scores, cells.tried) + _centred(scale * _shifted(cells), cells.tried)
    return (gap.square() * cells.tried).sum(dim=1) / cells.tried.sum(dim=1)


LOSSES: dict[str, Callable[[Cells, Tensor, float], Tensor]] = {
    "ll": ll,
    "llcas": llcas,
    "shl": shl,
    "kl": kl,
    "inverse-kl": inverse_kl,
    "l2": l2,
}

FULL_SOFTMAX = ("ll", "kl")  # losses that can normalise over the whole vocabulary


def searnn_loss(name: str, cells: Cells, scale: float = 1.0) -> Tensor:
    """The loss of each cell: (C,).

    Args:
        name: of `LOSSES`.
        cells: scores with gradient, costs without.
        scale: what the costs are multiplied by; `ll` does not use it.

    Raises:
        ValueError: an unknown name, a scale that is not positive, or a normaliser of the whole vocabulary for a loss
            outside of `FULL_SOFTMAX`.
    """
    if name not in LOSSES:
        raise ValueError(f"`loss` must be one of {', '.join(LOSSES)}, got {name}")
    if not 0 < scale < float("inf"):
        raise ValueError(f"`scale` must be a positive number, got {scale}")
    if cells.log_normaliser is not None and name not in FULL_SOFTMAX:
        raise ValueError(
            f"only {' and '.join(FULL_SOFTMAX)} normalise over the whole vocabulary: `{name}` has no place for a token "
            "without a cost"
        )
    return LOSSES[name](cells, best_tokens(cells.costs, cells.tried), scale)


def _shifted(cells: Cells) -> Tensor:
    """The costs with minimum 0, in the scores' dtype; 0 where no token was tried."""
    least = cells.costs.masked_fill(~cells.tried, torch.inf).amin(dim=1, keepdim=True)
    return (cells.costs - least).masked_fill(~cells.tried, 0.0).to(cells.scores.dtype)


def _logsumexp(scores: Tensor, tried: Tensor) -> Tensor:
    return torch.logsumexp(scores.masked_fill(~tried, _floor(scores)), dim=1)


def _log_softmax(cells: Cells) -> Tensor:
    return torch.log_softmax(cells.scores.masked_fill(~cells.tried, _floor(cells.scores)), dim=1)


def _log_target(cells: Cells, scale: float) -> Tensor:
    """log softmax(-scale * c) over the tried tokens: (C, A)."""
    shifted = -scale * _shifted(cells)
    return shifted - _logsumexp(shifted, cells.tried).unsqueeze(1)


def _divergence(of: Tensor, to: Tensor, tried: Tensor) -> Tensor:
    """KL divergence of two distributions over the tried tokens, given as log-probabilities: (C,)."""
    of, to = of.masked_fill(~tried, 0.0), to.masked_fill(~tried, 0.0)
    return (of.exp() * (of - to) * tried).sum(dim=1)


def _centred(values: Tensor, tried: Tensor) -> Tensor:
    values = values.masked_fill(~tried, 0.0)
    return values - values.sum(dim=1, keepdim=True) / tried.sum(dim=1, keepdim=True)


def _floor(scores: Tensor) -> float:
    return torch.finfo(scores.dtype).min / 2
