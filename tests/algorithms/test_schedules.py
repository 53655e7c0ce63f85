"""The annealing of alpha, and the decay of the gold probability."""

import math

import pytest

from seqsearch_fairseq.algorithms.schedules import annealed, gold_probability, growing_beam


@pytest.mark.parametrize("epoch", [1, 2, 5])
@pytest.mark.parametrize(("start", "growth"), [(1.0, 1.0), (0.5, 2.0), (3.0, 0.5), (1, 10)])
def test_growth_compounds_from_the_first_epoch_on(epoch, start, growth):
    expected = start
    for _ in range(epoch - 1):
        expected *= growth
    assert annealed(epoch, start, growth) == pytest.approx(expected)


def test_without_growth_the_value_is_constant():
    assert {annealed(epoch, 0.7) for epoch in range(1, 50)} == {0.7}


def test_the_maximum_is_reached_and_kept():
    assert [annealed(epoch, 1.0, 10.0, 50.0) for epoch in range(1, 5)] == [1.0, 10.0, 50.0, 50.0]


@pytest.mark.parametrize("growth", [10.0, 10, 1e300])
def test_growth_beyond_all_numbers_is_the_maximum(growth):
    assert annealed(10**6, 2.0, growth, maximum=1e4) == 1e4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epoch": 0, "start": 1.0}, "`epoch` must be at least 1, got 0"),
        ({"epoch": -3, "start": 1.0}, "`epoch` must be at least 1, got -3"),
        ({"epoch": 1, "start": 0.0}, "`start` must be a positive number, got 0.0"),
        ({"epoch": 1, "start": float("nan")}, "`start` must be a positive number, got nan"),
        ({"epoch": 1, "start": float("inf")}, "`start` must be a positive number, got inf"),
        ({"epoch": 1, "start": 1.0, "growth": 0.0}, "`growth` must be a positive number, got 0.0"),
        ({"epoch": 1, "start": 1.0, "growth": -2.0}, "`growth` must be a positive number, got -2.0"),
        ({"epoch": 1, "start": 1.0, "growth": float("inf")}, "`growth` must be a positive number, got inf"),
        ({"epoch": 1, "start": 2.0, "maximum": 1.0}, r"`maximum` must be at least `start` \(2.0\), got 1.0"),
        ({"epoch": 1, "start": 2.0, "maximum": float("nan")}, r"`maximum` must be at least `start` \(2.0\), got nan"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        annealed(**arguments)


@pytest.mark.parametrize("decay", [1.0, 10.0, 100.0])
def test_the_gold_probability_is_one_and_then_falls_as_an_inverse_sigmoid(decay):
    found = [gold_probability(epoch, decay) for epoch in range(1, 60)]
    assert found[0] == 1.0
    assert found[1:] == pytest.approx([decay / (decay + math.exp(epoch / decay)) for epoch in range(2, 60)])
    assert all(later < earlier for earlier, later in zip(found, found[1:], strict=False))


def test_the_gold_probability_of_the_words():
    assert {gold_probability(epoch, "always") for epoch in (1, 2, 99)} == {0.0}
    assert {gold_probability(epoch, "none") for epoch in (1, 2, 99)} == {1.0}


def test_a_steep_decay_does_not_overflow():
    assert gold_probability(50, 1e-3) == 0.0


@pytest.mark.parametrize(
    "epoch,decay,message",
    [
        (0, 1.0, "`epoch` must be at least 1, got 0"),
        (1, 0.0, "`decay` must be a positive number, 'always' or 'none', got 0.0"),
        (1, -2.0, "`decay` must be .* got -2.0"),
        (1, math.inf, "`decay` must be .* got inf"),
        (1, "often", "`decay` must be .* got 'often'"),
    ],
)
def test_a_gold_probability_out_of_range_is_refused(epoch, decay, message):
    with pytest.raises(ValueError, match=message):
        gold_probability(epoch, decay)


@pytest.mark.parametrize(
    "start,every,maximum,expected",
    [(2, 2, 4, [2, 2, 3, 3, 4, 4, 4]), (1, 1, 9, [1, 2, 3, 4, 5, 6, 7]), (5, 1, 5, [5] * 7)],
)
def test_a_beam_grows_by_one_after_so_many_epochs(start, every, maximum, expected):
    assert [growing_beam(epoch, start, every, maximum) for epoch in range(1, 8)] == expected


@pytest.mark.parametrize(
    "arguments,message",
    [
        ((0, 1, 1, 2), "`epoch` must be at least 1, got 0"),
        ((1, 0, 1, 2), "`start` must be at least 1, got 0"),
        ((1, 1, 0, 2), "`every` must be at least 1, got 0"),
        ((1, 3, 1, 2), r"`maximum` must be at least `start` \(3\), got 2"),
    ],
)
def test_a_growing_beam_out_of_range_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        growing_beam(*arguments)
