"""Decoding against the oracle: n best lists, and what a batch and a narrow beam do to them."""

import math

import beam_decoder_oracle as oracle
import pytest
import torch
from beam_decoder_cases import Case, random_case
from beam_decoder_problems import (
    UNLIMITED,
    batch,
    graph_of,
    language_model_of,
    weights_of,
    with_shortest_states,
)

from seqsearch_fairseq.algorithms.beam_decoder.decoding import Hypothesis, decode
from seqsearch_fairseq.algorithms.beam_decoder.objective import beam_decoder_objective
from seqsearch_fairseq.algorithms.beam_decoder.search import Settings

SEEDS = range(100, 120)


def decoded(case: Case, settings: Settings, n_best: int) -> list[tuple[tuple[str, ...], float, list[int]]]:
    problem = case.problem
    lexicon, graph = graph_of(problem)
    model, weights = language_model_of(case, lexicon), weights_of(problem)
    lengths = torch.tensor([problem.length])
    (found,) = decode(problem.emissions.unsqueeze(0), lengths, graph, model, weights, settings, n_best)
    return [(tuple(lexicon.words[word] for word in words), score, units) for words, score, units in found]


def numbers(hypotheses: list[oracle.Hypothesis]) -> list[float]:
    return [float(score.detach()) for _, score in hypotheses]


@pytest.mark.parametrize("seed", SEEDS)
def test_with_an_unlimited_beam_the_list_is_exact(seed):
    case = random_case(seed)
    with torch.no_grad():
        for merge, n_best in (("max", UNLIMITED), ("max", 3), ("max", 1), ("log-add", UNLIMITED)):
            found = decoded(case, Settings(UNLIMITED, merge=merge), n_best)
            wanted = oracle.exact_n_best(case.problem, n_best, merge)
            assert [score for _, score, _ in found] == pytest.approx(numbers(wanted), abs=1e-10)
            if n_best == UNLIMITED:  # in a shorter list a tie may leave out one or the other
                scores = {words: float(score) for words, score in wanted}
                assert {words: score for words, score, _ in found} == pytest.approx(scores, abs=1e-10)
    if found:
        total = torch.tensor([score for _, score, _ in found]).logsumexp(0).item()
        assert total == pytest.approx(float(oracle.total_score(case.problem).detach()), abs=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_units_are_those_of_the_best_path(seed):
    case = random_case(seed)
    for words, score, units in decoded(case, Settings(UNLIMITED, merge="max"), 2):
        paths = [path for path in oracle.complete_paths(case.problem) if [move.unit for move in path] == units]
        scores = [oracle.path_score(case.problem, path) for path in paths if oracle.words_of(path) == words]
        assert [float(path_score.detach()) for path_score in scores][:1] == [pytest.approx(score, abs=1e-10)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_narrow_beam_finds_what_that_of_the_oracle_does(seed):
    case = random_case(seed)
    case = case._replace(problem=with_shortest_states(case.problem))
    found = decoded(case, Settings(case.beam_size, case.threshold, "max"), 1)
    wanted = oracle.beam_search(case.problem, case.beam_size, case.threshold, merge="max").hypotheses[:1]
    assert [score for _, score, _ in found] == pytest.approx(numbers(wanted), abs=1e-10)


@pytest.mark.parametrize("topology", ["ctc", "asg"])
@pytest.mark.parametrize("merge", ["max", "log-add"])
@pytest.mark.parametrize("n_best", [1, 4])
def test_a_batch_is_one_by_one_and_padding_frames_do_not_matter(topology, merge, n_best):
    emissions, lengths, _, graph, model, weights = batch(topology)
    settings = Settings(6, 8.0, merge)
    together = decode(emissions, lengths, graph, model, weights, settings, n_best)
    for b, length in enumerate(lengths.tolist()):
        alone = emissions[b : b + 1, :length]
        (wanted,) = decode(alone, lengths[b : b + 1], graph, model, weights, settings, n_best)
        assert [found[::2] for found in together[b]] == [found[::2] for found in wanted]
        assert [found.score for found in together[b]] == pytest.approx([found.score for found in wanted], abs=1e-12)
        assert len({tuple(found.words) for found in together[b]}) == len(together[b]) <= n_best
        assert all(len(found.units) == length for found in together[b])
        assert together[b] == sorted(together[b], key=lambda found: -found.score)


def test_the_best_does_not_depend_on_how_many_are_asked_for():
    emissions, lengths, _, graph, model, weights = batch()
    lists = [decode(emissions, lengths, graph, model, weights, Settings(20, merge="max"), n) for n in (1, 2, 9)]
    for one, two, nine in zip(*lists, strict=True):
        assert [found.words for found in one] == [found.words for found in nine][:1]
        assert [found.words for found in two] == [found.words for found in nine][:2]
    assert [len(nine) for nine in lists[2]] == [9, 9, 4, 9]


def test_a_beam_without_a_complete_hypothesis_gives_nothing():
    # ASG, the word is three units long, and the sentences have two frames and three.
    problem = oracle.Problem(torch.zeros(3, 3).double(), [("abc", (0, 1, 2))], *torch.zeros(3))
    _, graph = graph_of(problem)
    weights = weights_of(problem)._replace(transitions=torch.zeros(3, 3))
    model = language_model_of(random_case(0)._replace(arpa=None), None)
    found = decode(torch.zeros(2, 3, 3), torch.tensor([2, 3]), graph, model, weights, Settings(5, merge="max"))
    assert found == [[], [Hypothesis([0], 0.0, [0, 1, 2])]]


def test_half_precision_is_searched_in_float32():
    emissions, lengths, _, graph, model, weights = batch()
    for dtype in (torch.float16, torch.bfloat16):
        half = emissions.to(dtype)
        settings = Settings(10, merge="max")
        assert decode(half, lengths, graph, model, weights, settings) == decode(
            half.float(), lengths, graph, model, weights, settings
        )


def test_decoding_keeps_no_graph():
    emissions, lengths, words, graph, model, weights = batch()
    emissions.requires_grad_()
    decode(emissions, lengths, graph, model, weights, Settings(5))
    beam_decoder_objective(emissions, lengths, words, graph, model, weights, 5).losses.sum().backward()
    assert emissions.grad is not None


def test_what_makes_no_sense_is_refused():
    emissions, lengths, _, graph, model, weights = batch()
    with pytest.raises(ValueError, match="`n_best` must be at least 1, got 0"):
        decode(emissions, lengths, graph, model, weights, Settings(5), 0)
    with pytest.raises(ValueError, match="`merge` must be one of log-add, max, got sum"):
        decode(emissions, lengths, graph, model, weights, Settings(5, merge="sum"))
    for value in (math.nan, math.inf):
        wrong = emissions.clone()
        wrong[1, 0, 0] = value
        wrong[3, 8, 0] = value  # after the sentence's end
        with pytest.raises(ValueError, match=r"below infinity and not NaN, but those of sentences \[1\]"):
            decode(wrong, lengths, graph, model, weights, Settings(5))
