"""The rivals against their oracle: values and gradients, of beams that are narrow and of beams as wide as the space."""

import math
from contextlib import contextmanager

import beam_training_oracle as oracle
import pytest
import torch
from builders import PrefixTable, random_batch
from hypothesis import given
from hypothesis import strategies as st

from seqsearch_fairseq.algorithms.beam_training.beam_search_optimization import (
    beam_search_optimization,
    constant_cost,
)
from seqsearch_fairseq.algorithms.beam_training.candidates import Candidates, find_candidates
from seqsearch_fairseq.algorithms.beam_training.global_likelihood import UPDATES, global_likelihood
from seqsearch_fairseq.algorithms.beam_training.minimum_risk import minimum_risk
from seqsearch_fairseq.algorithms.sequence_costs import FILL, edit_distance, hamming_distance, normalised_hamming

V, LENGTHS = 3, (4, 1, 3)
EXACT = {"rtol": 1e-10, "atol": 1e-10}
WIDE = 200  # more than the space holds
EOS = 1


class Problem:
    """Sentences of a random table, for the code and for the oracle; `masked` tokens are no candidates."""

    def __init__(self, seed: int, lengths=LENGTHS, masked=(), spread: float = 1.0):
        self.step = PrefixTable.random(seed, len(lengths), max(lengths), V)
        self.tables = [(spread * table).requires_grad_() for table in self.step.tables]
        self.step.tables = self.tables
        self.lengths = torch.tensor(lengths)
        self.allowed = [v for v in range(V) if v not in masked]
        self.candidates = torch.tensor([v in self.allowed for v in range(V)])
        self.gold = torch.randint(V, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(seed))

    def score(self, b: int) -> oracle.Score:
        def local(prefix: oracle.Tokens) -> torch.Tensor:
            code = 0
            for token in prefix:
                code = code * V + token
            return self.tables[len(prefix)][b, code]

        return local

    def gold_of(self, b: int) -> oracle.Tokens:
        return tuple(self.gold[b, : self.lengths[b]].tolist())

    def searched(self, algorithm, beam_size: int, **options):
        scores = self.step.scores_after(self.gold)
        return algorithm(self.step, self.gold, self.lengths, scores, beam_size, self.candidates, **options)

    def compare(self, losses: torch.Tensor, expected: list[torch.Tensor]) -> None:
        """The losses (B,), and the gradients of their sum in every entry of the table."""
        compare(losses, expected, self.tables)


def compare(losses: torch.Tensor, expected: list[torch.Tensor], leaves: list[torch.Tensor]) -> None:
    torch.testing.assert_close(losses, torch.stack(expected), **EXACT)
    ours, theirs = (torch.autograd.grad(total.sum(), leaves) for total in (losses, torch.stack(expected)))
    for found, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, wanted, **EXACT)


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("beam_size", [1, 2, 4, WIDE])
@pytest.mark.parametrize("masked", [(), (2,)])
@pytest.mark.parametrize("seed", range(3))
def test_global_likelihood(seed, masked, beam_size, update):
    problem = Problem(seed, masked=masked)  # gold tokens may be masked
    found = problem.searched(global_likelihood, beam_size, update=update)
    expected = [
        oracle.global_likelihood(problem.score(b), problem.gold_of(b), beam_size, problem.allowed, update)
        for b in range(len(LENGTHS))
    ]
    problem.compare(found.losses, [sentence.loss for sentence in expected])
    if update != "full-sequence":  # whose oracle does not say where the gold was lost
        lost = [
            [step.step / length for step in sentence.steps if problem.gold_of(b)[: step.step] not in step.prefixes]
            for b, (sentence, length) in enumerate(zip(expected, LENGTHS, strict=True))
        ]
        assert found.falls.tolist() == [len(places) for places in lost]
        torch.testing.assert_close(found.fall_places, torch.tensor([float(sum(places)) for places in lost]))


