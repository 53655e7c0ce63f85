"""What the relaxed beam chose at each step, to look at: soft backpointers, the heaviest tokens, scores."""

from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.costs import TokenCosts
from seqsearch_fairseq.algorithms.selection import Selection
from seqsearch_fairseq.algorithms.soft_beam import SAME_STATE, SoftBeam, soft_beam
from seqsearch_fairseq.algorithms.step import Step


class Trace(NamedTuple):
    """The steps of a `soft_beam`. What stands after a sentence's end is arbitrary, and so are dead beams."""

    result: SoftBeam  # what the search returned
    backpointers: Tensor  # (B, T, K, K) b_j[i] of each beam j; before the first step there is only i = 0
    tokens: Tensor  # (B, T, K, M) the heaviest tokens of each beam, heaviest first
    token_weights: Tensor  # (B, T, K, M) their weights a_j[v]
    scores: Tensor  # (B, T, K) s'_j
    live: Tensor  # (B, T, K) bool: False where there were fewer than K candidates
    coincide: Tensor  # (B, T) bool: the live beams chose the same, to `SAME_STATE`; False for a single one


@torch.no_grad()
def trace(
    step: Step,
    lengths: Tensor,
    token_costs: TokenCosts,
    beam_size: int,
    alpha: float,
    candidates: Tensor,
    top_k: str = "squared-distance",
    heaviest: int = 3,
) -> Trace:
    """Run `soft_beam` without gradient and keep what each step chose.

    Args:
        heaviest: M, how many tokens to keep of each beam, at least 1; the vocabulary's size if that is smaller.
        others: see `soft_beam`.

    Raises:
        ValueError: an argument breaks its rule.
    """
    if heaviest < 1:
        raise ValueError(f"`heaviest` must be at least 1, got {heaviest}")
    vocabulary, steps = candidates.numel(), []

    def observe(chosen: Selection) -> None:
        weights = chosen.soft_tokens(vocabulary)
        top = weights.topk(min(heaviest, vocabulary), dim=2)
        same = _same_rows(chosen.soft_beams, chosen.live) & _same_rows(weights, chosen.live)
        beams = torch.nn.functional.pad(chosen.soft_beams, (0, beam_size - chosen.soft_beams.size(2)))
        steps.append((beams, top.indices, top.values, chosen.scores, chosen.live, same))

    result = soft_beam(step, lengths, token_costs, beam_size, alpha, candidates, top_k, observe=observe)
    return Trace(result, *(torch.stack(column, dim=1) for column in zip(*steps, strict=True)))


def _same_rows(rows: Tensor, live: Tensor) -> Tensor:
    """(B,) bool: whether the live rows of (B, K, M) agree to `SAME_STATE`, and there are several."""
    gap = (rows - rows[:, :1]).abs().amax(dim=2).masked_fill(~live, 0.0)
    return (gap < SAME_STATE).all(dim=1) & (live.sum(dim=1) > 1)
