"""Plain beam search, against the oracle."""

import numpy as np
import oracles
import pytest
import torch
from builders import PrefixTable, random_batch
from hypothesis import given
from hypothesis import strategies as st

from seqsearch_fairseq.algorithms.hard_beam import first_live, follow_backpointers, hard_beam

V = 3
LENGTHS = (4, 1, 3)


def prefix_table(seed: int):
    step = PrefixTable.random(seed, batch=len(LENGTHS), length=max(LENGTHS), vocabulary=V)
    return step, [step.next_scores(b) for b in range(len(LENGTHS))]


def recurrence(seed: int):
    batch = random_batch(seed, lengths=LENGTHS, vocabulary=V)
    return batch.step, [oracles.as_prefix_model(model) for model in batch.models]


FAMILIES = {"prefix table": prefix_table, "recurrence": recurrence}
each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
ALL = torch.ones(V, dtype=torch.bool)


def check_sentence(found, b: int, length: int, expected: list[oracles.Hypothesis]) -> None:
    """Sentence b of `found` holds the hypotheses `expected`, in their order, and nothing else."""
    count = len(expected)
    assert found.live[b].tolist() == [True] * count + [False] * (found.live.size(1) - count)
    assert found.tokens[b, :count, :length].tolist() == [list(hypothesis.tokens) for hypothesis in expected]
    np.testing.assert_allclose(found.scores[b, :count], [hypothesis.score for hypothesis in expected], rtol=1e-12)
    assert (found.tokens[b, count:] == -1).all() and (found.tokens[b, :, length:] == -1).all()
    assert (found.scores[b, count:] == -torch.inf).all()


@each_family
@pytest.mark.parametrize("beam_size", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_each_sentence_gets_the_oracles_beam_whatever_lengths_stand_beside_it(family, beam_size, seed):
    step, next_scores = family(seed)
    found = hard_beam(step, torch.tensor(LENGTHS), beam_size, ALL)
    for b, length in enumerate(LENGTHS):
        check_sentence(found, b, length, oracles.beam_search(next_scores[b], length, beam_size, range(V)))


@each_family
def test_the_scores_after_each_step_are_those_of_shorter_searches(family):
    step, next_scores = family(0)
    found = hard_beam(step, torch.tensor(LENGTHS), 4, ALL)
    for b, length in enumerate(LENGTHS):
        for t in range(length):
            expected = [hypothesis.score for hypothesis in oracles.beam_search(next_scores[b], t + 1, 4, range(V))]
            expected += [-np.inf] * (4 - len(expected))
            np.testing.assert_allclose(found.totals[b, t], expected, rtol=1e-12)


@each_family
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_of_one_is_greedy_search(family, seed):
    step, next_scores = family(seed)
    found = hard_beam(step, torch.tensor(LENGTHS), 1, ALL)
    for b, length in enumerate(LENGTHS):
        check_sentence(found, b, length, [oracles.greedy(next_scores[b], length, range(V))])


@each_family
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_as_wide_as_the_space_finds_the_exact_best(family, seed):
    step, next_scores = family(seed)
    found = hard_beam(step, torch.tensor(LENGTHS), V ** max(LENGTHS), ALL)
    for b, length in enumerate(LENGTHS):
        best = oracles.enumerate_best(next_scores[b], length, range(V))
        assert found.tokens[b, 0, :length].tolist() == list(best.tokens)
        assert float(found.scores[b, 0]) == pytest.approx(best.score)
        assert int(found.live[b].sum()) == V**length


@each_family
@pytest.mark.parametrize("candidates", [[1], [0, 2], [1, 2]])
def test_only_candidates_are_output(family, candidates):
    step, next_scores = family(0)
    mask = torch.tensor([v in candidates for v in range(V)])
    found = hard_beam(step, torch.tensor(LENGTHS), 3, mask)
    for b, length in enumerate(LENGTHS):
        check_sentence(found, b, length, oracles.beam_search(next_scores[b], length, 3, candidates))


@given(chosen=st.lists(st.integers(0, 2), min_size=1, max_size=4), beam_size=st.integers(1, 4))
def test_batched_is_one_by_one(chosen, beam_size):
    step, _ = prefix_table(1)
    lengths = torch.tensor(LENGTHS)[chosen]
    together = hard_beam(step.sentences(chosen), lengths, beam_size, ALL)
    for b, sentence in enumerate(chosen):
        alone = hard_beam(step.sentences([sentence]), lengths[b : b + 1], beam_size, ALL)
        assert torch.equal(together.tokens[b, :, : lengths[b]], alone.tokens[0])
        assert torch.equal(together.scores[b], alone.scores[0])
        assert torch.equal(together.live[b], alone.live[0])


def test_no_gradient_is_recorded():
    batch = random_batch(0, requires_grad=True)
    assert not hard_beam(batch.step, batch.lengths, 2, batch.candidates).scores.requires_grad


def test_backpointers_are_followed_from_the_last_step_to_the_first():
    pointers = [[(0, 5), (0, 6)], [(1, 7), (0, 8)], [(1, 9), (1, 4)]]  # (beam, token), T = 3 lists of K = 2
    beams, tokens = torch.tensor(pointers).permute(2, 0, 1).unsqueeze(1)
    sequences = follow_backpointers(beams, tokens)[0]
    assert sequences.tolist() == [oracles.follow_backpointers(pointers, j) for j in range(2)]


def test_before_the_first_step_only_beam_0_is_live():
    assert first_live(2, 3, torch.device("cpu")).tolist() == [[True, False, False]] * 2


@pytest.mark.parametrize("beam_size", [0, -1])
def test_a_beam_below_one_is_refused(beam_size):
    step, _ = prefix_table(0)
    with pytest.raises(ValueError, match=f"`beam_size` must be at least 1, got {beam_size}"):
        hard_beam(step, torch.tensor(LENGTHS), beam_size, ALL)


@pytest.mark.parametrize(
    "candidates", [torch.zeros(V, dtype=torch.bool), torch.ones(V), torch.ones(1, V, dtype=torch.bool)]
)
def test_candidates_that_are_no_mask_or_name_nothing_are_refused(candidates):
    step, _ = prefix_table(0)
    with pytest.raises(ValueError, match=r"`candidates` must be a bool vector \(V,\) with at least one True"):
        hard_beam(step, torch.tensor(LENGTHS), 2, candidates)
