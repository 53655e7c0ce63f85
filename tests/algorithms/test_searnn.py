"""SEARNN's actions, costs and losses, against an oracle that decodes one sequence at a time."""

import functools
from typing import NamedTuple

import pytest
import searnn_oracle as oracle
import torch
from builders import PrefixTable

from seqsearch_fairseq.algorithms.searnn.algorithm import Settings, searnn
from seqsearch_fairseq.algorithms.searnn.policies import best_suffix_policy, copy_policy, max_f1_policy
from seqsearch_fairseq.algorithms.searnn.roll_in import Space, roll_in
from seqsearch_fairseq.algorithms.searnn.rollouts import Actions, finish
from seqsearch_fairseq.algorithms.sequence_costs import FILL, SEQUENCE_COSTS, ChunkLabels

VOCABULARY, EOS, EXTRA = 5, 2, 1
NAMES = ["O", "B-X", "I-X", "B-Y", "I-Y"]
ORACLE_COSTS = {
    "hamming": oracle.hamming,
    "normalised-hamming": oracle.normalised_hamming,
    "edit": oracle.edit,
    "bleu": oracle.bleu,
    "bleu-1": functools.partial(oracle.bleu, order=1),
    "gleu": oracle.gleu,
    "chunk-f1": functools.partial(oracle.chunk_f1, names=NAMES),
}


class Problem(NamedTuple):
    step: PrefixTable
    gold: torch.Tensor
    lengths: torch.Tensor
    space: Space

    def gold_of(self, b: int) -> tuple[int, ...]:
        return tuple(token for token in self.gold[b].tolist() if token != FILL)

    @property
    def candidates(self) -> list[int]:
        return self.space.candidates.nonzero().flatten().tolist()


def problem(open_ended: bool, seed: int = 0, lengths=(3, 1, 2)) -> Problem:
    draws = torch.Generator().manual_seed(seed)
    eos = EOS if open_ended else None
    words = [v for v in range(VOCABULARY) if v != eos]
    gold = torch.full((len(lengths), max(lengths)), FILL)
    for row, length in zip(gold, lengths, strict=True):
        row[:length] = torch.tensor(words)[torch.randint(len(words), (length,), generator=draws)]
    lengths = torch.tensor(lengths) + int(open_ended)
    limits = lengths + (EXTRA if open_ended else 0)
    candidates = torch.ones(VOCABULARY, dtype=torch.bool)
    if open_ended:
        candidates[0] = False
        gold[gold == 0] = 1
    step = PrefixTable.random(seed, len(gold), int(limits.max()), VOCABULARY)
    return Problem(step, gold, lengths, Space(candidates, eos, limits))


def every_action(given: Problem, rolled_in) -> Actions:
    sentence, position = rolled_in.tokens.ne(FILL).nonzero(as_tuple=True)
    tokens = torch.tensor(given.candidates)
    return Actions(
        sentence.repeat_interleave(len(tokens)),
        position.repeat_interleave(len(tokens)),
        tokens.repeat(len(position)),
    )


def references(name: str, cost: str, labels: ChunkLabels | None = None):
    """The code's policy, and the oracle's cost of a prefix."""
    theirs = ORACLE_COSTS[cost]
    ours = labels.one_minus_f1 if cost == "chunk-f1" else SEQUENCE_COSTS[cost]
    if name == "copy":
        return copy_policy(ours), lambda prefix, gold: theirs(oracle.complete_copy(prefix, gold), gold)
    if name == "best-suffix":
        return best_suffix_policy(cost), lambda prefix, gold: oracle.best_suffix_cost(prefix, gold, theirs)
    return max_f1_policy(labels), lambda prefix, gold: oracle.max_f1_cost(prefix, gold, range(VOCABULARY), theirs)


CASES = [(True, cost, policy) for cost in SEQUENCE_COSTS for policy in ("copy", "best-suffix")]
CASES += [(False, cost, "copy") for cost in ("hamming", "normalised-hamming", "chunk-f1")]
CASES += [(False, "chunk-f1", "max-f1")]


@pytest.mark.parametrize("own_continuation", [False, True])
@pytest.mark.parametrize("roll_out", ["reference", "learned", 1, 2])
@pytest.mark.parametrize("policy_in", ["reference", "learned", "mixed"])
@pytest.mark.parametrize("open_ended,cost,policy", CASES)
def test_every_cost_is_that_of_one_sequence_at_a_time(open_ended, cost, policy, policy_in, roll_out, own_continuation):
    given = problem(open_ended, seed=len(cost))
    shape = len(given.gold), int(given.space.limits.max())
    uses_gold = {"reference": torch.ones, "learned": torch.zeros}.get(policy_in, torch.rand)(shape) > 0.5
    rolled_in = roll_in(given.step, given.gold, uses_gold, given.space)
    labels = None if open_ended else ChunkLabels(NAMES)
    ours, theirs = references(policy, cost, labels)
    ours_finished = labels.one_minus_f1 if cost == "chunk-f1" else SEQUENCE_COSTS[cost]
    actions = every_action(given, rolled_in)
    steps = torch.full((len(given.gold),), {"reference": 0, "learned": 1000}.get(roll_out, roll_out))
    done = finish(given.step, rolled_in, actions, steps, given.space, own_continuation)
    for r, (b, t, token) in enumerate(zip(*(column.tolist() for column in actions), strict=True)):
        gold, scores = given.gold_of(b), lambda prefix, b=b: given.step.next_scores(b)(prefix).tolist()
        limit = int(given.space.limits[b])
        expected_tokens = oracle.roll_in(scores, gold, uses_gold[b].tolist(), given.candidates, given.space.eos, limit)
        assert tuple(x for x in rolled_in.tokens[b].tolist() if x != FILL) == expected_tokens
        expected = oracle.token_cost(
            scores,
            expected_tokens,
            t,
            token,
            gold,
            given.candidates,
            given.space.eos,
            limit,
            ORACLE_COSTS[cost],
            roll_out,
            lambda prefix, gold=gold: theirs(prefix, gold),
        )
        one = done.tokens[r : r + 1], given.gold[b : b + 1]
        found = (ours_finished if done.complete[r] else ours)(*one)
        assert abs(float(found) - expected) < 1e-12, (b, t, token)


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"roll_in": "gold"}, "`roll_in` must be one of reference, learned, mixed, mixed-cells, got gold"),
        ({"roll_out": "gold"}, "`roll_out` must be one of reference, learned, mixed, focused, got gold"),
        ({"roll_out_precision": "half"}, "`roll_out_precision` must be one of model, bfloat16, got half"),
        ({"reference_probability": -0.1}, r"`reference_probability` must be in \[0, 1\], got -0.1"),
        ({"focus": -1}, "`focus` must be at least 0, got -1"),
        ({"cells": 0}, "`cells` must be at least 1, or None for all, got 0"),
        ({"roll_out_batch": 0}, "`roll_out_batch` must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    given, cost = problem(True), SEQUENCE_COSTS["hamming"]
    with pytest.raises(ValueError, match=message):
        searnn(given.step, given.gold, given.lengths, given.space, cost, copy_policy(cost), Settings(**changes))
