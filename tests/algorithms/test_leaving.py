"""Rows of the soft beam: one a sentence in the first step, and none of those that have ended and left."""

import copy

import pytest
import torch
from test_fused_choice import VARIANTS, Decoder, Problem, each_top_k, problem, random_settings

from seqsearch_fairseq.algorithms import choice, leaving, selection


class Counting(Decoder):
    """Notes how many rows each step has."""

    def advance(self, inputs, state):
        self.seen.append(len(inputs))
        return super().advance(inputs, state)

    def narrow(self, sentences, shared):
        narrowed = copy.copy(self)
        narrowed.start_h, narrowed.start_c = self.start_h[sentences], self.start_c[sentences]
        return narrowed, shared


def rows_of(given: Problem) -> list[int]:
    """How many rows each step of a search has."""
    old = given.decoder
    counting = Counting(old.weights, old.start_h, old.start_c, old.normalized)
    counting.seen = []
    given.search(counting)
    return counting.seen


def test_the_first_step_has_one_row_a_sentence_and_those_that_have_ended_have_none():
    assert rows_of(problem(0, lengths=(4, 2, 3))) == [3, 9, 6, 3]
    assert rows_of(problem(0, lengths=(2, 2, 2, 2), beam_size=2)) == [4, 8]
    assert rows_of(problem(0, lengths=(1, 3), beam_size=1)) == [2, 1, 1]


def test_sentences_stay_until_enough_of_them_have_ended():
    few = leaving.SHARE - 1  # of twice as many: one more, and they are one in SHARE
    lengths = (*[2] * (2 * few), 1)
    assert rows_of(problem(0, lengths=lengths, vocabulary=20, beam_size=2)) == [len(lengths), 2 * len(lengths)]
    assert rows_of(problem(0, lengths=(*lengths, 1), vocabulary=20, beam_size=2)) == [len(lengths) + 1, 4 * few]


def test_without_gradient_all_stay():
    with torch.no_grad():
        assert rows_of(problem(0, lengths=(4, 2, 3))) == [3, 9, 9, 9]


@pytest.mark.parametrize("seed", range(len(VARIANTS)))
def test_the_plain_form_with_fewer_rows_has_the_same_values_and_gradients(seed, monkeypatch):
    monkeypatch.setattr(choice, "select", selection.select_from_all)
    given = random_settings(seed)
    fewer = given.decoder.plain()
    fewer.rows_share = True
    torch.testing.assert_close(given.losses(fewer), given.losses(given.decoder.plain()), rtol=1e-10, atol=1e-10)
    for mine, expected in zip(given.gradients(fewer), given.gradients(given.decoder.plain()), strict=True):
        scale = 1 + float(expected.abs().max())
        torch.testing.assert_close(mine / scale, expected / scale, rtol=1e-9, atol=1e-10)


@each_top_k
def test_many_sentences_that_leave_in_turn_change_nothing(top_k, monkeypatch):
    monkeypatch.setattr(choice, "select", selection.select_from_all)
    lengths = (3, 1, 6, 2, 2, 5, 1, 4, 6, 3)
    for alpha, spread in ((1.0, 0.3), (30.0, 10.0)):
        given = problem(4, top_k=top_k, alpha=alpha, spread=spread, lengths=lengths, vocabulary=200)
        assert rows_of(given) == [10, 24, 18, 12, 9, 6]
        mine, plain = given.search(given.decoder), given.search(given.decoder.plain())
        inside = torch.arange(6) < given.lengths.unsqueeze(1)
        for part, expected in zip(mine, plain, strict=True):
            if part.dim() == 3:  # (B, T, K): arbitrary after a sentence's end
                part, expected = part[inside], expected[inside]
            torch.testing.assert_close(part, expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(given.gradients(given.decoder), given.gradients(given.decoder.plain()))