@pytest.mark.parametrize("update", ["early", "full-sequence"])
def test_over_the_whole_space_the_global_likelihood_is_exact(update):
    problem = Problem(5)
    found = problem.searched(global_likelihood, WIDE, update=update)
    exact = [oracle.exact_global_likelihood(problem.score(b), problem.gold_of(b), range(V)) for b in range(3)]
    problem.compare(found.losses, exact)
    assert found.falls.sum() == 0


DELTAS = {"constant": (constant_cost, oracle.constant_cost), "hamming": (normalised_hamming, oracle.hamming_share)}


@pytest.mark.parametrize("violation", ["reset", "early-stop"])
@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("margin", [0.0, 1.0])
@pytest.mark.parametrize("beam_size", [1, 2, 4, WIDE])
@pytest.mark.parametrize("masked", [(), (2,)])
def test_beam_search_optimization(masked, beam_size, margin, delta, violation):
    cost, plain_cost = DELTAS[delta]
    for seed in range(3):
        problem = Problem(seed, masked=masked)
        settings = {"margin": margin, "violation": violation}
        found = problem.searched(beam_search_optimization, beam_size, cost=cost, **settings)
        expected = [
            oracle.beam_search_optimization(
                problem.score(b), problem.gold_of(b), beam_size, problem.allowed, plain_cost, **settings
            )
            for b in range(len(LENGTHS))
        ]
        problem.compare(found.losses, [sentence.loss for sentence in expected])
        assert found.violations.tolist() == [len(sentence.steps) for sentence in expected]


@pytest.mark.parametrize("with_gold", [False, True])
@pytest.mark.parametrize("sharpness", [1.0, 0.3])
@pytest.mark.parametrize("beam_size", [1, 3, WIDE])
@pytest.mark.parametrize("masked", [(), (2,)])
def test_minimum_risk_of_outputs_of_a_known_length(masked, beam_size, sharpness, with_gold):
    problem = Problem(7, masked=masked)
    found = find_candidates(problem.step, problem.lengths, beam_size, problem.candidates, eos=None)
    scores = problem.step.scores_after(problem.gold)
    result = minimum_risk(
        problem.step, problem.gold, problem.lengths, scores, found, normalised_hamming, sharpness, with_gold
    )
    expected = []
    for b, length in enumerate(LENGTHS):
        beam = oracle.beam_search(problem.score(b), length, beam_size, problem.allowed)[-1]
        arguments = problem.gold_of(b), beam, sharpness, oracle.hamming_share
        expected.append(oracle.minimum_risk(problem.score(b), *arguments, add_gold=with_gold))
        assert [tuple(row[:length]) for row in found.tokens[b, found.live[b]].tolist()] == beam
        costs = [oracle.hamming_share(tokens, problem.gold_of(b)) for tokens in beam]
        if not with_gold:
            assert int(result.counts[b]) == len(beam)
            assert float(result.least_costs[b]) == pytest.approx(min(costs))
            assert float(result.best_costs[b]) == pytest.approx(costs[0])
    problem.compare(result.losses, expected)


def ended(rows: list[list[int]]) -> list[oracle.Tokens]:
    return [tuple(token for token in row if token != FILL) for row in rows]


@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("with_gold", [False, True])
def test_minimum_risk_over_all_outputs_that_end_by_themselves(extra, with_gold):
    problem = Problem(8, lengths=(3, 1, 2))
    problem.gold[problem.gold == EOS] = 0  # it ends every gold sequence, and is nowhere else
    problem.gold[torch.arange(3), problem.lengths - 1] = EOS
    limits = (problem.lengths + extra).clamp(max=3)
    found = find_candidates(problem.step, limits, WIDE, problem.candidates, EOS)
    scores = problem.step.scores_after(problem.gold)
    result = minimum_risk(
        problem.step, problem.gold, problem.lengths, scores, found, edit_distance, 0.5, with_gold, EOS
    )

    def cost(sequence: oracle.Tokens, gold: oracle.Tokens) -> float:
        rows = [torch.tensor([list(tokens) or [FILL]]) for tokens in (sequence, gold)]
        return float(edit_distance(*rows))

    expected = []
    for b in range(3):
        everything = oracle.all_ended_sequences(range(V), EOS, int(limits[b]))
        assert sorted(ended(found.tokens[b, found.live[b]].tolist())) == sorted(everything)
        price = oracle.without_end(cost, EOS)
        expected.append(oracle.minimum_risk(problem.score(b), problem.gold_of(b), everything, 0.5, price, with_gold))
    problem.compare(result.losses, expected)


