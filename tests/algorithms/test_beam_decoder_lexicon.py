"""The prefix tree, repetition symbols, and the graph of places."""

import itertools
import random

import beam_decoder_oracle as oracle
import pytest
import torch

from seqsearch_fairseq.algorithms.beam_decoder.lexicon import Lexicon, with_repetitions, without_repetitions
from seqsearch_fairseq.algorithms.beam_decoder.merging import MERGES, Merger
from seqsearch_fairseq.algorithms.beam_decoder.topologies import asg, ctc

PAIRS = [("see", [1, 2]), ("sea", [1, 2]), ("seal", [1, 2, 3]), ("a", [4]), ("a", [1]), ("a", [4])]


def test_words_are_numbered_as_they_come_and_equal_pairs_count_once():
    lexicon = Lexicon.build(PAIRS)
    assert lexicon.words == ["see", "sea", "seal", "a"]
    assert lexicon.numbers()["seal"] == 2
    assert len(lexicon.spellings) == 5 and len(lexicon.units) == 5  # root, 1, 1 2, 1 2 3, 4
    assert sorted(lexicon.ends.values.tolist()) == [0, 1, 2, 3, 3]


def test_the_order_of_the_pairs_does_not_matter_to_the_tree():
    one, two = Lexicon.build(PAIRS), Lexicon.build(PAIRS[::-1])
    assert torch.equal(one.parents, two.parents) and torch.equal(one.units, two.units)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "a lexicon must have at least one word, got none"),
        ([("a", [])], "a spelling must have at least one unit, but that of 'a' is empty"),
        ([("a", [1, -1])], r"units must not be negative, got \[1, -1\] for 'a'"),
    ],
)
def test_a_lexicon_with_a_fault_is_refused(pairs, message):
    with pytest.raises(ValueError, match=message):
        Lexicon.build(pairs)


@pytest.mark.parametrize("symbols", [(), (8,), (8, 9)])
def test_repetition_symbols_are_those_of_the_oracle_and_come_back(symbols):
    for length in range(6):
        for units in itertools.product((1, 2), repeat=length):
            written = with_repetitions(units, symbols)
            assert tuple(written) == oracle.with_repetitions(units, symbols)
            assert tuple(without_repetitions(written, symbols)) == units


def test_a_repetition_symbol_without_a_unit_stands_for_nothing():
    assert without_repetitions([8, 1, 8], [8]) == [1, 1]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda lexicon: ctc(lexicon, 5, blank=5), r"`blank` must be in \[0, 4\], got 5"),
        (lambda lexicon: ctc(lexicon, 5, blank=0, silence=-1), r"`silence` must be in \[0, 4\], got -1"),
        (lambda lexicon: ctc(lexicon, 5, blank=0, silence=0), "`silence` must not be the blank, got 0"),
        (lambda lexicon: ctc(lexicon, 5, blank=3), "must not hold the blank, unit 3, but that of 'seal' does"),
        (lambda lexicon: asg(lexicon, 4), r"units must be in \[0, 3\], but the spelling of 'a' has 4"),
        (lambda lexicon: asg(Lexicon.build([("bob", [1, 2, 1]), ("boo", [1, 2, 2])]), 4), "of 'boo' repeats unit 2"),
        (lambda lexicon: asg(Lexicon.build([("boot", [1, 2, 2, 3])]), 4), "of 'boot' repeats unit 2"),
    ],
)
def test_a_graph_that_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build(Lexicon.build(PAIRS))


@pytest.mark.parametrize(("blank", "silence"), [(0, None), (0, 5), (None, None), (None, 5)])
def test_the_arcs_are_the_moves_of_the_oracle(blank, silence):
    pairs = [(word, tuple(units)) for word, units in PAIRS]
    lexicon = Lexicon.build(pairs)
    graph = ctc(lexicon, 6, blank, silence) if blank is not None else asg(lexicon, 6, silence)
    zero = torch.zeros(())
    problem = oracle.Problem(torch.zeros(1, 6), pairs, zero, zero, zero, blank, silence)

    def prefix(node: int) -> tuple[int, ...]:
        return () if node == 0 else (*prefix(int(lexicon.parents[node])), int(lexicon.units[node]))

    places = [(prefix(int(n)), int(u) if u >= 0 else None) for n, u in zip(graph.nodes, graph.units, strict=True)]
    for place, (node, unit) in enumerate(places):
        arcs = range(int(graph.first_arcs[place]), int(graph.first_arcs[place] + graph.degrees[place]))
        words = [lexicon.words[word] if word >= 0 else None for word in graph.words[arcs]]
        ours = [(places[target], word) for target, word in zip(graph.targets[arcs].tolist(), words, strict=True)]
        moves = oracle.moves(problem, oracle.State(node, unit, ()))
        assert sorted(map(repr, ours)) == sorted(repr(((m.state.node, m.state.unit), m.word)) for m in moves)


@pytest.mark.parametrize("spread", [3, 1000, 1 << 61])
def test_equal_keys_are_found(spread):
    draw = random.Random(spread)
    merger = Merger(torch.device("cpu"), 1 << 62)
    for count in (0, 1, 500, 50):  # what is left in the table from the call before is not read
        keys = [draw.randrange(spread) for _ in range(count)]
        assert merger.first_of_equals(torch.tensor(keys, dtype=torch.long)).tolist() == [keys.index(k) for k in keys]


def test_equal_keys_are_found_in_slots_of_their_own():
    draw = random.Random(0)
    merger = Merger(torch.device("cpu"), 1000)
    for count in (0, 1, 500, 50):
        keys = [draw.randrange(1000) for _ in range(count)]
        assert merger.first_of_equals(torch.tensor(keys, dtype=torch.long)).tolist() == [keys.index(k) for k in keys]


@pytest.mark.parametrize("merge", MERGES)
def test_equal_candidates_are_merged_into_the_first_of_them(merge):
    draw = torch.Generator().manual_seed(0)
    scores = 60 * torch.randn(300, generator=draw, dtype=torch.float64)
    scores[torch.rand(300, generator=draw) < 0.2] = -torch.inf
    keys = torch.randint(120, (300,), generator=draw)
    first = torch.tensor([keys.tolist().index(key) for key in keys.tolist()])
    expected = torch.full_like(scores, -torch.inf)
    for place in first.unique().tolist():
        parts = scores[first == place]
        expected[place] = parts.max() if merge == "max" else parts.logsumexp(0)
    torch.testing.assert_close(MERGES[merge](scores, first), expected, rtol=0, atol=1e-12)
