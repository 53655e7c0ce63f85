"""The oracle of training through a hard beam: against what was worked out by hand, and in its limits."""

import math

import beam_training_oracle as oracle
import oracles
import pytest
import torch

V, LENGTH, GOLD = 3, 3, (2, 0, 1)
ALL = range(V)


class Table:
    """Local scores by prefix, each a leaf whose gradient can be asked for."""

    def __init__(self, scores):
        self.scores = {
            prefix: torch.as_tensor(values, dtype=torch.float64).clone().requires_grad_()
            for prefix, values in scores.items()
        }

    def __call__(self, prefix):
        return self.scores[prefix]

    def plain(self, prefix):
        return self.scores[prefix].detach().numpy()

    def gradient(self, loss):
        """Of each prefix whose scores `loss` depends on, as a list (V,)."""
        found = torch.autograd.grad(loss, list(self.scores.values()), allow_unused=True)
        rows = zip(self.scores, found, strict=True)
        return {prefix: row.tolist() for prefix, row in rows if row is not None and row.any()}


def random_table(seed, log_probs=False):
    draws = torch.Generator().manual_seed(seed)
    table = {}
    for t in range(LENGTH):
        for prefix in oracle.all_sequences(ALL, t):
            values = torch.randn(V, generator=draws, dtype=torch.float64)
            table[prefix] = values.log_softmax(0) if log_probs else values
    return Table(table)


def by_hand():
    """Two tokens, two steps: s(0) = 1, s(1) = 0; s(00) = 1, s(01) = 1.5, s(10) = 2, s(11) = 0.25."""
    return Table({(): [1.0, 0.0], (0,): [0.0, 0.5], (1,): [2.0, 0.25]})


def number(scalar):
    return scalar.item()


each_seed = pytest.mark.parametrize("seed", range(5))


# Searches


@each_seed
def test_the_last_beam_is_the_other_oracles(seed):
    table = random_table(seed)
    for beam in (1, 2, 4, V**LENGTH):
        expected = oracles.beam_search(table.plain, LENGTH, beam, ALL)
        assert oracle.beam_search(table, LENGTH, beam, ALL)[-1] == [hypothesis.tokens for hypothesis in expected]


@each_seed
def test_a_beam_of_one_is_greedy_search(seed):
    table = random_table(seed)
    greedy = oracles.greedy(table.plain, LENGTH, ALL).tokens
    assert oracle.beam_search(table, LENGTH, 1, ALL) == [[greedy[:t]] for t in range(1, LENGTH + 1)]


def test_beams_by_hand():
    # Step 1 ranks 0 (1) before 1 (0). Step 2 ranks 10 (2), 01 (1.5), 00 (1), 11 (0.25).
    assert oracle.beam_search(by_hand(), 2, 1, [0, 1]) == [[(0,)], [(0, 1)]]
    assert oracle.beam_search(by_hand(), 2, 3, [0, 1]) == [[(0,), (1,)], [(1, 0), (0, 1), (0, 0)]]
    assert oracle.beam_search(by_hand(), 2, 3, [1]) == [[(1,)], [(1, 1)]]


def test_enumerations():
    assert oracle.all_sequences([0, 4], 2) == [(0, 0), (0, 4), (4, 0), (4, 4)]
    assert oracle.all_sequences([0, 4], 0) == [()]
    assert oracle.all_ended_sequences([0, 2, 4], 2, 2) == [(2,), (0, 2), (4, 2)]
    assert len(oracle.all_ended_sequences([0, 4], 2, 3)) == 1 + 2 + 4


# Global likelihood


