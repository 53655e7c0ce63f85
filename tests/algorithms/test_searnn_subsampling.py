"""Which cells and tokens are tried: each sampler's frequencies against its definition, and what is always in."""

import itertools

import pytest
import torch

from seqsearch_fairseq.algorithms.searnn.algorithm import ROLL_INS, ROLL_OUTS, _chunks
from seqsearch_fairseq.algorithms.searnn.subsampling import (
    SAMPLERS,
    Choice,
    compact,
    gold_tokens,
    sample_cells,
    sample_tokens,
)
from seqsearch_fairseq.algorithms.sequence_costs import FILL

VOCABULARY, EOS, MANY = 7, 2, 20_000


def choice(cells: int = 1, eos: int | None = None, **changes) -> Choice:
    """One cell, many times: candidates 1 to 6, gold token 5 at position 1 of (4, 5, 3)."""
    given = Choice(
        scores=torch.tensor([9.0, 0.5, -1.0, 1.0, 2.0, 0.0, -0.5]).expand(cells, -1),
        candidates=torch.arange(VOCABULARY) > 0,
        gold=torch.tensor([4, 5, 3]).expand(cells, -1),
        position=torch.ones(cells, dtype=torch.long),
        eos=eos,
        frequencies=torch.tensor([100.0, 8.0, 0.0, 4.0, 2.0, 1.0, 1.0]),
    )
    return given._replace(**changes)


def probabilities(name: str, given: Choice) -> torch.Tensor:
    """(V,) of the first draw."""
    allowed = given.candidates.double()
    policy = torch.softmax(given.scores[0].double().masked_fill(~given.candidates, -torch.inf), dim=0)
    weights = {
        "uniform": allowed,
        "corpus": given.frequencies.double().clamp(min=1e-6) * allowed,
        "policy": policy,
        "biased-policy": (policy + allowed / allowed.sum()) / 2 * allowed,
    }[name]
    return weights / weights.sum()


def without_replacement(first: torch.Tensor, count: int) -> torch.Tensor:
    """(V,) probability that each is among `count` draws one after the other, by enumeration."""
    total = torch.zeros_like(first)
    for order in itertools.permutations(first.nonzero().flatten().tolist(), count):
        left, probability = 1.0, 1.0
        for token in order:
            probability *= float(first[token]) / left
            left -= float(first[token])
        total[list(order)] += probability
    return total


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", ["uniform", "corpus", "policy", "biased-policy"])
def test_frequencies_are_those_of_draws_without_replacement(name, count):
    given = choice(MANY)
    found = SAMPLERS[name](given, count)
    assert bool((found.sum(dim=1) == count).all())
    expected = without_replacement(probabilities(name, given), count)
    spread = (expected * (1 - expected) / MANY).clamp(min=1e-12).sqrt()
    assert bool(((found.double().mean(dim=0) - expected).abs() <= 5 * spread + 1e-5).all())


def test_top_k_and_neighbors():
    assert SAMPLERS["top-k"](choice(), 2)[0].nonzero().flatten().tolist() == [3, 4]
    assert SAMPLERS["neighbors"](choice(), 1)[0].nonzero().flatten().tolist() == [3]  # the next one first
    assert SAMPLERS["neighbors"](choice(), 2)[0].nonzero().flatten().tolist() == [3, 4]
    assert SAMPLERS["neighbors"](choice(), 6)[0].nonzero().flatten().tolist() == [3, 4]  # there are no more
    last = choice(eos=EOS)._replace(position=torch.tensor([2]))
    assert SAMPLERS["neighbors"](last, 2)[0].nonzero().flatten().tolist() == [EOS, 5]


@pytest.mark.parametrize("eos", [None, EOS])
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_gold_token_is_always_in_and_the_end_where_there_is_one(name, eos):
    tokens = sample_tokens({name: 1}, choice(200, eos))
    tried = torch.zeros(200, VOCABULARY, dtype=torch.bool).scatter_(1, tokens.tokens, tokens.tried)
    assert bool(tried[:, 5].all())
    assert eos is None or bool(tried[:, eos].all())