def test_with_log_probs_and_all_sequences_the_risk_is_the_exact_expectation():
    batch = random_batch(2, requires_grad=True)
    found = find_candidates(batch.step, batch.lengths, 300, batch.candidates, eos=None)
    scores = batch.step.scores_after(batch.gold)
    result = minimum_risk(batch.step, batch.gold, batch.lengths, scores, found, hamming_distance)
    expected = []
    for b, length in enumerate(batch.lengths.tolist()):

        def log_probs(prefix, b=b):
            return batch.step.sentences([b]).scores_after(torch.tensor([[*prefix, 0]]))[0, -1]

        sequences = oracle.all_sequences(batch.candidate_list, length)
        share = oracle.exact_expected_risk(log_probs, tuple(batch.gold_of(b)), sequences, oracle.hamming_share)
        expected.append(length * share)
    compare(result.losses, expected, batch.step.parameters)


# --------------------------------------------------------------------------------------------- what holds for all three


def all_three(step, gold, lengths, candidates, beam_size: int) -> dict[str, torch.Tensor]:
    """The losses (B,) of every variant."""
    shared = step, gold, lengths, step.scores_after(gold)
    losses = {u: global_likelihood(*shared, beam_size, candidates, update=u).losses for u in UPDATES}
    for violation in ("reset", "early-stop"):
        found = beam_search_optimization(*shared, beam_size, candidates, normalised_hamming, violation=violation)
        losses[violation] = found.losses
    found = find_candidates(step, lengths, beam_size, candidates, eos=None)
    losses["risk"] = minimum_risk(*shared, found, normalised_hamming).losses
    return losses


@given(chosen=st.lists(st.integers(0, 2), min_size=1, max_size=4), beam_size=st.integers(1, 4))
def test_batched_is_one_by_one(chosen, beam_size):
    problem, lengths = Problem(1), torch.tensor(LENGTHS)
    gold = problem.gold[chosen, : int(lengths[chosen].max())]
    step = problem.step.sentences(chosen)
    together = all_three(step, gold, lengths[chosen], problem.candidates, beam_size)
    for b, sentence in enumerate(chosen):
        length = lengths[sentence : sentence + 1]
        step = problem.step.sentences([sentence])
        alone = all_three(step, gold[b : b + 1, : int(length)], length, problem.candidates, beam_size)
        for name, losses in together.items():
            torch.testing.assert_close(losses[b], alone[name][0], **EXACT)


def test_with_a_single_candidate_there_is_nothing_to_learn():
    problem = Problem(2, masked=(0, 2))
    problem.gold[:] = 1
    for losses in all_three(problem.step, problem.gold, problem.lengths, problem.candidates, 5).values():
        assert losses.tolist() == [0.0, 0.0, 0.0]
        for gradient in torch.autograd.grad(losses.sum(), problem.tables, allow_unused=True, retain_graph=True):
            assert gradient is None or not gradient.any()


def test_the_search_is_without_noise_and_the_scores_are_with_it():
    class Noisy(PrefixTable):
        quiet, calls = False, []

        @contextmanager
        def noise_free(self):
            self.quiet = True
            yield
            self.quiet = False

        def advance(self, inputs, state):
            self.calls.append(("search", self.quiet, torch.is_grad_enabled()))
            return super().advance(inputs, state)

        def teacher_forced_features(self, sentences, tokens):
            self.calls.append(("scores", self.quiet, torch.is_grad_enabled()))
            return PrefixTable(self.tables).teacher_forced_features(sentences, tokens)

    problem = Problem(3)
    all_three(Noisy(problem.tables), problem.gold, problem.lengths, problem.candidates, 2)
    assert set(Noisy.calls) == {("search", True, False), ("scores", False, True)}


