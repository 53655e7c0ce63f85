"""Minimum risk: Shen et al. 2016, equations 10 and 11; Edunov et al. 2018.

Among the candidates C of a sentence, each counted once, with s(y) the sum of local scores:

    Q(y) = exp(sharpness * s(y)) / sum over C of exp(sharpness * s)        loss = sum over C of Q(y) cost(y, gold)
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_training.candidates import Candidates
from seqsearch_fairseq.algorithms.beam_training.prefix_scores import prefix_scores
from seqsearch_fairseq.algorithms.masking import masked_softmax
from seqsearch_fairseq.algorithms.sequence_costs import FILL, SequenceCost
from seqsearch_fairseq.algorithms.step import Step


class MinimumRisk(NamedTuple):
    losses: Tensor  # (B,) expected cost
    counts: Tensor  # (B,) different candidates
    least_costs: Tensor  # (B,) cost of the cheapest candidate: the oracle
    best_costs: Tensor  # (B,) cost of the candidate of the highest score


def minimum_risk(
    step: Step,
    gold: Tensor,
    lengths: Tensor,
    gold_scores: Tensor,
    found: Candidates,
    cost: SequenceCost,
    sharpness: float = 1.0,
    with_gold: bool = False,
    eos: int | None = None,
) -> MinimumRisk:
    """The expected cost of each sentence's candidates; equal ones count once.

    Args:
        step: the decoder.
        gold: (B, T) gold tokens.
        lengths: (B,) integer, number of gold tokens, the end of sentence included where there is one.
        gold_scores: (B, T, V) local scores after each gold prefix, teacher-forced, with gradient.
        found: the candidates.
        cost: of a candidate against the gold, both without their end of sentence; a constant.
        sharpness: > 0.
        with_gold: add the gold to the candidates; it may be among them without.
        eos: the token that ends a sequence; None where the output's length is known.

    Raises:
        ValueError: `sharpness` is not a positive number.
    """
    if not 0 < sharpness < float("inf"):
        raise ValueError(f"`sharpness` must be a positive number, got {sharpness}")
    places = torch.arange(gold.size(1), device=gold.device)
    gold = gold.masked_fill(places >= lengths.unsqueeze(1), FILL)
    tokens, live = _with_gold(found, gold) if with_gold else found
    live = live & ~_repeats(tokens, live)
    sentence, place = live.nonzero(as_tuple=True)
    rows = tokens[sentence, place]  # (R, L)
    scores = prefix_scores(step, gold, gold_scores, sentence, rows)
    paid = cost(_without_end(rows, eos), _without_end(gold, eos)[sentence]).to(scores.dtype)
    dense, costs = (scores.new_zeros(live.shape).masked_scatter(live, values) for values in (scores, paid))
    risks = (masked_softmax(sharpness * dense, live) * costs).sum(dim=1)
    best = dense.detach().masked_fill(~live, -torch.inf).argmax(dim=1, keepdim=True)
    least = costs.masked_fill(~live, torch.inf).amin(dim=1)
    return MinimumRisk(risks, live.sum(dim=1), least, costs.gather(1, best).squeeze(1))


def _with_gold(found: Candidates, gold: Tensor) -> Candidates:
    width = max(found.tokens.size(2), gold.size(1))
    pad = torch.nn.functional.pad
    first = pad(gold, (0, width - gold.size(1)), value=FILL).unsqueeze(1)
    others = pad(found.tokens, (0, width - found.tokens.size(2)), value=FILL)
    return Candidates(torch.cat([first, others], dim=1), pad(found.live, (1, 0), value=True))


def _repeats(tokens: Tensor, live: Tensor) -> Tensor:
    """(B, C) bool: which sequences of (B, C, L) another one before them equals."""
    equal = live.unsqueeze(1) & live.unsqueeze(2)  # (B, C, C)
    for t in range(tokens.size(2)):
        equal = equal & (tokens[:, :, t].unsqueeze(1) == tokens[:, :, t].unsqueeze(2))
    return equal.tril(-1).any(dim=2)


def _without_end(tokens: Tensor, eos: int | None) -> Tensor:
    return tokens if eos is None else tokens.masked_fill(tokens == eos, FILL)