@pytest.mark.parametrize(
    ("update", "gold", "losses"),
    [
        # Beam 1. Step 1 keeps 0 (1) and loses gold 1 (0): log(e^1 + e^0) - 0 = 1.3133. Then:
        # early stops; full-sequence ends with 01 (1.5) against gold 10 (2): log(e^1.5 + e^2) - 2 = 0.4741;
        # every-step goes on from 1, keeps 10 (2), which is gold: log(e^2) - 2 = 0.
        ("early", (1, 0), {1: math.log(1 + math.e)}),
        ("full-sequence", (1, 0), {2: math.log(1 + math.exp(-0.5))}),
        ("every-step", (1, 0), {1: math.log(1 + math.e), 2: 0.0}),
        # Gold 11 (0.25) is lost at the last step as well, after a reset to 1: log(e^2 + e^0.25) - 0.25 = 1.9102, once.
        ("every-step", (1, 1), {1: math.log(1 + math.e), 2: math.log(1 + math.exp(1.75))}),
        # Gold 00 (1) stays until the last step, which keeps 01 (1.5): log(e^1.5 + e^1) - 1 = 0.9741, once.
        ("early", (0, 0), {2: math.log(1 + math.exp(0.5))}),
        ("every-step", (0, 0), {2: math.log(1 + math.exp(0.5))}),
    ],
)
def test_global_likelihood_by_hand(update, gold, losses):
    found = oracle.global_likelihood(by_hand(), gold, 1, [0, 1], update)
    assert {step.step: number(step.loss) for step in found.steps} == pytest.approx(losses, abs=1e-12)
    assert number(found.loss) == pytest.approx(sum(losses.values()))


def test_exact_global_likelihood_by_hand():
    # e^1 + e^1.5 + e^2 + e^0.25 = 2.718282 + 4.481689 + 7.389056 + 1.284025 = 15.873052, its log 2.764623; gold has 2.
    assert number(oracle.exact_global_likelihood(by_hand(), (1, 0), [0, 1])) == pytest.approx(0.764623, abs=1e-6)


def test_the_gradient_of_global_likelihood_is_expected_less_gold_counts():
    # Beam 1, full sequence: 01 (1.5) against gold 10 (2); p(01) = 1 / (1 + e^0.5) = 0.377541.
    table = by_hand()
    loss = oracle.global_likelihood(table, (1, 0), 1, [0, 1], "full-sequence").loss
    p = 0.3775406687981454
    expected = {(): [p, -p], (0,): [0.0, p], (1,): [-p, 0.0]}
    found = table.gradient(loss)
    assert found.keys() == expected.keys()
    assert all(found[prefix] == pytest.approx(expected[prefix]) for prefix in expected)


@each_seed
@pytest.mark.parametrize("update", oracle.UPDATES)
def test_a_full_beam_gives_the_exact_likelihood(seed, update):
    table = random_table(seed)
    found = oracle.global_likelihood(table, GOLD, V**LENGTH, ALL, update)
    exact = oracle.exact_global_likelihood(table, GOLD, ALL)
    assert number(found.loss) == pytest.approx(number(exact))
    ours, theirs = table.gradient(found.loss), table.gradient(exact)
    assert ours.keys() == theirs.keys()
    assert all(ours[prefix] == pytest.approx(theirs[prefix]) for prefix in theirs)


@each_seed
def test_all_updates_agree_on_a_gold_sequence_that_is_never_lost(seed):
    table = random_table(seed)
    gold = oracle.beam_search(table, LENGTH, 2, ALL)[-1][1]  # the second of the last beam
    losses = [number(oracle.global_likelihood(table, gold, 2, ALL, update).loss) for update in oracle.UPDATES]
    assert losses == pytest.approx([losses[0]] * 3)
    assert losses[0] > math.log(2)  # the better one has more than half of the mass


def test_with_log_probs_the_exact_likelihood_is_cross_entropy():
    table = random_table(0, log_probs=True)
    cross_entropy = -sum(number(table(GOLD[:t])[GOLD[t]]) for t in range(LENGTH))
    assert number(oracle.exact_global_likelihood(table, GOLD, ALL)) == pytest.approx(cross_entropy)


@pytest.mark.parametrize(("update", "loss"), [("early", math.log(1 + math.e)), ("full-sequence", math.log(2.25))])
def test_a_gold_token_that_is_no_candidate_is_never_found(update, loss):
    # Only 0 is searched, gold is 11. early: step 1 has 0 (1) against 1 (0).
    # full-sequence: 00 against 11, with s(00) = 0.25 + log(1.25) the partition is e^0.25 (1.25 + 1).
    table = Table({(): [1.0, 0.0], (0,): [math.log(1.25) - 0.75, 9.0], (1,): [9.0, 0.25]})
    assert number(oracle.global_likelihood(table, (1, 1), 3, [0], update).loss) == pytest.approx(loss)


# Beam search optimization


