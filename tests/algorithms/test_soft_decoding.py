"""Decoding with the relaxed beam: against the oracle at a large and at moderate alpha, and its options."""

from collections.abc import Sequence

import numpy as np
import oracles
import pytest
import torch
from builders import Batch, TorchRecurrence, first_that, is_hard, random_batch, smallest_gap
from hypothesis import given
from hypothesis import strategies as st

from seqsearch_fairseq.algorithms.relaxations import TOP_K
from seqsearch_fairseq.algorithms.soft_decoding import DecodeOptions, Hypothesis, soft_decode

HARD = 1e8  # alpha that stands for infinity, in float64
V, EOS, MASKED = 5, 2, 4
WORDS = (0, 1, 3)  # the candidates that do not end a sentence
SENTENCES = 3
NEVER = -1e6  # added to a score that the oracle shall not choose

each_top_k = pytest.mark.parametrize("top_k", TOP_K)


def options(batch: Batch, beam_size: int, alpha: float = HARD, **others) -> DecodeOptions:
    return DecodeOptions(beam_size, alpha, batch.candidates, EOS, **{"max_length": 4, **others})


def problem(seed: int, beam_size: int, prefix: Sequence[int] = (), max_length: int = 4) -> Batch:
    """Three sentences of an open length, in which no search after `prefix` comes near a tie."""
    return first_that(
        lambda draw: random_batch(1000 * seed + draw, lengths=(1,) * SENTENCES, vocabulary=V, masked=[MASKED]),
        lambda batch: all(
            is_hard(smallest_gap(after(model, prefix), max_length - len(prefix), beam_size, WORDS), HARD)
            for model in batch.models
        ),
    )


def after(model: oracles.Recurrence, prefix: Sequence[int]) -> oracles.NextScores:
    """The prefix model of what follows `prefix`."""
    scores = oracles.as_prefix_model(model)
    return lambda tokens: scores((*prefix, *tokens))


def check(found: list[Hypothesis], expected: list[oracles.Hypothesis], unnormalised: list[float]) -> None:
    assert [hypothesis.tokens.tolist() for hypothesis in found] == [list(each.tokens) for each in expected]
    np.testing.assert_allclose([h.score for h in found], [each.score for each in expected], atol=1e-8)
    np.testing.assert_allclose([float(h.positional_scores.sum()) for h in found], unnormalised, atol=1e-8)
    assert all(len(h.positional_scores) == len(h.tokens) for h in found)


# ------------------------------------------------------------------------------------------- against hard beam search


@each_top_k
@pytest.mark.parametrize("beam_size", [1, 2, 3])
@pytest.mark.parametrize(("length_penalty", "normalise"), [(1.0, True), (0.0, True), (2.5, True), (2.5, False)])
@pytest.mark.parametrize(("min_length", "max_length"), [(0, 4), (1, 3), (2, 4), (3, 3), (0, 0)])
def test_large_alpha_finds_what_open_ended_beam_search_finds(
    min_length, max_length, length_penalty, normalise, beam_size, top_k
):
    batch = problem(0, beam_size, max_length=max_length)
    chosen = options(
        batch,
        beam_size,
        min_length=min_length,
        max_length=max_length,
        length_penalty=length_penalty,
        normalise=normalise,
        top_k=top_k,
    )
    found = soft_decode(batch.step, chosen)
    exponent = length_penalty if normalise else 0.0
    for b, model in enumerate(batch.models):
        scores = oracles.as_prefix_model(model)
        is_eos = np.arange(V) == EOS

        def next_scores(prefix, scores=scores, is_eos=is_eos):
            return scores(prefix) + NEVER * is_eos * (len(prefix) < min_length)

        expected = oracles.beam_search_eos(next_scores, max_length, beam_size, WORDS, EOS, exponent)
        check(found[b], expected, [each.score * len(each.tokens) ** exponent for each in expected])
        for hypothesis in found[b]:
            tokens = tuple(hypothesis.tokens.tolist())
            added = [scores(tokens[:t])[token] for t, token in enumerate(tokens)]
            np.testing.assert_allclose(hypothesis.positional_scores, added, atol=1e-8)


