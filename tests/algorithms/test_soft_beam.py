"""The relaxed beam: against the oracle, at its limits, its gradients, and what must not change it."""

import math

import numpy as np
import oracles
import pytest
import torch
from builders import Batch, TorchRecurrence, first_that, hard_batch, plainly, random_batch
from hypothesis import given
from hypothesis import strategies as st

from seqsearch_fairseq.algorithms import choice, selection
from seqsearch_fairseq.algorithms.relaxations import TOP_K
from seqsearch_fairseq.algorithms.soft_beam import (
    SAME_STATE,
    SoftBeam,
    beam_distance,
    direct_objective,
    hinge_objective,
    hypotheses,
    soft_beam,
)

HARD = 1e8  # alpha that stands for infinity, in float64

each_top_k = pytest.mark.parametrize("top_k", TOP_K)

# name -> options of `random_batch`
PROBLEMS = {
    "plain": {},
    "fewer tokens than beams": {"vocabulary": 3, "masked": [1]},
    "masked and weighted": {"vocabulary": 5, "masked": [0, 3], "label_cost": {2: 2.0, 4: 0.5}},
}


def search(batch: Batch, beam_size: int, alpha: float, top_k: str = "squared-distance", augmented: bool = False):
    return soft_beam(batch.step, batch.lengths, batch.costs, beam_size, alpha, batch.candidates, top_k, augmented)


def direct(batch: Batch, beam_size: int, alpha: float, top_k: str = "squared-distance") -> torch.Tensor:
    return direct_objective(search(batch, beam_size, alpha, top_k), alpha)


def hinge(batch: Batch, beam_size: int, alpha: float, top_k: str = "squared-distance") -> torch.Tensor:
    gold_scores = batch.step.gold_scores(batch.gold, batch.lengths)
    return hinge_objective(search(batch, beam_size, alpha, top_k, augmented=True), alpha, gold_scores)


OBJECTIVES = {"direct": direct, "hinge": hinge}
each_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)


def oracle_search(batch: Batch, b: int, *arguments) -> oracles.RelaxedBeam:
    beam_size, alpha, top_k, augmented = arguments
    costs = batch.token_costs_of(b)
    return oracles.relaxed_beam(batch.models[b], costs, beam_size, alpha, batch.candidate_list, top_k, augmented)


def oracle_collapsed(expected: oracles.RelaxedBeam) -> bool:
    states = [state for state, live in zip(expected.states, expected.live, strict=True) if live]
    gaps = [np.abs(mine - first).max() for state in states for mine, first in zip(state, states[0], strict=True)]
    return len(states) > 1 and max(gaps) < SAME_STATE


# ------------------------------------------------------------------------------------------------- against the oracle


