"""What one step of the relaxed beam chooses, and which form of the step makes the choice.

`PlainChoice` is the formula: scores of all candidates, a relaxed top-k, averages. `fused_choice.py` gives the same
without keeping anything of the candidates' number, and serves where there is a gradient and the output layer is
known.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.costs import TokenCosts
from seqsearch_fairseq.algorithms.hard_beam import first_live
from seqsearch_fairseq.algorithms.selection import Selection, only_candidate, select
from seqsearch_fairseq.algorithms.step import Step


class Chosen(NamedTuple):
    """What K distributions `P_j` over the candidates put in place of what hard search picks."""

    soft_beams: Tensor  # (B, K, I) soft backpointers b_j[i]
    scores: Tensor  # (B, K) s'_j = sum P_j * S
    costs: Tensor  # (B, K) sum_v a_j[v] d_t(v)
    inputs: Tensor  # (B, K, E) e_j = a_j @ embedding
    live: Tensor  # (B, K) bool: False where there are fewer than K candidates
    best_beams: Tensor  # (B, K) hard backpointers: the beam of each P_j's largest weight
    best_tokens: Tensor  # (B, K) and its token


class Beams(NamedTuple):
    """Where the I beams of each of b sentences stand before step t."""

    t: int
    scores: Tensor  # (b, I)
    live: Tensor  # (b, I) bool
    going: Tensor  # (b, 1) bool: False for a sentence that has ended, whose choice is not read
    sentences: Tensor | None = None  # (b,) which of the batch's B these are; None where they are all


class Settings(NamedTuple):
    """What stays the same in all steps of a search."""

    width: int  # K
    alpha: float
    top_k: str  # a name of `relaxations.TOP_K`
    candidates: Tensor  # (V,) bool
    costs: TokenCosts  # d_t(v)
    cost_augmented: bool  # add d_t(v) to the candidates' scores
    kernel: str = "torch"  # a name of `candidate_pass.KERNELS`, for the fused form


class PlainChoice:
    """The choice by the formula. `observe` is called with each step's `Selection`."""

    def __init__(self, step: Step, settings: Settings, observe: Callable[[Selection], None] | None = None):
        self._step, self._settings, self._observe = step, settings, observe

    def __call__(self, features: Tensor, beams: Beams) -> Chosen:
        """From the features of all beams (N, D) to what the step chooses."""
        step, settings = self._step, self._settings
        local = step.scores(features).view(*beams.scores.shape, -1)  # (B, I, V)
        wrong = settings.costs.at(beams.t, beams.sentences).to(local.dtype)  # (B, V)
        total = beams.scores.unsqueeze(2) + local + (wrong.unsqueeze(1) if settings.cost_augmented else 0.0)
        one_candidate = only_candidate(first_live(1, total.size(1), total.device), settings.candidates)
        allowed = beams.live.unsqueeze(2) & settings.candidates
        mask = torch.where(beams.going.unsqueeze(2), allowed, one_candidate)
        chosen = select(total, mask, settings.alpha, settings.top_k, settings.width)
        if self._observe is not None:
            self._observe(chosen)
        costs, inputs = chosen.mean_of_tokens(wrong), chosen.mean_embedding(step.embedding)
        return Chosen(
            chosen.soft_beams, chosen.scores, costs, inputs, chosen.live, chosen.best_beams, chosen.best_tokens
        )
