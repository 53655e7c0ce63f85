"""Beam search optimization: Wiseman & Rush 2016, section 4.

At each step t the gold prefix has to score above the K-th best other prefix v_t by a margin; at the last step, above
the best other one:

    loss = sum over t of Delta(v_t) * max(0, margin - s(gold_1..t) + s(v_t))

A step that violates the margin costs, and the search starts again at the gold prefix, or ends. The paper scores a
prefix by its last step alone, with a network that does not normalise. Here s is the sum of local scores, because that
is what beam search decodes by, and they should be logits.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_training.prefix_scores import gold_prefix_scores, prefix_scores
from seqsearch_fairseq.algorithms.beam_training.watched_search import Ranking, Verdict, watched_search
from seqsearch_fairseq.algorithms.sequence_costs import FILL, SequenceCost
from seqsearch_fairseq.algorithms.step import Step

RESET, EARLY_STOP = "reset", "early-stop"


class BeamSearchOptimization(NamedTuple):
    losses: Tensor  # (B,)
    violations: Tensor  # (B,) steps at which the margin was violated


def constant_cost(found: Tensor, gold: Tensor) -> Tensor:
    """Every violation counts the same: (R,)."""
    return torch.ones(len(found), dtype=torch.float64, device=found.device)


def beam_search_optimization(
    step: Step,
    gold: Tensor,
    lengths: Tensor,
    gold_scores: Tensor,
    beam_size: int,
    candidates: Tensor,
    cost: SequenceCost = constant_cost,
    margin: float = 1.0,
    violation: str = RESET,
) -> BeamSearchOptimization:
    """The loss of each sentence.

    Args:
        step: the decoder.
        gold: (B, T) gold tokens.
        lengths: (B,) integer, number of output tokens of each sentence.
        gold_scores: (B, T, V) local scores after each gold prefix, teacher-forced, with gradient.
        beam_size: K, at least 1.
        candidates: (V,) bool, the tokens that may be output.
        cost: Delta, of prefixes of v_t against gold prefixes of the same length.
        margin: at least 0.
        violation: `reset` or `early-stop`.

    Raises:
        ValueError: an argument breaks its rule.
    """
    if violation not in (RESET, EARLY_STOP):
        raise ValueError(f"`violation` must be one of {RESET}, {EARLY_STOP}, got {violation}")
    if not 0 <= margin < float("inf"):
        raise ValueError(f"`margin` must be a number of at least 0, got {margin}")
    events = watched_search(step, gold, lengths, beam_size, candidates, _judge(margin, violation), beyond=1)
    sentences, tokens = events.sentences, events.tokens[:, 0]  # one violator an event
    own = gold_prefix_scores(gold, gold_scores)[sentences, events.lengths - 1]
    places = torch.arange(tokens.size(1), device=tokens.device)
    gold_prefixes = gold[sentences, : tokens.size(1)].masked_fill(places >= events.lengths.unsqueeze(1), FILL)
    factors = cost(tokens, gold_prefixes).to(own.dtype)
    paid = factors * (margin - own + prefix_scores(step, gold, gold_scores, sentences, tokens)).clamp(min=0)
    losses = paid.new_zeros(len(gold)).index_add(0, sentences, paid)
    return BeamSearchOptimization(losses, torch.bincount(sentences, minlength=len(gold)))


def _judge(margin: float, violation: str) -> Callable[[Ranking], Verdict]:
    def judge(ranking: Ranking) -> Verdict:
        rivals = ranking.live & ~ranking.is_gold
        wanted = torch.where(ranking.is_last, 1, ranking.beam_size)  # the rank of the violator
        wanted = torch.minimum(wanted, rivals.sum(dim=1)).unsqueeze(1)
        violators = rivals & (rivals.cumsum(dim=1) == wanted)
        scores = ranking.scores.masked_fill(~violators, -torch.inf).amax(dim=1)
        violated = ranking.had_gold & ~(ranking.gold_scores >= scores + margin)  # so that NaN costs, and is found
        stops = violated & (violation == EARLY_STOP)
        # A gold token that is no candidate leaves the beam without a violation, if it scores high enough.
        to_gold = ranking.had_gold & (violated | ~ranking.has_gold) & ~stops
        return Verdict(pays=violated, members=violators, to_gold=to_gold, stops=stops)

    return judge