@each_top_k
@pytest.mark.parametrize("alpha", [0.3, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("beam_size", [1, 2, 3, 4])
@pytest.mark.parametrize("augmented", [False, True], ids=["model scores", "cost-augmented"])
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_the_relaxed_beam_is_the_oracles(problem, augmented, beam_size, alpha, top_k):
    batch = random_batch(beam_size, **problem)
    found = search(batch, beam_size, alpha, top_k, augmented)
    for b in range(len(batch.models)):
        expected = oracle_search(batch, b, beam_size, alpha, top_k, augmented)
        live = expected.live
        assert found.live[b].tolist() == live.tolist()
        np.testing.assert_allclose(found.scores[b, live], expected.scores[live], rtol=1e-9)
        np.testing.assert_allclose(found.costs[b, live], expected.costs[live], rtol=1e-9, atol=1e-12)
        assert bool(found.collapsed[b]) == oracle_collapsed(expected)


def has_distinct_beams(expected: oracles.RelaxedBeam) -> bool:
    """Whether the largest weights are no ties: beams that agree offer the same candidates, and stay together."""
    scores = np.sort(expected.scores[expected.live])
    return bool((np.diff(scores) > 1e-5).all())


@each_top_k
@pytest.mark.parametrize("alpha", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("beam_size", [1, 2, 3, 4])
@pytest.mark.parametrize("augmented", [False, True], ids=["model scores", "cost-augmented"])
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_hard_backpointers_hypotheses_and_their_distance_are_the_oracles(problem, augmented, beam_size, alpha, top_k):
    def expect(batch: Batch) -> list[oracles.RelaxedBeam]:
        every = range(len(batch.models))
        return [oracle_search(batch, b, beam_size, alpha, top_k, augmented) for b in every]

    batch = first_that(lambda seed: random_batch(seed, **problem), lambda b: all(map(has_distinct_beams, expect(b))))
    found = search(batch, beam_size, alpha, top_k, augmented)
    sequences, distances = hypotheses(found), beam_distance(found, batch.lengths)
    pointers = torch.stack([found.beams, found.tokens], dim=3)  # (B, T, K, 2)
    for b, expected in enumerate(expect(batch)):
        length, live = int(batch.lengths[b]), expected.live
        assert pointers[b, :length, 0].tolist() == [list(step[0]) for step in expected.backpointers]
        read = [oracles.follow_backpointers(expected.backpointers, j) for j in live.nonzero()[0]]
        assert sequences[b, live, :length].tolist() == read
        assert float(distances[b]) == pytest.approx(oracles.beam_distance(read))


@each_top_k
@pytest.mark.parametrize("alpha", [0.3, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_the_objectives_are_the_oracles(problem, beam_size, alpha, top_k):
    batch = random_batch(7, **problem)
    losses, violations = direct(batch, beam_size, alpha, top_k), hinge(batch, beam_size, alpha, top_k)
    for b in range(len(batch.models)):
        plain = oracle_search(batch, b, beam_size, alpha, top_k, False)
        augmented = oracle_search(batch, b, beam_size, alpha, top_k, True)
        gold_score = oracles.gold_score(batch.models[b], batch.gold_of(b))
        assert float(losses[b]) == pytest.approx(oracles.direct_objective(plain, alpha), rel=1e-9)
        assert float(violations[b]) == pytest.approx(oracles.hinge_objective(augmented, alpha, gold_score), rel=1e-9)


def test_hinge_is_zero_where_the_gold_wins_by_more_than_its_margin():
    scores, gold_scores = torch.tensor([[-1.0, -5.0], [-1.0, -5.0]]), torch.tensor([0.0, -3.0])
    shape = torch.zeros(2, 1, 2, dtype=torch.long)
    result = SoftBeam(scores, scores, torch.ones(2, 2, dtype=torch.bool), shape, shape, torch.zeros(2) > 0)
    assert hinge_objective(result, HARD, gold_scores).tolist() == [0.0, 2.0]


def test_states_that_agree_are_collapsed_and_states_that_do_not_are_not():
    batch = random_batch(0, lengths=(5, 1))
    assert search(batch, 3, 0.05).collapsed.tolist() == [True, True]
    assert search(batch, 3, 1e4).collapsed[0].item() is False
    assert search(batch, 1, 0.05).collapsed.tolist() == [False, False]  # a single beam cannot


def test_beam_distance_of_a_single_live_hypothesis_is_zero():
    batch = random_batch(0, vocabulary=3, masked=[1, 2])
    assert beam_distance(search(batch, 3, 1.0), batch.lengths).tolist() == [0.0] * len(batch.lengths)


# ---------------------------------------------------------------------------------------------------------- the limits


def best_of_beam_search(batch: Batch, b: int, beam_size: int) -> oracles.Hypothesis:
    prefix_model = oracles.as_prefix_model(batch.models[b])
    return oracles.beam_search(prefix_model, int(batch.lengths[b]), beam_size, batch.candidate_list)[0]


def cost_of(batch: Batch, b: int, tokens) -> float:
    costs = batch.token_costs_of(b)
    return oracles.sequence_cost(tokens, batch.gold_of(b), lambda t, token: costs[t, token])


@each_top_k
@pytest.mark.parametrize("beam_size", [1, 2, 3, 4])
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
@pytest.mark.parametrize("seed", range(3))
def test_large_alpha_gives_the_cost_of_what_beam_search_returns(seed, problem, beam_size, top_k):
    batch = hard_batch(seed, HARD, beam_size, **problem)
    found = search(batch, beam_size, HARD, top_k)
    losses, sequences = direct_objective(found, HARD), hypotheses(found)
    for b, length in enumerate(batch.lengths.tolist()):
        best = best_of_beam_search(batch, b, beam_size)
        assert float(losses[b]) == pytest.approx(cost_of(batch, b, best.tokens), abs=1e-8)
        assert float(found.scores[b, 0]) == pytest.approx(best.score, abs=1e-8)
        assert sequences[b, 0, :length].tolist() == list(best.tokens)


@each_top_k
@pytest.mark.parametrize("seed", range(3))
def test_large_alpha_and_one_beam_give_the_cost_of_greedy_search(seed, top_k):
    batch = hard_batch(seed, HARD, beam_size=1)
    losses = direct(batch, 1, HARD, top_k)
    for b, model in enumerate(batch.models):
        greedy = oracles.greedy(oracles.as_prefix_model(model), int(batch.lengths[b]), batch.candidate_list)
        assert float(losses[b]) == pytest.approx(cost_of(batch, b, greedy.tokens), abs=1e-8)


@each_top_k
@pytest.mark.parametrize("seed", range(2))
def test_large_alpha_and_a_beam_as_wide_as_the_space_give_the_cost_of_the_exact_best(seed, top_k):
    options = {"vocabulary": 2, "lengths": (4, 2)}
    beam_size = 2**4
    batch = hard_batch(seed, HARD, beam_size, **options)
    losses = direct(batch, beam_size, HARD, top_k)
    for b, model in enumerate(batch.models):
        best = oracles.enumerate_best(oracles.as_prefix_model(model), int(batch.lengths[b]), range(2))
        assert float(losses[b]) == pytest.approx(cost_of(batch, b, best.tokens), abs=1e-8)


@each_top_k
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 1e4])
@each_objective
def test_float32_losses_are_those_of_float64(objective, alpha, top_k):
    batch = random_batch(3)
    narrow = batch._replace(
        step=batch.step.with_parameters([p.float() for p in batch.step.parameters]), wrong=batch.wrong.float()
    )
    losses = objective(narrow, 3, alpha, top_k)
    assert losses.dtype == torch.float32
    # float32 scores near 10 are right to 1e-6, and a weight moves by alpha * gap times that: 1e-4 for a gap of 0.01
    torch.testing.assert_close(losses.double(), objective(batch, 3, alpha, top_k), rtol=1e-3, atol=1e-3)


# -------------------------------------------------------------------------------------------------------- the gradient


def gradients(objective, batch: Batch, top_k: str, alpha: float = 3.0, beam_size: int = 3) -> list[torch.Tensor]:
    return list(torch.autograd.grad(objective(batch, beam_size, alpha, top_k).sum(), batch.step.parameters))


@each_top_k
@each_objective
@pytest.mark.parametrize("alpha", [0.5, 4.0])
def test_gradients_of_all_parameters_are_those_of_finite_differences(objective, alpha, top_k):
    batch = random_batch(5, lengths=(3, 2), vocabulary=3, hidden=2, requires_grad=True)

    def losses(*parameters):
        return objective(batch._replace(step=batch.step.with_parameters(parameters)), 2, alpha, top_k)

    assert torch.autograd.gradcheck(losses, batch.step.parameters)


@each_top_k
@each_objective
def test_the_plain_form_recomputes_its_weights_and_changes_no_gradient(objective, top_k, monkeypatch):
    batch = plainly(random_batch(6, requires_grad=True))
    recomputed = gradients(objective, batch, top_k)
    monkeypatch.setattr(selection, "checkpoint", lambda function, *arguments, **options: function(*arguments))
    torch.testing.assert_close(recomputed, gradients(objective, batch, top_k), rtol=1e-12, atol=1e-12)


@each_top_k
@each_objective
@pytest.mark.parametrize("alpha", [3.0, 30.0, 1e3, 1e6])
def test_looking_at_the_nearest_candidates_only_changes_no_gradient(objective, alpha, top_k, monkeypatch):
    batch = random_batch(6, vocabulary=150, requires_grad=True)
    truncated, plain = gradients(objective, batch, top_k, alpha), gradients(objective, plainly(batch), top_k, alpha)
    monkeypatch.setattr(choice, "select", selection.select_from_all)
    whole = gradients(objective, plainly(batch), top_k, alpha)
    torch.testing.assert_close(truncated, whole, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(plain, whole, rtol=1e-9, atol=1e-9)


@each_top_k
@each_objective
def test_a_second_backward_through_the_same_graph_gives_the_same_gradient(objective, top_k):
    batch = random_batch(8, requires_grad=True)
    loss = objective(batch, 3, 3.0, top_k).sum()
    first = torch.autograd.grad(loss, batch.step.parameters, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(loss, batch.step.parameters), first, rtol=0, atol=0)


@each_top_k
@each_objective
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 1e4, 1e8])
def test_gradients_are_finite_with_masked_tokens_and_dead_beams(objective, problem, alpha, top_k):
    batch = random_batch(9, requires_grad=True, **problem)
    for gradient in gradients(objective, batch, top_k, alpha, beam_size=4):
        assert torch.isfinite(gradient).all()


def test_masked_tokens_embeddings_get_no_gradient():
    batch = random_batch(9, vocabulary=5, masked=[3], requires_grad=True)
    embedding = gradients(direct, batch, "squared-distance")[0]
    assert not embedding[3].any()
    assert embedding[2].any()


# ------------------------------------------------------------------------------------------------ what must not matter


@each_top_k
@each_objective
@given(lengths=st.lists(st.integers(1, 4), min_size=1, max_size=4), seed=st.integers(0, 50))
def test_a_sentences_loss_and_gradient_do_not_depend_on_its_batch(objective, top_k, lengths, seed):
    batch = random_batch(seed, lengths=lengths, requires_grad=True)
    together, losses = gradients(objective, batch, top_k), objective(batch, 3, 3.0, top_k)
    sums = [torch.zeros_like(gradient) for gradient in together]
    for b in range(len(lengths)):
        alone = batch.sentences([b])
        torch.testing.assert_close(objective(alone, 3, 3.0, top_k)[0], losses[b], rtol=1e-10, atol=1e-10)
        own = torch.autograd.grad(objective(alone, 3, 3.0, top_k).sum(), batch.step.parameters)
        sums = [total + gradient for total, gradient in zip(sums, own, strict=True)]
        for name, position in (("start_h", -2), ("start_c", -1)):  # what only this sentence has
            torch.testing.assert_close(own[position][b], together[position][b], rtol=1e-9, atol=1e-10, msg=name)
    torch.testing.assert_close(sums, together, rtol=1e-9, atol=1e-10)


@each_objective
@given(filler=st.lists(st.integers(0, 3), min_size=1, max_size=3), seed=st.integers(0, 50))
def test_what_fills_the_gold_up_after_a_sentences_end_does_not_matter(objective, filler, seed):
    batch = random_batch(seed)
    columns = torch.tensor(filler).expand(len(batch.gold), -1)
    longer = torch.cat([batch.gold, columns], dim=1)
    inside = torch.arange(longer.size(1)) < batch.lengths.unsqueeze(1)
    filled = batch._replace(gold=torch.where(inside, longer, filler[0]))
    torch.testing.assert_close(objective(filled, 3, 3.0), objective(batch, 3, 3.0), rtol=0, atol=0)


@each_top_k
def test_the_order_of_the_sentences_does_not_matter(top_k):
    batch = random_batch(2)
    losses = direct(batch, 3, 3.0, top_k)
    turned = direct(batch.sentences([2, 0, 1]), 3, 3.0, top_k)
    torch.testing.assert_close(turned, losses[[2, 0, 1]], rtol=1e-12, atol=1e-12)


class RelativeScores(TorchRecurrence):
    """Scores relative to token 0's: what is left of log-probs when their normaliser may not matter."""

    output = None  # more than a product and a log-softmax

    def scores(self, features):
        scores = super().scores(features)
        return scores - scores[:, :1]


@each_top_k
def test_tokens_that_are_masked_are_as_good_as_absent(top_k):
    batch = random_batch(2, vocabulary=5, masked=[3])
    weights, left = batch.step.weights, torch.tensor([0, 1, 2, 4])
    fewer = {name: t[left] if name in ("embedding", "O") else t for name, t in weights.items()}
    starts = batch.step.start_h, batch.step.start_c
    absent = batch._replace(
        step=RelativeScores(fewer, *starts),
        gold=torch.searchsorted(left, batch.gold),
        wrong=batch.wrong[left],
        candidates=batch.candidates[left],
    )
    masked = batch._replace(step=RelativeScores(weights, *starts))
    torch.testing.assert_close(direct(masked, 3, 3.0, top_k), direct(absent, 3, 3.0, top_k), rtol=1e-10, atol=1e-12)


# ---------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, "`alpha` must be a positive number, got 0.0"),
        ({"alpha": -1.0}, "`alpha` must be a positive number, got -1.0"),
        ({"alpha": math.nan}, "`alpha` must be a positive number, got nan"),
        ({"alpha": math.inf}, "`alpha` must be a positive number, got inf"),
        ({"beam_size": 0}, "`beam_size` must be at least 1, got 0"),
        ({"top_k": "hard"}, "`top_k` must be one of squared-distance, successive, got hard"),
        ({"candidates": torch.zeros(4, dtype=torch.bool)}, "`candidates` must be a bool vector .* at least one True"),
        ({"candidates": torch.ones(4)}, "`candidates` must be a bool vector .* at least one True"),
    ],
)
def test_arguments_out_of_range_are_refused(change, message):
    batch = random_batch(0)
    arguments = {"beam_size": 2, "alpha": 1.0, "candidates": batch.candidates, "top_k": "successive", **change}
    with pytest.raises(ValueError, match=message):
        soft_beam(batch.step, batch.lengths, batch.costs, **arguments)


@each_objective
def test_the_final_softmax_refuses_a_bad_alpha_too(objective):
    batch = random_batch(0)
    result, gold_scores = search(batch, 2, 1.0), batch.lengths.double()
    with pytest.raises(ValueError, match="`alpha` must be a positive number, got 0.0"):
        direct_objective(result, 0.0) if objective is direct else hinge_objective(result, 0.0, gold_scores)