@each_top_k
@pytest.mark.parametrize("beam_size", [1, 2, 3])
@pytest.mark.parametrize("prefix", [(3,), (0, 1), (1, 0, 3)], ids=str)
def test_a_prefix_is_forced_and_the_search_goes_on_after_it(prefix, beam_size, top_k):
    batch = problem(1, beam_size, prefix)
    forced = torch.tensor(prefix).expand(SENTENCES, -1)
    found = soft_decode(batch.step, options(batch, beam_size, top_k=top_k, min_length=0), forced)
    for b, model in enumerate(batch.models):
        start = sum(oracles.as_prefix_model(model)(prefix[:t])[token] for t, token in enumerate(prefix))
        rest = oracles.beam_search_eos(after(model, prefix), 4 - len(prefix), beam_size, WORDS, EOS, 0.0)
        totals = [each.score + start for each in rest]
        whole = [(*prefix, *each.tokens) for each in rest]
        expected = [oracles.Hypothesis(t, s / len(t)) for t, s in zip(whole, totals, strict=True)]
        order = sorted(range(len(rest)), key=lambda i: -expected[i].score)
        check(found[b], [expected[i] for i in order], [totals[i] for i in order])


def test_sentences_may_have_prefixes_of_different_lengths():
    batch = problem(2, 2)
    prefixes = [(3, 1), (0,), ()]
    forced = torch.tensor([[*prefix, *(-1,) * (2 - len(prefix))] for prefix in prefixes])
    together = soft_decode(batch.step, options(batch, 2), forced)
    for b, prefix in enumerate(prefixes):
        own = torch.tensor([prefix], dtype=torch.long) if prefix else None
        alone = soft_decode(batch.step.sentences([b]), options(batch, 2), own)[0]
        assert all(tuple(hypothesis.tokens[: len(prefix)].tolist()) == prefix for hypothesis in together[b])
        check(together[b], [as_oracle(h) for h in alone], [float(h.positional_scores.sum()) for h in alone])


def test_a_prefix_may_end_the_sentence():
    batch = problem(2, 2)
    found = soft_decode(batch.step, options(batch, 2), torch.tensor([[3, EOS], [0, 1], [1, -1]]))
    assert [hypothesis.tokens.tolist() for hypothesis in found[0]] == [[3, EOS]]
    assert all(len(hypotheses) == 2 for hypotheses in found[1:])


# ------------------------------------------------------------------------------------------------- outputs of a length


def as_oracle(hypothesis: Hypothesis) -> oracles.Hypothesis:
    return oracles.Hypothesis(tuple(hypothesis.tokens.tolist()), hypothesis.score)


