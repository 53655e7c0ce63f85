"""Three ways of training through a hard beam, written the slow and plain way: one sentence and one prefix at a time.

The tests compare the batched code with it; it shares no line with what it checks. A model is a function:
`score(prefix)` gives the V local scores f(v | prefix) of the next token in float64, finite, with or without a gradient.
The score of a prefix is their sum,

    s(y_1..t) = sum over i <= t of f(y_i | y_1..i-1)

T is the number of gold tokens, EOS counted where the gold sequence ends with one. Beam search has a width of K.

What the papers leave open is decided here as follows.

All searches
    - Every output has exactly T tokens. EOS is a token like any other: what follows it is searched on.
    - Equal scores are ranked by (place of the parent in the beam, place of the token in `candidates`), lowest first.
      Tests that compare two implementations keep away from ties.
    - A beam holds what there is: min(K, number of continuations) prefixes, each of them once.
    - The choice of prefixes has no gradient. The scores of the chosen ones have, from their first token on: a reset
      of the beam to the gold prefix does not cut the gradient of the gold tokens before it.
    - A gold token need not be a candidate. The search never finds such a gold prefix, but its score is what the model
      gives, and after a reset the search goes on from it.
    - An empty gold sequence costs 0.

Global likelihood
    - Whether the gold prefix is lost is asked after the selection at every step, the last one included.
    - The gold prefix is counted once in the sum over the beam, whether the beam holds it or not. So where it was lost
      the sum has K + 1 terms.
    - "early" with a gold prefix that is lost at the very last step, and one that is never lost, is "full-sequence".
    - "full-sequence" searches on without the gold prefix, which may not come back. Only the last beam matters.
    - "every-step" adds one loss where the gold prefix is lost, and one at the last step. Where it is lost at the last
      step these are the same loss, which is added once. Earlier steps that keep the gold prefix add nothing.

Beam search optimization
    - The violator is chosen among the continuations of the beam without the gold prefix. In the paper (and in its
      authors' code) the K-th of all continuations is taken, which can be the gold prefix itself: its loss is then a
      constant without a gradient. Where the gold prefix is among the best K, the violator here is the one that the
      paper has for K + 1.
    - At the last step the violator is the best continuation that is not gold; at T = 1 the only step is the last one.
    - With fewer than K competitors it is the lowest of them; with none (one candidate, the gold one) the step has no
      loss and no violation.
    - A margin that is met exactly is not violated.
    - Violation is a matter of scores alone. A violator whose cost Delta is 0 costs nothing, and still resets the beam,
      or ends the sentence.
    - Without violation the next beam is the best K of all continuations, the gold prefix among them: at most K - 1
      competitors can stand before it. This holds for a gold token that is a candidate. One that is none leaves the beam
      without a violation where the model scores it high enough; then too the gold prefix is the next beam, because
      there is no learning from a beam without it (LaSO, Daume & Marcu 2005).
    - The step that is violated is the last one counted by "early-stop".

Minimum risk
    - Candidates are a set: a sequence that was found or drawn twice is one candidate, and Q does not depend on how
      often it was drawn.
    - "Without the gold sequence" means that it is not added; a search that found it keeps it.
    - Sequences and gold sequence are of one form, both with their EOS or both without. s counts every token that is
      there, so EOS where there is one. A sequence that ends because the length limit is reached ends in EOS as well,
      and its EOS counts with its ordinary score.
    - Q is normalised over the candidates, whatever mass they have in the model. Costs have no gradient. One candidate
      has Q = 1 and gives no gradient; no candidates are an error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Tokens = tuple[int, ...]
Score = Callable[[Tokens], Tensor]  # prefix -> local scores (V,) of the next token
Cost = Callable[[Tokens, Tokens], float]  # cost(found, gold)

UPDATES = ("early", "full-sequence", "every-step")
VIOLATIONS = ("reset", "early-stop")


class StepLoss(NamedTuple):
    """What one step adds to the loss of a sentence."""

    step: int  # how many tokens the compared prefixes have, 1 to T
    loss: Tensor  # (), with its gradient
    prefixes: list[Tokens]  # what the gold prefix was compared with: the beam, best first, or the one violator


class SentenceLoss(NamedTuple):
    """The loss of one sentence."""

    loss: Tensor  # (), the sum of the steps' losses
    steps: list[StepLoss]  # in order; the steps that were compared and found right are left out


# Scores and searches


def sequence_score(score: Score, tokens: Tokens) -> Tensor:
    """s(tokens) as a scalar; 0 for no tokens."""
    total = torch.zeros((), dtype=torch.float64)
    for t, token in enumerate(tokens):
        total = total + score(tokens[:t])[token]
    return total


def ranked_continuations(score: Score, beam: Sequence[Tokens], candidates: Sequence[int]) -> list[Tokens]:
    """Each prefix of `beam` with each candidate after it, best first."""
    continuations = [prefix + (token,) for prefix in beam for token in candidates]
    return sorted(continuations, key=lambda tokens: -float(sequence_score(score, tokens).detach()))  # stable


def beam_search(score: Score, length: int, beam: int, candidates: Sequence[int]) -> list[list[Tokens]]:
    """The beam after each of the steps 1 to `length`, best first."""
    if beam < 1:
        raise ValueError(f"`beam` must be at least 1, got {beam}")
    found = []
    current: list[Tokens] = [()]
    for _ in range(length):
        current = ranked_continuations(score, current, candidates)[:beam]
        found.append(current)
    return found


def all_sequences(candidates: Sequence[int], length: int) -> list[Tokens]:
    """All sequences of exactly `length` candidates."""
    return list(itertools.product(candidates, repeat=length))


def all_ended_sequences(candidates: Sequence[int], eos: int, limit: int) -> list[Tokens]:
    """All sequences of 1 to `limit` tokens whose last token, and no other, is `eos`; (eos,) is the empty output."""
    words = [token for token in candidates if token != eos]
    return [tokens + (eos,) for length in range(limit) for tokens in all_sequences(words, length)]


def _log_sum_exp(scores: Sequence[Tensor]) -> Tensor:
    """log of the sum of exp of scalars."""
    highest = max(float(value.detach()) for value in scores)
    total = torch.zeros((), dtype=torch.float64)
    for value in scores:
        total = total + torch.exp(value - highest)
    return highest + torch.log(total)


def _sum_of(steps: list[StepLoss], score: Score, gold: Tokens) -> SentenceLoss:
    """The sentence's loss; with no steps a zero whose gradient is zero."""
    loss = 0.0 * sequence_score(score, gold)
    for step in steps:
        loss = loss + step.loss
    return SentenceLoss(loss, steps)