def test_a_token_that_two_samplers_choose_is_tried_once():
    tokens = sample_tokens({"top-k": 4, "uniform": 6, "neighbors": 2}, choice(3))
    assert tokens.tokens.tolist() == [[1, 2, 3, 4, 5, 6]] * 3 and bool(tokens.tried.all())


def test_without_samplers_all_candidates_are_tried():
    assert sample_tokens({}, choice(2)).tokens.tolist() == [[1, 2, 3, 4, 5, 6]] * 2


def test_compact_keeps_each_cells_tokens():
    mask = torch.rand(50, 9) < 0.4
    mask[:, 3] = True
    tokens = compact(mask)
    assert tokens.tokens.size(1) == int(mask.sum(dim=1).max())
    for row, kept, expected in zip(tokens.tokens, tokens.tried, mask, strict=True):
        assert row[kept].tolist() == expected.nonzero().flatten().tolist()


def test_after_the_last_gold_token_comes_the_end_of_sentence_or_nothing():
    at = torch.tensor([2, 3, 4])
    assert gold_tokens(choice(3, EOS, position=at)).tolist() == [3, EOS, EOS]
    assert gold_tokens(choice(3, position=at)).tolist() == [3, FILL, FILL]


@pytest.mark.parametrize(
    "mixture,changes,message",
    [
        ({"best": 1}, {}, "`mixture` must name samplers of uniform, .* got best"),
        ({"uniform": 0}, {}, r"the count of uniform must be in \[1, 6\], got 0"),
        ({"uniform": 7}, {}, r"the count of uniform must be in \[1, 6\], got 7"),
        ({"corpus": 1}, {"frequencies": None}, "`corpus` needs the tokens' frequencies"),
    ],
)
def test_bad_mixtures_are_refused(mixture, changes, message):
    with pytest.raises(ValueError, match=message):
        sample_tokens(mixture, choice(**changes))


def test_cells_are_drawn_evenly_and_the_ends_are_added():
    lengths = torch.tensor([6, 2, 4])
    counts = torch.zeros(3, 6)
    for _ in range(3000):
        places = sample_cells(lengths, 2, ends=False)
        assert torch.bincount(places.sentence).tolist() == [2, 2, 2]
        counts[places.sentence, places.position] += 1
    for row, length in zip(counts, lengths.tolist(), strict=True):
        assert bool((row[length:] == 0).all())
        assert bool((row[:length] / 3000 - 2 / length).abs().max() < 0.05)
    places = sample_cells(lengths, 1, ends=True)
    for b, length in enumerate(lengths.tolist()):
        positions = places.position[places.sentence == b].tolist()
        assert positions == sorted(set(positions)) and {length - 2, length - 1} <= set(positions)
        assert len(positions) <= 3


@pytest.mark.parametrize("count", [None, 6, 100])
def test_all_cells(count):
    places = sample_cells(torch.tensor([3, 1]), count, ends=True)
    assert places.sentence.tolist() == [0, 0, 0, 1] and places.position.tolist() == [0, 1, 2, 0]


def test_who_rolls_in_and_out():
    shape = torch.Size((4000, 3))
    assert bool(ROLL_INS["reference"](shape, 0.3).all()) and not bool(ROLL_INS["learned"](shape, 0.3).any())
    mixed, cells = ROLL_INS["mixed"](shape, 0.3), ROLL_INS["mixed-cells"](shape, 0.3)
    assert bool((mixed == mixed[:, :1]).all()) and not bool((cells == cells[:, :1]).all())
    for draws in (mixed[:, 0], cells.flatten()):
        assert abs(float(draws.float().mean()) - 0.3) < 0.04
    assert ROLL_OUTS["focused"](2, 0.3, 5).tolist() == [5, 5]
    assert abs(float((ROLL_OUTS["mixed"](4000, 0.3, 5) == 0).float().mean()) - 0.3) < 0.04


@pytest.mark.parametrize("most", [1, 7, 2000, 10**6])
def test_tries_are_split_into_lists_that_hold_each_once(most):
    position = torch.randint(9, (5000,))
    chunks = _chunks(position, most)
    assert max(map(len, chunks)) <= most
    assert torch.cat(chunks).sort().values.tolist() == list(range(5000))
    assert all(chunk.tolist() == sorted(chunk.tolist()) for chunk in chunks)
