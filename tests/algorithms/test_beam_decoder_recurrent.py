"""The recurrent language model: against the oracle's enumeration, and its own loss."""

import math
from dataclasses import replace

import beam_decoder_oracle as oracle
import pytest
import torch
from beam_decoder_cases import random_case
from beam_decoder_problems import UNLIMITED, ByHistory, batch, graph_of, weights_of

from seqsearch_fairseq.algorithms.beam_decoder import recurrent
from seqsearch_fairseq.algorithms.beam_decoder.decoding import decode
from seqsearch_fairseq.algorithms.beam_decoder.language_models import END
from seqsearch_fairseq.algorithms.beam_decoder.objective import beam_decoder_objective
from seqsearch_fairseq.algorithms.beam_decoder.recurrent import RecurrentLanguageModel, language_model_loss
from seqsearch_fairseq.algorithms.beam_decoder.search import Settings

EXACT = {"rtol": 0, "atol": 1e-10}
SEEDS = [0, 1, 2, 3, 4, 6, 7, 8, 10]  # the gold of seeds 5 and 9 has no path


def small(word_count: int, layers: int = 1) -> RecurrentLanguageModel:
    model = RecurrentLanguageModel(word_count, 3, 4, layers).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-1, 1, generator=torch.Generator().manual_seed(parameter.numel()))
    return model


def by_history(model: RecurrentLanguageModel, words: list) -> ByHistory:
    return ByHistory(model, {word: min(number, model.word_count) for number, word in enumerate(words)})


def check_loss_and_gradients(case, model: RecurrentLanguageModel) -> None:
    lexicon, graph = graph_of(case.problem)
    problem = replace(case.problem, lm=by_history(model, lexicon.words))
    wanted = oracle.exact_loss(problem, case.gold)
    words = torch.tensor([[lexicon.numbers()[word] for word in case.gold]], dtype=torch.long).view(1, -1)
    emissions, lengths = problem.emissions.unsqueeze(0), torch.tensor([problem.length])
    ours = beam_decoder_objective(emissions, lengths, words, graph, model, weights_of(problem), UNLIMITED).losses[0]
    torch.testing.assert_close(ours, wanted, **EXACT)
    leaves = [problem.emissions, problem.lm_weight, *model.parameters()]
    gradients = [torch.autograd.grad(loss, leaves, materialize_grads=True) for loss in (ours, wanted)]
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("seed", SEEDS)
def test_loss_and_gradients_are_those_of_the_enumeration(seed):
    case = random_case(seed, most_paths=200)
    lexicon, _ = graph_of(case.problem)
    check_loss_and_gradients(case, small(len(lexicon.words), layers=1 + seed % 2))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("known", [0, 1])
def test_words_that_the_model_does_not_know_are_one_word_to_it(seed, known):
    case = random_case(seed, most_paths=200)
    lexicon, _ = graph_of(case.problem)
    check_loss_and_gradients(case, small(known).over(min(number, known) for number in range(len(lexicon.words))))


@pytest.mark.parametrize("seed", SEEDS)
def test_decoding_is_exact(seed):
    case = random_case(seed, most_paths=200)
    lexicon, graph = graph_of(case.problem)
    model = small(len(lexicon.words))
    problem = replace(case.problem, lm=by_history(model, lexicon.words))
    emissions, lengths = problem.emissions.unsqueeze(0), torch.tensor([problem.length])
    settings = Settings(UNLIMITED, merge="log-add")
    with torch.no_grad():
        (found,) = decode(emissions, lengths, graph, model, weights_of(problem), settings, 5)
        wanted = oracle.exact_n_best(problem, 5, "log-add")
        assert [one.score for one in found] == pytest.approx([float(score) for _, score in wanted], abs=1e-10)


def test_a_batch_is_one_by_one():
    problem = batch()._replace(language_model=small(3))
    together = beam_decoder_objective(*problem, beam_size=5).losses
    for b in range(4):
        emissions, lengths, words = (tensor[b : b + 1] for tensor in problem[:3])
        alone = beam_decoder_objective(emissions, lengths, words, *problem[3:], beam_size=5).losses
        torch.testing.assert_close(alone[0], together[b], rtol=0, atol=1e-12)


def test_equal_histories_share_a_number_and_are_read_once():
    model = small(3)
    reading = model.begin()
    read = []
    model.lstm.register_forward_hook(lambda module, inputs, output: read.append(len(inputs[0])))
    states = reading.advance(torch.tensor([0, 0, 0]), torch.tensor([2, 1, 2])).states
    assert states.tolist() == [1, 2, 1] and not read  # nothing has been asked of the new ones
    again = reading.advance(torch.tensor([1, 2, 0]), torch.tensor([0, 0, 1])).states
    assert again.tolist() == [3, 4, 2] and read == [2]
    reading.advance(again, again.clamp(max=2))
    assert read == [2, 2]


def test_scores_are_the_same_with_and_without_gradient():
    reading = small(3, layers=2).begin()
    first = reading.advance(torch.zeros(3, dtype=torch.long), torch.arange(3)).states
    states = reading.advance(first, torch.tensor([1, 1, 0])).states[[2, 0, 0]]
    words = torch.tensor([END, 2, 1])
    with_gradient = reading.scores(states, words)
    with torch.no_grad():
        torch.testing.assert_close(reading.scores(states, words), with_gradient, rtol=0, atol=1e-14)
    assert with_gradient.requires_grad


def test_a_model_that_is_not_trained_gets_no_gradient():
    problem = batch()._replace(language_model=small(3).requires_grad_(False))
    assert not problem.language_model.begin().trainable
    emissions = problem.emissions.requires_grad_()
    beam_decoder_objective(*problem._replace(emissions=emissions), beam_size=5).losses.sum().backward()
    assert emissions.grad.isfinite().all()


def test_its_own_loss_is_what_it_says_of_the_words():
    model = small(3)
    words = torch.tensor([[0, 2, 1], [3, -1, -1], [-1, -1, -1]])  # 3: a word that is not in the lexicon
    theirs = by_history(model, [0, 1, 2, 3])
    for loss, row in zip(language_model_loss(model, words), [(0, 2, 1), (3,), ()], strict=True):
        said = [theirs.score(row[:place], word) for place, word in enumerate(row)]
        wanted = -math.log(10) * (sum(said) + theirs.end(row))
        torch.testing.assert_close(loss, wanted, **EXACT)


def test_dropout_is_for_its_own_loss_alone():
    model = RecurrentLanguageModel(3, 8, 8, dropout=0.5)
    words = torch.tensor([[0, 1, 2]])
    assert language_model_loss(model, words) != language_model_loss(model, words)
    one, two = (model.begin().scores(torch.tensor([0]), torch.tensor([1])) for _ in range(2))
    assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (torch.tensor([1]), r"`words` must be \(B, M\), got \(1,\)"),
        (torch.tensor([[4]]), r"`words` must be in \[0, 3\], or -1 after a sentence's end"),
        (torch.tensor([[-2]]), r"`words` must be in \[0, 3\], or -1 after a sentence's end"),
    ],
)
def test_what_makes_no_sense_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        language_model_loss(small(3), words)


def test_too_many_histories_are_refused(monkeypatch):
    monkeypatch.setattr(recurrent, "LIMIT", 2)
    with pytest.raises(ValueError, match="a search must not meet more than 2 histories"):
        small(3).begin().advance(torch.tensor([0, 0]), torch.tensor([1, 2]))
