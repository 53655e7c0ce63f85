"""The beam decoder against the oracle: values and gradients of tiny random cases, in float64, to 1e-10."""

import math
from dataclasses import replace

import beam_decoder_oracle as oracle
import pytest
import torch
from beam_decoder_cases import Case, random_case

from seqsearch_fairseq.algorithms.beam_decoder.arpa import read_arpa
from seqsearch_fairseq.algorithms.beam_decoder.language_models import LanguageModel, NoLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.lexicon import Lexicon
from seqsearch_fairseq.algorithms.beam_decoder.ngrams import NgramLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.objective import BeamDecoderObjective, beam_decoder_objective
from seqsearch_fairseq.algorithms.beam_decoder.scoring import Weights
from seqsearch_fairseq.algorithms.beam_decoder.topologies import Graph, asg, ctc

EXACT = {"rtol": 0, "atol": 1e-10}
UNLIMITED = 10_000


def graph_of(problem: oracle.Problem) -> tuple[Lexicon, Graph]:
    lexicon = Lexicon.build(problem.lexicon)
    unit_count = problem.emissions.size(1)
    if problem.blank is None:
        return lexicon, asg(lexicon, unit_count, problem.silence)
    return lexicon, ctc(lexicon, unit_count, problem.blank, problem.silence)


def language_model(case: Case, lexicon: Lexicon) -> LanguageModel:
    if case.arpa is None:
        return NoLanguageModel()
    return NgramLanguageModel(read_arpa(case.arpa.splitlines(), "case.arpa"), lexicon.words, trainable=True).double()


def objective(case: Case, model: LanguageModel, lexicon: Lexicon, graph: Graph, **settings) -> BeamDecoderObjective:
    problem = case.problem
    weights = Weights(problem.lm_weight, problem.word_score, problem.silence_score, problem.transitions)
    numbers = lexicon.numbers()
    words = torch.tensor([[numbers[word] for word in case.gold]], dtype=torch.long).view(1, -1)
    settings = {"beam_size": UNLIMITED, **settings}
    lengths = torch.tensor([problem.length])
    return beam_decoder_objective(problem.emissions.unsqueeze(0), lengths, words, graph, model, weights, **settings)


def shortened(ngram: tuple[str, ...], ngrams: oracle.NGrams) -> tuple[str, ...]:
    """The longest end of a history that matters: something follows it, or its back-off weight is not 0."""
    while ngram and not (
        ngram in ngrams
        and (float(ngrams[ngram][1]) != 0 or any(len(g) > len(ngram) and g[: len(ngram)] == ngram for g in ngrams))
    ):
        ngram = ngram[1:]
    return ngram


class Shortest(oracle.NGramLM):
    """Merges all histories that the model need not tell apart."""

    def start(self):
        return shortened(super().start(), self.ngrams)

    def after(self, state, word):
        return shortened(super().after(state, word), self.ngrams)


def with_shortest_states(problem: oracle.Problem) -> oracle.Problem:
    return problem if isinstance(problem.lm, oracle.NoLM) else replace(problem, lm=Shortest(problem.lm.ngrams))


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


@pytest.mark.parametrize("seed", range(60))
def test_with_an_unlimited_beam_everything_is_exact(seed):
    case = random_case(seed)
    if case.problem.length == 0:
        pytest.skip("no frames")
    lexicon, graph = graph_of(case.problem)
    model = language_model(case, lexicon)
    for gold in ("in-beam", "free"):
        found = objective(case, model, lexicon, graph, gold=gold)
        total, score = oracle.total_score(case.problem), oracle.gold_score(case.problem, case.gold)
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
@pytest.mark.parametrize("seed", range(60, 140))
def test_a_narrow_beam_is_that_of_the_oracle(seed, gold):
    case = random_case(seed)
    if case.problem.length == 0:
        pytest.skip("no frames")
    case = case._replace(problem=with_shortest_states(case.problem))
    lexicon, graph = graph_of(case.problem)
    model = language_model(case, lexicon)
    settings = {"beam_size": case.beam_size, "threshold": case.threshold}
    wanted = oracle.beam_search(case.problem, **settings, gold=case.gold, gold_mode=gold)
    if wanted.margin < 1e-6:
        pytest.skip("a tie")
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