# Global likelihood


def _likelihood_step(score: Score, gold_prefix: Tokens, beam: list[Tokens]) -> StepLoss:
    """-s(gold) + log sum of exp s(y) over the prefixes y of `beam` and the gold one."""
    everything = beam if gold_prefix in beam else [*beam, gold_prefix]
    partition = _log_sum_exp([sequence_score(score, tokens) for tokens in everything])
    return StepLoss(len(gold_prefix), partition - sequence_score(score, gold_prefix), beam)


def global_likelihood(score: Score, gold: Tokens, beam: int, candidates: Sequence[int], update: str) -> SentenceLoss:
    """The likelihood of the gold sequence among what beam search keeps (Andor et al. 2016, section 2).

    With B_t the beam after step t, and the gold prefix counted once,

        L_t = -s(gold_1..t) + log sum over y in B_t and gold_1..t of exp s(y)

    Args:
        update: "early", L_t at the first step that loses the gold prefix, or at T (Collins & Roark 2004);
            "full-sequence", L_T alone; "every-step" (LaSO, Daume & Marcu 2005), L_t at each step that loses the gold
            prefix, from which the search then goes on with nothing else in the beam, and L_T.
    """
    if beam < 1:
        raise ValueError(f"`beam` must be at least 1, got {beam}")
    if update not in UPDATES:
        raise ValueError(f"`update` must be one of {UPDATES}, got {update!r}")
    steps = []
    current: list[Tokens] = [()]
    for t in range(1, len(gold) + 1):
        current = ranked_continuations(score, current, candidates)[:beam]
        lost = gold[:t] not in current
        if t == len(gold):
            steps.append(_likelihood_step(score, gold, current))
        elif lost and update == "early":
            steps.append(_likelihood_step(score, gold[:t], current))
            break
        elif lost and update == "every-step":
            steps.append(_likelihood_step(score, gold[:t], current))
            current = [gold[:t]]
    return _sum_of(steps, score, gold)


def exact_global_likelihood(score: Score, gold: Tokens, candidates: Sequence[int]) -> Tensor:
    """-s(gold) + log sum of exp s(y) over all sequences y of T candidates (Andor et al. 2016, section 2)."""
    return _likelihood_step(score, gold, all_sequences(candidates, len(gold))).loss


# Beam search optimization


def constant_cost(found: Tokens, gold: Tokens) -> float:
    """Delta = 1, whatever the violator."""
    return 1.0


