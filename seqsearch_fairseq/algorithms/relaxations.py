"""Continuous relaxations of argmax and of top-k argmax.

The peaked softmax of Goyal et al. 2018 (section 3.1) tends to the one-hot argmax as `alpha` grows. Two relaxations of
"the k best of M candidates" are built on it, and both tend to the hard top-k:

* `squared-distance` (Goyal et al. 2018, section 3.2): with m_1 >= ... >= m_k the k largest scores,
  `P_j = softmax(-alpha * (S - m_j)^2)`. Candidates that tie are averaged.
* `successive` (Ploetz & Roth 2018, section 3.1): `P_j = softmax(alpha * S^j)`, and what was taken is removed before the
  next choice, `S^1 = S`, `S^(j+1) = S^j + log(1 - P_j)`. The logarithm is multiplied by alpha too: without that, the
  candidate that was taken comes back level with the runner-up.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.masking import masked_logsumexp, masked_softmax, masked_topk


class SoftTopK(NamedTuple):
    weights: Tensor  # (B, k, M), each row a distribution over the candidates; a dead row is a copy of row 0
    live: Tensor  # (B, k) bool, False where there are fewer than k candidates


def peaked_softmax(scores: Tensor, alpha: float, mask: Tensor | None = None) -> Tensor:
    """`softmax(alpha * scores)` over the last dimension, among the entries where `mask` (bool) is True."""
    check_alpha(alpha)
    if mask is None:
        return torch.softmax(alpha * scores, dim=-1)
    return masked_softmax(alpha * scores, mask)


def squared_distance_top_k(scores: Tensor, mask: Tensor, k: int, alpha: float) -> SoftTopK:
    """Goyal et al. 2018: one softmax for each of the k largest scores. Gradients flow through the m_j too.

    Args:
        scores: (B, M) finite where `mask` is True.
        mask: (B, M) bool, which entries are candidates; at least one in each row.
        k: number of choices; where there are fewer candidates the surplus rows are dead.
        alpha: > 0; hard when it is large against 1 / (smallest gap between two scores)^2.
    """
    check_alpha(alpha)
    scores = torch.where(mask, scores, 0.0)
    top = masked_topk(scores, mask, k)
    anchors = torch.where(top.live, top.values, top.values[:, :1])
    gap = scores.unsqueeze(1) - anchors.unsqueeze(2)  # (B, k, M)
    return SoftTopK(masked_softmax(-alpha * gap.square(), mask.unsqueeze(1)), top.live)


def successive_top_k(scores: Tensor, mask: Tensor, k: int, alpha: float) -> SoftTopK:
    """Ploetz & Roth 2018: k softmaxes in turn, each without what the ones before it took. Arguments as above."""
    check_alpha(alpha)
    live = mask.sum(dim=1, keepdim=True) > torch.arange(k, device=mask.device)
    remaining = torch.where(mask, scores, 0.0)
    weights: list[Tensor] = []
    for j in range(k):
        chosen = masked_softmax(alpha * remaining, mask)
        weights.append(chosen if j == 0 else torch.where(live[:, j : j + 1], chosen, weights[0]))
        if j + 1 < k:
            remaining = remaining + _log_of_the_rest(alpha * remaining, chosen, mask)
    return SoftTopK(torch.stack(weights, dim=1), live)


def gumbel_noise(like: Tensor, seed: int) -> Tensor:
    """Independent standard Gumbel draws in the shape of `like`; the same for the same seed.

    `argmax(s + G)` is a sample of `softmax(s)`, and `softmax(alpha * (s + G))` a relaxed one.
    """
    draws = torch.Generator(like.device).manual_seed(seed)
    uniform = torch.rand(like.shape, generator=draws, dtype=like.dtype, device=like.device)
    return uniform.log_().neg_().log_().neg_()


TOP_K: dict[str, Callable[[Tensor, Tensor, int, float], SoftTopK]] = {
    "squared-distance": squared_distance_top_k,
    "successive": successive_top_k,
}


def check_alpha(alpha: float) -> None:
    """Raise a `ValueError` unless `alpha` is a positive finite number."""
    if not 0 < alpha < float("inf"):
        raise ValueError(f"`alpha` must be a positive number, got {alpha}")


def check_relaxation(alpha: float, top_k: str) -> None:
    """Raise a `ValueError` for an alpha out of range or a relaxed top-k that does not exist."""
    check_alpha(alpha)
    if top_k not in TOP_K:
        raise ValueError(f"`top_k` must be one of {', '.join(TOP_K)}, got {top_k}")


def _log_of_the_rest(logits: Tensor, probs: Tensor, mask: Tensor) -> Tensor:
    """`log(1 - probs)` for `probs = masked_softmax(logits, mask)`, exact where a probability rounds to 1: (B, M).

    Only the largest probability can exceed one half. Its complement is summed from the others.
    """
    top = probs.argmax(dim=1, keepdim=True)
    largest = torch.zeros_like(mask).scatter(1, top, True)
    everything = (logits.gather(1, top) - probs.gather(1, top).log()).squeeze(1)  # the log-sum-exp of the whole row
    rest = masked_logsumexp(logits, mask & ~largest)
    rest = torch.where(rest.isfinite(), rest, everything)  # there are no others: nothing to remove
    small = torch.log1p(-torch.where(largest, 0.0, probs))
    return torch.where(largest, (rest - everything).unsqueeze(1), small)