@pytest.mark.parametrize(
    ("gold", "beam", "options", "losses"),
    [
        # Beam 1, gold 11. Step 1: violator 0 (1) against 0: 1 - 0 + 1 = 2. Reset to 1.
        # Step 2: violator 10 (2) against 11 (0.25): 1 - 0.25 + 2 = 2.75.
        ((1, 1), 1, {}, {1: 2.0, 2: 2.75}),
        ((1, 1), 1, {"violation": "early-stop"}, {1: 2.0}),
        # Hamming: 0 differs from 1 in 1 of 1 positions, 10 from 11 in 1 of 2.
        ((1, 1), 1, {"delta": oracle.hamming_share}, {1: 2.0, 2: 1.375}),
        # A violator that costs nothing still resets: otherwise step 2 would compare with 01 (1.5).
        ((1, 1), 1, {"delta": lambda found, gold: float(len(found) - 1)}, {1: 0.0, 2: 2.75}),
        # Beam 2: at step 1 there is one competitor only, and it is taken.
        ((1, 1), 2, {}, {1: 2.0, 2: 2.75}),
        # Gold 01. Step 1: 0 (1) is exactly 1 above 1 (0), which is no violation, so that the beam is kept.
        # Step 2, beam 1: 00 (1) against 01 (1.5): 1 - 1.5 + 1 = 0.5.
        ((0, 1), 1, {}, {2: 0.5}),
        # Beam 2: the best competitor counts at the last step, 10 (2), not the second, 00 (1): 1 - 1.5 + 2 = 1.5.
        ((0, 1), 2, {}, {2: 1.5}),
        # Margin 0.25: step 2 of beam 1 has 0.25 - 1.5 + 1 < 0.
        ((0, 1), 1, {"margin": 0.25}, {}),
    ],
)
def test_beam_search_optimization_by_hand(gold, beam, options, losses):
    options = {"delta": oracle.constant_cost, **options}
    found = oracle.beam_search_optimization(by_hand(), gold, beam, [0, 1], **options)
    assert {step.step: number(step.loss) for step in found.steps} == pytest.approx(losses)
    assert number(found.loss) == pytest.approx(sum(losses.values()))


def test_the_violator_is_ranked_without_the_gold_prefix():
    # Step 1 ranks 0 (2), gold 1 (1), 2 (0). With beam 2 the second competitor is 2 (0): 1 - 1 + 0 = 0, no violation.
    # With beam 1 it is 0 (2): 1 - 1 + 2 = 2. Step 2 is right by far, s(11) = 9.
    table = Table({(): [2.0, 1.0, 0.0], (0,): [-9.0] * 3, (1,): [-9.0, 8.0, -9.0], (2,): [-9.0] * 3})
    losses = [
        number(oracle.beam_search_optimization(table, (1, 1), beam, ALL, oracle.constant_cost).loss) for beam in (1, 2)
    ]
    assert losses == pytest.approx([2.0, 0.0])


def test_the_gradient_of_beam_search_optimization_goes_through_the_tokens_before_a_reset():
    # Gold 11, beam 1. Step 1: + on 0, - on 1. Step 2, after the reset: + on 10, - on 11, whose first tokens cancel.
    table = by_hand()
    found = oracle.beam_search_optimization(table, (1, 1), 1, [0, 1], oracle.constant_cost)
    assert table.gradient(found.loss) == {(): [1.0, -1.0], (1,): [1.0, -1.0]}


def test_without_competitors_there_is_no_loss_and_a_gradient_of_zero():
    table = by_hand()
    found = oracle.beam_search_optimization(table, (1, 1), 2, [1], oracle.constant_cost)
    assert found.steps == [] and number(found.loss) == 0.0
    assert table.gradient(found.loss) == {}


# Minimum risk


@pytest.mark.parametrize(
    ("sequences", "sharpness", "add_gold", "risk"),
    [
        # Gold 10 (2) costs 0; 00 (1) differs in one of two positions and costs 0.5.
        ([(0, 0), (1, 0)], 1.0, False, 0.5 / (1 + math.e)),
        ([(0, 0), (1, 0)], 0.5, False, 0.5 / (1 + math.exp(0.5))),
        ([(0, 0), (1, 0)], 0.0, False, 0.25),
        ([(0, 0), (1, 0), (0, 0), (0, 0)], 1.0, False, 0.5 / (1 + math.e)),  # drawn three times, one candidate
        ([(0, 0)], 1.0, False, 0.5),
        ([(0, 0)], 1.0, True, 0.5 / (1 + math.e)),
        ([(0, 0), (1, 0)], 1.0, True, 0.5 / (1 + math.e)),
    ],
)
def test_minimum_risk_by_hand(sequences, sharpness, add_gold, risk):
    found = oracle.minimum_risk(by_hand(), (1, 0), sequences, sharpness, oracle.hamming_share, add_gold)
    assert number(found) == pytest.approx(risk)