@each_top_k
@pytest.mark.parametrize("alpha", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_with_lengths_the_hypotheses_are_the_relaxed_beams_and_the_end_is_free(beam_size, alpha, top_k):
    batch = random_batch(3, lengths=(4, 2, 3), vocabulary=V, masked=[MASKED, EOS])
    batch = batch._replace(candidates=batch.candidates | (torch.arange(V) == EOS))  # `lengths` must bar it by itself
    found = soft_decode(batch.step, options(batch, beam_size, alpha, lengths=batch.lengths, top_k=top_k))
    for b, model in enumerate(batch.models):
        relaxed = oracles.relaxed_beam(model, batch.token_costs_of(b), beam_size, alpha, WORDS, top_k)
        order = sorted(range(beam_size), key=lambda j: -relaxed.scores[j])
        size = int(batch.lengths[b]) + 1
        expected = [
            oracles.Hypothesis((*oracles.follow_backpointers(relaxed.backpointers, j), EOS), relaxed.scores[j] / size)
            for j in order
        ]
        check(found[b], expected, [relaxed.scores[j] for j in order])
        assert all(float(hypothesis.positional_scores[-1]) == 0 for hypothesis in found[b])


@pytest.mark.parametrize("beam_size", [1, 2, 4])
def test_with_lengths_large_alpha_finds_what_beam_search_finds(beam_size):
    batch = problem(4, beam_size)
    lengths = torch.tensor([4, 2, 3])
    found = soft_decode(batch.step, options(batch, beam_size, lengths=lengths, normalise=False))
    for b, model in enumerate(batch.models):
        beam = oracles.beam_search(oracles.as_prefix_model(model), int(lengths[b]), beam_size, WORDS)
        check(found[b], [each._replace(tokens=(*each.tokens, EOS)) for each in beam], [each.score for each in beam])


def test_with_lengths_a_prefix_is_still_forced():
    batch = problem(4, 2)
    lengths, forced = torch.tensor([4, 2, 3]), torch.tensor([[3], [0], [1]])
    found = soft_decode(batch.step, options(batch, 2, lengths=lengths), forced)
    for b in range(SENTENCES):
        assert all(int(hypothesis.tokens[0]) == int(forced[b]) for hypothesis in found[b])


# ------------------------------------------------------------------------------------------------ what must not matter


@given(chosen=st.lists(st.integers(0, 2), min_size=1, max_size=4), alpha=st.sampled_from([1.0, 10.0, HARD]))
def test_a_sentences_hypotheses_do_not_depend_on_its_batch(chosen, alpha):
    batch = problem(5, 3)
    together = soft_decode(batch.step.sentences(chosen), options(batch, 3, alpha))
    for b, sentence in enumerate(chosen):
        alone = soft_decode(batch.step.sentences([sentence]), options(batch, 3, alpha))[0]
        check(together[b], [as_oracle(h) for h in alone], [float(h.positional_scores.sum()) for h in alone])


class Rounded(TorchRecurrence):
    """A decoder whose scores differ as they do when sums are made in another order."""

    seed = 0

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        exact = super().scores(features)
        noise = torch.randint(-8, 9, exact.shape, generator=torch.Generator().manual_seed(self.seed))
        return exact + noise * torch.finfo(exact.dtype).eps


@each_top_k
@pytest.mark.parametrize("alpha", [1.0, 100.0])
def test_rounding_does_not_say_which_of_equal_hypotheses_is_found(alpha, top_k):
    batch = random_batch(0, lengths=(1,) * SENTENCES, vocabulary=V, masked=[MASKED])
    step = batch.step.with_parameters([torch.zeros_like(each) for each in batch.step.parameters])
    step.__class__ = Rounded
    given = options(batch, 3, alpha, top_k=top_k, lengths=torch.tensor([4, 2, 3]))
    found = []
    for step.seed in range(5):  # all candidates tie, but for rounding
        found.append([[h.tokens.tolist() for h in hypotheses] for hypotheses in soft_decode(step, given)])
    assert all(each == found[0] for each in found)


@pytest.mark.parametrize("alpha", [1.0, 10.0, HARD])
@pytest.mark.parametrize("lengths", [None, (4, 2, 3)])
def test_it_does_not_matter_whether_the_rows_of_a_sentence_share_its_encoder_side(alpha, lengths):
    batch = problem(8, 3)
    given = options(batch, 3, alpha, lengths=None if lengths is None else torch.tensor(lengths))
    shared = soft_decode(batch.step, given)
    batch.step.rows_share = False
    for one, other in zip(shared, soft_decode(batch.step, given), strict=True):
        check(one, [as_oracle(h) for h in other], [float(h.positional_scores.sum()) for h in other])


def test_a_beam_wider_than_the_space_returns_each_hypothesis_once():
    batch = problem(6, 9, max_length=1)
    for hypotheses in soft_decode(batch.step, options(batch, 9, max_length=1, min_length=0)):
        assert sorted(h.tokens.tolist() for h in hypotheses) == sorted([[EOS], *([word, EOS] for word in WORDS)])


def test_only_candidates_are_output_and_hypotheses_come_best_first():
    batch = problem(7, 3)
    for hypotheses in soft_decode(batch.step, options(batch, 3, alpha=1.0)):
        assert len(hypotheses) == 3
        assert [h.score for h in hypotheses] == sorted((h.score for h in hypotheses), reverse=True)
        for hypothesis in hypotheses:
            *words, end = hypothesis.tokens.tolist()
            assert end == EOS and set(words) <= set(WORDS) and 1 <= len(words) <= 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, "`alpha` must be a positive number, got 0.0"),
        ({"alpha": float("nan")}, "`alpha` must be a positive number, got nan"),
        ({"beam_size": 0}, "`beam_size` must be at least 1, got 0"),
        ({"top_k": "hard"}, "`top_k` must be one of squared-distance, successive, got hard"),
        ({"candidates": torch.zeros(V, dtype=torch.bool)}, "`candidates` must be a bool vector .* at least one True"),
    ],
)
def test_options_out_of_range_are_refused(change, message):
    batch = random_batch(0, lengths=(1,), vocabulary=V)
    with pytest.raises(ValueError, match=message):
        soft_decode(batch.step, options(batch, 2)._replace(**change))