def test_samples_follow_the_models_distribution_among_the_candidates():
    problem = Problem(4, lengths=(2, 2), masked=(2,))
    found = find_candidates(problem.step, problem.lengths, 4000, problem.candidates, EOS, "sample")
    assert bool(found.live.all())
    for b in range(2):
        drawn = ended(found.tokens[b].tolist())
        for sequence in oracle.all_ended_sequences(problem.allowed, EOS, 2):
            probability = 1.0
            for t, token in enumerate(sequence[:1]):  # at the limit the end of sentence is forced
                probability *= float(problem.score(b)(sequence[:t]).detach()[problem.allowed].softmax(0)[token])
            assert drawn.count(sequence) / 4000 == pytest.approx(probability, abs=0.03)


def test_samples_come_from_torchs_generator():
    def draw() -> torch.Tensor:
        torch.manual_seed(7)
        problem = Problem(4)
        return find_candidates(problem.step, problem.lengths, 20, problem.candidates, None, "sample").tokens

    assert torch.equal(draw(), draw())
    assert len(draw()[0].unique(dim=0)) > 1


def test_equal_candidates_count_once():
    problem = Problem(6)
    rows = torch.tensor([[0, 1, 2, 0], [1, 1, 1, 1], [0, 1, 2, 0], [0, 1, 2, 0]])
    rows = torch.stack([rows, rows, rows])
    rows[torch.arange(4) >= problem.lengths.view(-1, 1, 1).expand_as(rows)] = FILL
    found = Candidates(rows, torch.tensor([[True, True, True, False]] * 3))
    shared = problem.step, problem.gold, problem.lengths, problem.step.scores_after(problem.gold)
    result = minimum_risk(*shared, found, normalised_hamming)
    expected = [
        oracle.minimum_risk(problem.score(b), problem.gold_of(b), ended(rows[b].tolist()), 1.0, oracle.hamming_share)
        for b in range(3)
    ]
    problem.compare(result.losses, expected)
    assert result.counts.tolist() == [2, 2, 2]


def test_scores_that_are_no_number_are_not_hidden():
    problem = Problem(3)
    with torch.no_grad():
        problem.tables[0][1] = torch.nan
    shared = problem.step, problem.gold, problem.lengths
    for losses in all_three(*shared, problem.candidates, 2).values():
        assert losses.isnan().tolist() == [False, True, False]
    found = find_candidates(problem.step, problem.lengths, 2, problem.candidates, None, "sample")
    risk = minimum_risk(*shared, problem.step.scores_after(problem.gold), found, normalised_hamming)
    assert risk.losses.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize(
    "algorithm,options,message",
    [
        (global_likelihood, {"update": "late"}, "`update` must be one of early, full-sequence, every-step, got late"),
        (global_likelihood, {"beam_size": 0}, "`beam_size` must be at least 1, got 0"),
        (beam_search_optimization, {"violation": "go on"}, "`violation` must be one of reset, early-stop, got go on"),
        (beam_search_optimization, {"margin": -1.0}, "`margin` must be a number of at least 0, got -1.0"),
        (beam_search_optimization, {"margin": math.nan}, "`margin` must be a number of at least 0, got nan"),
    ],
)
def test_arguments_out_of_range_are_refused(algorithm, options, message):
    with pytest.raises(ValueError, match=message):
        Problem(0).searched(algorithm, options.pop("beam_size", 2), **options)


def test_bad_candidates_and_sharpness_are_refused():
    problem = Problem(0)
    with pytest.raises(ValueError, match="`method` must be one of beam, sample, got best"):
        find_candidates(problem.step, problem.lengths, 2, problem.candidates, None, "best")
    found = find_candidates(problem.step, problem.lengths, 2, problem.candidates, None)
    shared = problem.step, problem.gold, problem.lengths, problem.step.scores_after(problem.gold)
    with pytest.raises(ValueError, match="`sharpness` must be a positive number, got 0.0"):
        minimum_risk(*shared, found, normalised_hamming, sharpness=0.0)