def test_the_gradient_of_minimum_risk_by_hand():
    # d risk / d s(y) = a Q(y) (cost(y) - risk), with a = 2, Q(00) = 1 / (1 + e^2) = 0.119203, risk = Q(00) / 2:
    # for 00 2 * 0.119203 * (0.5 - 0.0596015) = 0.104994, for 10 the opposite.
    table = by_hand()
    gradient = table.gradient(oracle.minimum_risk(table, (1, 0), [(0, 0), (1, 0)], 2.0, oracle.hamming_share))
    expected = {(): [0.104994, -0.104994], (0,): [0.104994, 0.0], (1,): [-0.104994, 0.0]}
    assert gradient.keys() == expected.keys()
    assert all(gradient[prefix] == pytest.approx(expected[prefix], abs=1e-6) for prefix in expected)


@each_seed
def test_all_sequences_as_candidates_give_the_exact_expected_risk(seed):
    table = random_table(seed, log_probs=True)
    everything = oracle.all_sequences(ALL, LENGTH)
    risk = oracle.minimum_risk(table, GOLD, everything, 1.0, oracle.hamming_share)
    exact = oracle.exact_expected_risk(table, GOLD, everything, oracle.hamming_share)
    assert number(risk) == pytest.approx(number(exact))


def test_expected_risk_by_hand():
    # Each step is right with probability 1/4, then 1/2: the share of wrong positions is (3/4 + 1/2) / 2 in expectation.
    halves = [math.log(0.5)] * 2
    table = Table({(): [math.log(0.25), math.log(0.75)], (0,): halves, (1,): halves})
    found = oracle.exact_expected_risk(table, (0, 1), oracle.all_sequences([0, 1], 2), oracle.hamming_share)
    assert number(found) == pytest.approx(0.625)


def test_sequences_that_end_in_eos():
    # EOS is 1; after 0 comes EOS for sure. p(1) = 0.25 and p(01) = 0.75, and a wrong length costs 1.
    table = Table({(): [math.log(0.75), math.log(0.25)], (0,): [-50.0, 0.0]})
    ended = oracle.all_ended_sequences([0, 1], 1, 2)
    cost = oracle.without_end(lambda found, gold: float(len(found) != len(gold)), eos=1)
    assert number(oracle.exact_expected_risk(table, (0, 1), ended, cost)) == pytest.approx(0.25)
    assert number(oracle.minimum_risk(table, (0, 1), ended, 1.0, cost)) == pytest.approx(0.25)


# What is refused, and nothing to do


def test_an_empty_gold_sequence_costs_nothing():
    for update in oracle.UPDATES:
        assert number(oracle.global_likelihood(by_hand(), (), 1, [0, 1], update).loss) == 0.0
    assert number(oracle.beam_search_optimization(by_hand(), (), 1, [0, 1], oracle.constant_cost).loss) == 0.0


def test_what_makes_no_sense_is_refused():
    table = by_hand()
    with pytest.raises(ValueError, match="`beam` must be at least 1, got 0"):
        oracle.global_likelihood(table, (1, 0), 0, [0, 1], "early")
    with pytest.raises(ValueError, match="`update` must be one of .*, got 'late'"):
        oracle.global_likelihood(table, (1, 0), 1, [0, 1], "late")
    with pytest.raises(ValueError, match="`violation` must be one of .*, got 'ignore'"):
        oracle.beam_search_optimization(table, (1, 0), 1, [0, 1], oracle.constant_cost, violation="ignore")
    with pytest.raises(ValueError, match="at least one candidate, got none"):
        oracle.minimum_risk(table, (1, 0), [], 1.0, oracle.hamming_share)
    with pytest.raises(ValueError, match="must sum to 1, got 0.25"):
        table = Table({(): [math.log(0.75), math.log(0.25)]})
        oracle.exact_expected_risk(table, (1,), [(1,)], oracle.hamming_share)