def hamming_share(found: Tokens, gold: Tokens) -> float:
    """The share of positions at which two sequences of one length differ; 0 for empty ones."""
    differing = sum(ours != theirs for ours, theirs in zip(found, gold, strict=True))
    return differing / max(len(gold), 1)


def beam_search_optimization(
    score: Score,
    gold: Tokens,
    beam: int,
    candidates: Sequence[int],
    delta: Cost,
    margin: float = 1.0,
    violation: str = "reset",
) -> SentenceLoss:
    """The margin between the gold prefix and what would push it out of the beam (Wiseman & Rush 2016, section 4).

    With v_t the K-th best continuation of the beam that is not gold_1..t, at t = T the best one,

        loss = sum over t of Delta(v_t, gold_1..t) * max(0, margin - s(gold_1..t) + s(v_t))

    and the margin is violated where s(gold_1..t) < s(v_t) + margin. The paper's scores are those of the last step of
    a network without a softmax; here they are summed up as decoding does. `steps` has the violated steps.

    Args:
        delta: delta(v_t, gold_1..t), at least 0; both have t tokens.
        violation: "reset", the gold prefix alone is the beam after a violated step; "early-stop", the first violated
            step is the last one that counts.
    """
    if beam < 1:
        raise ValueError(f"`beam` must be at least 1, got {beam}")
    if violation not in VIOLATIONS:
        raise ValueError(f"`violation` must be one of {VIOLATIONS}, got {violation!r}")
    steps = []
    current: list[Tokens] = [()]
    for t in range(1, len(gold) + 1):
        ranking = ranked_continuations(score, current, candidates)
        current = ranking[:beam] if gold[:t] in ranking[:beam] else [gold[:t]]
        competitors = [tokens for tokens in ranking if tokens != gold[:t]]
        if not competitors:
            continue
        rank = 1 if t == len(gold) else min(beam, len(competitors))
        violator = competitors[rank - 1]
        excess = margin - sequence_score(score, gold[:t]) + sequence_score(score, violator)
        if float(excess.detach()) <= 0.0:
            continue
        steps.append(StepLoss(t, delta(violator, gold[:t]) * excess, [violator]))
        if violation == "early-stop":
            break
        current = [gold[:t]]
    return _sum_of(steps, score, gold)


# Minimum risk


def without_end(cost: Cost, eos: int) -> Cost:
    """`cost` for sequences that hold their EOS: it sees them without it."""
    return lambda found, gold: cost(
        tuple(token for token in found if token != eos), tuple(token for token in gold if token != eos)
    )


def minimum_risk(
    score: Score, gold: Tokens, sequences: Sequence[Tokens], sharpness: float, cost: Cost, add_gold: bool = False
) -> Tensor:
    """The expected cost among candidates (Shen et al. 2016, equations 10 and 11; Edunov et al. 2018, "Risk").

    With C the different ones among `sequences`, and the gold one with `add_gold`, and a = `sharpness`,

        Q(y) = exp(a s(y)) / sum over y' in C of exp(a s(y'))        loss = sum over y in C of Q(y) cost(y, gold)
    """
    different: list[Tokens] = []
    for tokens in [*sequences, gold] if add_gold else sequences:
        if tokens not in different:
            different.append(tokens)
    if not different:
        raise ValueError("`sequences` must name at least one candidate, got none")
    sharpened = [sharpness * sequence_score(score, tokens) for tokens in different]
    normaliser = _log_sum_exp(sharpened)
    risk = torch.zeros((), dtype=torch.float64)
    for tokens, value in zip(different, sharpened, strict=True):
        risk = risk + torch.exp(value - normaliser) * cost(tokens, gold)
    return risk


def exact_expected_risk(log_probs: Score, gold: Tokens, sequences: Sequence[Tokens], cost: Cost) -> Tensor:
    """The sum over all outputs y of p(y) cost(y, gold), p(y) the product of the local probabilities.

    Nothing is normalised here, so `sequences` must be all that the model can output (`all_sequences`, or
    `all_ended_sequences` of a model that gives EOS all its mass at the limit).

    Raises:
        ValueError: the probabilities of `sequences` do not sum to 1.
    """
    mass = 0.0
    risk = torch.zeros((), dtype=torch.float64)
    for tokens in sequences:
        probability = torch.ones((), dtype=torch.float64)
        for t, token in enumerate(tokens):
            probability = probability * torch.exp(log_probs(tokens[:t])[token])
        mass += float(probability.detach())
        risk = risk + probability * cost(tokens, gold)
    if abs(mass - 1.0) > 1e-9:
        raise ValueError(f"the probabilities of `sequences` must sum to 1, got {mass}")
    return risk
