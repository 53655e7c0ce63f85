"""One step's relaxed choice of K among I * V candidates: the plain form, and one that looks at the nearest few only.

`select` keeps the best candidates where a bound shows that what the others weigh is below the precision of the scores'
type (`nearest.py`). Where they are too many, all candidates are taken, and their weights are made again in the backward
pass instead of being kept.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from seqsearch_fairseq.algorithms.nearest import Ranking, nearest
from seqsearch_fairseq.algorithms.relaxations import TOP_K

SHARE = 4  # at most one candidate in so many is kept: of these the backward pass needs no second look
ROUNDING = 512  # units in the last place; a model's scores change by some of them with the batch that a sentence is in


class Selection(NamedTuple):
    """What K distributions `P_j` over the candidates put in place of what hard search picks."""

    soft_beams: Tensor  # (B, K, I) soft backpointers b_j[i]
    token_weights: Tensor  # (B, K, M) what each of M candidate tokens weighs
    tokens: Tensor | None  # (B, M) which tokens these are; None: the vocabulary in order, M = V
    scores: Tensor  # (B, K) s'_j = sum P_j * S
    live: Tensor  # (B, K) bool: False where there are fewer than K candidates
    best_beams: Tensor  # (B, K) hard backpointers: the beam of each P_j's largest weight; of ties the first
    best_tokens: Tensor  # (B, K) and its token

    def soft_tokens(self, vocabulary: int) -> Tensor:
        """The token weights `a_j[v] = sum_i P_j[i, v]`: (B, K, V)."""
        if self.tokens is None:
            return self.token_weights
        zeros = self.token_weights.new_zeros(*self.scores.shape, vocabulary)
        return zeros.scatter_add(2, self.tokens.unsqueeze(1).expand_as(self.token_weights), self.token_weights)

    def mean_embedding(self, embedding: Tensor) -> Tensor:
        """The next inputs `e_j = a_j @ embedding` of an embedding (V, E): (B, K, E)."""
        table = embedding.to(self.token_weights.dtype)
        if self.tokens is None:
            return self.token_weights @ table
        return torch.bmm(self.token_weights, torch.nn.functional.embedding(self.tokens, table))

    def mean_of_tokens(self, values: Tensor) -> Tensor:
        """`sum_v a_j[v] * values[v]` of a value (B, V) for each token: (B, K)."""
        chosen = values if self.tokens is None else values.gather(1, self.tokens)
        return torch.bmm(self.token_weights, chosen.unsqueeze(2)).squeeze(2)


def select(total: Tensor, mask: Tensor, alpha: float, top_k: str, width: int | None = None) -> Selection:
    """Choose K of the candidates `total` (B, I, V) softly, among those where `mask` (B, I, V) is True.

    Args:
        total: cumulated score of each candidate, finite where `mask` is True.
        mask: bool; at least one True for each sentence.
        alpha: > 0.
        top_k: a name of `relaxations.TOP_K`.
        width: K; by default I, the number of beams that there are.

    Raises:
        ValueError: `alpha` is out of range.
    """
    before, vocabulary = total.shape[1:]
    width = before if width is None else width
    scores, allowed = total.flatten(1), mask.flatten(1)  # (B, K*V)
    nearest = _nearest(scores.detach(), allowed, width, alpha, top_k)
    if nearest is None:
        return select_from_all(total, mask, alpha, top_k, width)
    rows = torch.arange(scores.size(0), device=scores.device).unsqueeze(1)
    kept = scores[rows, nearest]  # (B, M); unlike `gather`, keeps no K * V scores for the backward pass
    weights, mean, live = _choose(kept, allowed[rows, nearest], width, alpha, top_k)
    equal = _equals_of_the_best(kept, weights)
    best = nearest.unsqueeze(1).masked_fill(~equal, scores.size(1)).amin(dim=2)  # in the order of the plain form
    beams, tokens = nearest // vocabulary, nearest % vocabulary
    is_beam = torch.nn.functional.one_hot(beams, before).to(weights.dtype)  # (B, M, I)
    soft_beams = torch.bmm(weights, is_beam)
    return Selection(soft_beams, weights, tokens, mean, live, best // vocabulary, best % vocabulary)


def select_from_all(total: Tensor, mask: Tensor, alpha: float, top_k: str, width: int | None = None) -> Selection:
    """The plain form of `select`: every candidate takes part."""
    width = total.size(1) if width is None else width
    if torch.is_grad_enabled() and total.requires_grad:
        return Selection(*checkpoint(_select_from_all, total, mask, alpha, top_k, width, use_reentrant=False))
    return Selection(*_select_from_all(total, mask, alpha, top_k, width))


def only_candidate(live: Tensor, candidates: Tensor) -> Tensor:
    """(1, I, V) bool: the mask of one candidate alone, for `live` (1, I) before the first step and candidates (V,)."""
    first = torch.arange(candidates.numel(), device=candidates.device) == candidates.int().argmax()
    return live.unsqueeze(2) & first


def _select_from_all(total: Tensor, mask: Tensor, alpha: float, top_k: str, width: int) -> tuple:
    before, vocabulary = total.shape[1:]
    weights, mean, live = _choose(total.flatten(1), mask.flatten(1), width, alpha, top_k)
    best = _equals_of_the_best(total.flatten(1), weights).byte().argmax(dim=2)
    by_candidate = weights.unflatten(2, (before, vocabulary))  # (B, K, I, V)
    return by_candidate.sum(dim=3), by_candidate.sum(dim=2), None, mean, live, best // vocabulary, best % vocabulary


def _choose(scores: Tensor, mask: Tensor, width: int, alpha: float, top_k: str) -> tuple:
    """The relaxed top-k among M candidates: weights (B, K, M), mean scores, and live."""
    weights, live = TOP_K[top_k](scores, mask, width, alpha)
    mean = torch.bmm(weights, torch.where(mask, scores, 0.0).unsqueeze(2)).squeeze(2)
    return weights, mean, live


@torch.no_grad()
def _equals_of_the_best(scores: Tensor, weights: Tensor) -> Tensor:
    """Which candidates are as good as that of each P_j's largest weight: (B, K, M) bool.

    Beams that have collapsed offer the same candidates, and rounding alone would say whose history a hypothesis has.
    """
    largest, place = weights.max(dim=2, keepdim=True)
    best = scores.gather(1, place.squeeze(2)).unsqueeze(2)  # (B, K, 1)
    within = ROUNDING * torch.finfo(scores.dtype).eps * best.abs().clamp(min=1.0)
    return ((scores.unsqueeze(1) - best).abs() <= within) & (weights >= 0.99 * largest)


@torch.no_grad()
def _nearest(scores: Tensor, mask: Tensor, width: int, alpha: float, top_k: str) -> Tensor | None:
    """Indices (B, M) of the best candidates when the others weigh nothing in any row; None when they do."""
    n = scores.size(1)
    if width * SHARE > n:
        return None
    ranking = Ranking(scores.masked_fill(~mask, -torch.inf))
    none_ended = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    found = nearest(ranking, ranking.best(width), n, alpha, top_k, none_ended, SHARE)
    return None if found is None else found.places
