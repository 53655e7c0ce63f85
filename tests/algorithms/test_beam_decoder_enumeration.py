"""The beam decoder against the oracle: values and gradients of tiny random cases, in float64, to 1e-10."""

import math

import beam_decoder_oracle as oracle
import pytest
import torch
from beam_decoder_cases import FEATURES, Case, random_case
from beam_decoder_problems import UNLIMITED, batch, graph_of, language_model_of, weights_of, with_shortest_states

from seqsearch_fairseq.algorithms.beam_decoder.alignments import best_alignments
from seqsearch_fairseq.algorithms.beam_decoder.language_models import LanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.lexicon import Lexicon
from seqsearch_fairseq.algorithms.beam_decoder.ngrams import NgramLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.objective import BeamDecoderObjective, beam_decoder_objective
from seqsearch_fairseq.algorithms.beam_decoder.scoring import build_problem
from seqsearch_fairseq.algorithms.beam_decoder.topologies import Graph

EXACT = {"rtol": 0, "atol": 1e-10}
UNLIMITED_SEEDS, NARROW_SEEDS = range(40), range(60, 100)


def objective(case: Case, model: LanguageModel, lexicon: Lexicon, graph: Graph, **settings) -> BeamDecoderObjective:
    problem = case.problem
    numbers = lexicon.numbers()
    words = torch.tensor([[numbers[word] for word in case.gold]], dtype=torch.long).view(1, -1)
    settings = {"beam_size": UNLIMITED, **settings}
    lengths, weights = torch.tensor([problem.length]), weights_of(problem)
    return beam_decoder_objective(problem.emissions.unsqueeze(0), lengths, words, graph, model, weights, **settings)


def check_gradients(case: Case, model: LanguageModel, value: torch.Tensor, expected: torch.Tensor) -> None:
    wanted = oracle.gradients(case.problem, expected)
    leaves = {name: leaf for name, leaf in oracle.leaves(case.problem).items() if isinstance(name, str)}
    parameters = list(model.parameters()) if isinstance(model, NgramLanguageModel) else []
    found = torch.autograd.grad(value, [*leaves.values(), *parameters], allow_unused=True, materialize_grads=True)
    for name, gradient in zip(leaves, found, strict=False):
        torch.testing.assert_close(gradient, wanted[name], **EXACT)
    if parameters:
        for kind, gradient in zip(("prob", "backoff"), found[len(leaves) :], strict=True):
            ours = sorted(float(part) for part in gradient if abs(part) > 1e-12)
            theirs = sorted(float(part) for name, part in wanted.items() if name[0] == kind and abs(part) > 1e-12)
            assert ours == pytest.approx(theirs, abs=1e-10)


@pytest.mark.parametrize("seeds", [UNLIMITED_SEEDS, NARROW_SEEDS])
def test_the_cases_are_of_all_kinds(seeds):
    cases = [random_case(seed) for seed in seeds]
    assert set().union(*(case.features for case in cases)) == FEATURES
    assert {case.beam_size for case in cases} == {1, 2, 3, 5, 8}
    assert {case.threshold for case in cases} == {1.5, 3.0, 6.0, math.inf}


@pytest.mark.parametrize("seed", UNLIMITED_SEEDS)
def test_with_an_unlimited_beam_everything_is_exact(seed):
    case = random_case(seed)
    lexicon, graph = graph_of(case.problem)
    model = language_model_of(case, lexicon)
    total, score = oracle.total_score(case.problem), oracle.gold_score(case.problem, case.gold)
    for gold in ("in-beam", "free"):
        found = objective(case, model, lexicon, graph, gold=gold)
        if total is None:
            assert found.beam_scores.item() == -math.inf
        else:
            torch.testing.assert_close(found.beam_scores[0], total, **EXACT)
        if score is None:
            assert found.gold_scores.item() == -math.inf and bool(found.skipped) and found.losses.item() == 0
            continue
        torch.testing.assert_close(found.gold_scores[0], score, **EXACT)
        torch.testing.assert_close(found.losses[0], total - score, **EXACT)
        assert not bool(found.gold_lost)
        check_gradients(case, model, found.losses.sum(), total - score)


@pytest.mark.parametrize("gold", ["in-beam", "free"])
@pytest.mark.parametrize("seed", NARROW_SEEDS)
def test_a_narrow_beam_is_that_of_the_oracle(seed, gold):
    case = random_case(seed)
    case = case._replace(problem=with_shortest_states(case.problem))
    lexicon, graph = graph_of(case.problem)
    model = language_model_of(case, lexicon)
    settings = {"beam_size": case.beam_size, "threshold": case.threshold}
    wanted = oracle.beam_search(case.problem, **settings, gold=case.gold, gold_mode=gold)
    found = objective(case, model, lexicon, graph, gold=gold, **settings)
    score = oracle.gold_score(case.problem, case.gold)
    if wanted.score is None:
        assert found.beam_scores.item() == -math.inf
    else:
        torch.testing.assert_close(found.beam_scores[0], wanted.score, **EXACT)
    if score is not None and gold == "free":
        assert bool(found.gold_lost) == wanted.gold_lost
    if score is None or wanted.score is None:
        assert bool(found.skipped)
        return
    check_gradients(case, model, found.losses.sum(), wanted.score - score)


@pytest.mark.parametrize("seed", UNLIMITED_SEEDS)
def test_the_best_alignment_is_the_best_of_all_paths_that_say_the_gold(seed):
    case = random_case(seed)
    lexicon, graph = graph_of(case.problem)
    numbers = lexicon.numbers()
    words = torch.tensor([[numbers[word] for word in case.gold]], dtype=torch.long).view(1, -1)
    parts = graph, language_model_of(case, lexicon), weights_of(case.problem)
    problem = build_problem(case.problem.emissions.unsqueeze(0), torch.tensor([case.problem.length]), *parts)
    [found] = best_alignments(problem, words)
    paths = oracle.gold_paths(case.problem, case.gold)
    if not paths:
        assert found is None
        return
    assert found is not None
    scores = {path: oracle.path_score(case.problem, path).item() for path in paths}
    assert found.score == pytest.approx(max(scores.values()), abs=1e-10)
    best = [path for path, score in scores.items() if score > found.score - 1e-10]
    behind = [[sum(move.word is not None for move in path[: t + 1]) for t in range(len(path))] for path in best]
    assert (found.units, found.behind) in list(
        zip([[move.unit for move in path] for path in best], behind, strict=True)
    )


@pytest.mark.parametrize("topology", ["ctc", "asg"])
def test_the_best_alignments_of_a_batch_are_those_one_by_one(topology):
    emissions, lengths, words, *parts = batch(topology)
    found = best_alignments(build_problem(emissions, lengths, *parts), words)
    assert [one is None for one in found] == [False, False, True, False]
    for row, one in enumerate(found):
        [alone] = best_alignments(build_problem(emissions[row : row + 1], lengths[row : row + 1], *parts), words[[row]])
        assert (one is None) == (alone is None)
        if one is not None:
            assert one[1:] == alone[1:] and one.score == pytest.approx(alone.score, abs=1e-10)
            assert len(one.units) == len(one.behind) == lengths[row] and one.behind[-1] == int((words[row] >= 0).sum())
