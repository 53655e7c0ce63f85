"""ARPA files and the n-gram: scores of the oracle, gradients, and faults with file and line."""

import itertools

import beam_decoder_oracle as oracle
import pytest
import torch
from beam_decoder_cases import random_case
from beam_decoder_problems import BIGRAM, Shortest, batch, ngram

from seqsearch_fairseq.algorithms.beam_decoder.arpa import read_arpa
from seqsearch_fairseq.algorithms.beam_decoder.language_models import END
from seqsearch_fairseq.algorithms.beam_decoder.lexicon import Lexicon
from seqsearch_fairseq.algorithms.beam_decoder.ngrams import NgramLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.objective import beam_decoder_objective

CASES = [case for case in map(random_case, range(40)) if case.arpa is not None]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(sorted(case.features & {"bigram", "trigram"})))
def test_scores_are_those_of_the_oracle_and_states_are_as_few_as_can_be(case):
    words = sorted({word for word, _ in case.lexicon})
    model = ngram(case.arpa, Lexicon.build([(word, [0]) for word in words]))
    theirs = Shortest(case.problem.lm.ngrams)
    seen = {}
    for length in range(4):
        for history in itertools.product(range(len(words)), repeat=length):
            state, their_state = torch.tensor([model.start]), theirs.start()
            for word in history:
                advance = model.advance(state, torch.tensor([word]))
                score = theirs.score(their_state, words[word])
                assert advance.scores.item() == pytest.approx(float(score.detach()), abs=1e-12)
                state, their_state = advance.states, theirs.after(their_state, words[word])
            end = model.scores(state, torch.tensor([END])).item()
            assert end == pytest.approx(float(theirs.end(their_state).detach()), abs=1e-12)
            assert seen.setdefault(their_state, int(state)) == int(state) < model.state_limit
    assert len(set(seen.values())) == len(seen)


def test_the_gradient_of_the_loss_is_that_of_finite_differences():
    problem = batch()
    model = problem.language_model

    def loss(log_probs, backoffs):
        with torch.no_grad():
            model.log_probs.copy_(log_probs)
            model.backoffs.copy_(backoffs)
        return beam_decoder_objective(*problem, beam_size=1000).losses.sum()

    start = [parameter.detach().clone() for parameter in (model.log_probs, model.backoffs)]
    found = torch.autograd.grad(loss(*start), list(model.parameters()))
    assert sum(int((gradient != 0).sum()) for gradient in found) >= 8
    step = 1e-5
    for which, gradient in enumerate(found):
        for place in range(len(gradient)):
            values = []
            for sign in (1, -1):
                moved = [tensor.clone() for tensor in start]
                moved[which][place] += sign * step
                values.append(loss(*moved).item())
            assert gradient[place].item() == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-6)


def test_probabilities_that_are_not_trained_are_no_parameters():
    lexicon = Lexicon.build([("a", [0])])
    assert not list(ngram(BIGRAM, lexicon, trainable=False).parameters())
    assert [name for name, _ in ngram(BIGRAM, lexicon).named_parameters()] == ["log_probs", "backoffs"]
    assert not ngram(BIGRAM, lexicon, trainable=False).state_dict()  # the file holds them


def test_words_that_are_not_listed_are_unknown():
    model = ngram(BIGRAM, Lexicon.build([("a", [0]), ("who", [1]), ("<unk>", [2])]))
    scores = model.scores(torch.full((3,), model.start), torch.arange(3)).tolist()
    assert scores == pytest.approx([-0.2, -0.4 - 1.2, -0.4 - 1.2])


FAULTS = {
    "no data": ("\\data\\\n", "", r"line 17: the file is cut off, \\data\\ is missing"),
    "no counts": ("ngram 1=5\nngram 2=4\n", "", r"line 3: expected `ngram 1=` and a number, got '\\\\1-grams:'"),
    "counts in disorder": ("ngram 2=4", "ngram 3=4", "line 3: expected the number of 2-grams, got 'ngram 3=4'"),
    "too many announced": ("ngram 1=5", "ngram 1=6", "line 12: 6 1-grams were announced, but there are 5"),
    "too few announced": ("ngram 2=4", "ngram 2=3", "line 16: only 3 2-grams were announced, got another one"),
    "another section": ("\\2-grams:", "\\3-grams:", r"line 12: expected \\2-grams:, got '\\\\3-grams:'"),
    "cut off": ("-0.6 ab a\n-0.4 ab </s>\n\n\\end\\\n", "", r"line 14: the file is cut off, \\end\\ is missing"),
    "another end": ("\\end\\", "\\3-grams:", r"line 18: expected \\end\\, got '\\\\3-grams:'"),
    "bad number": ("-0.5 ab -0.2", "-O.5 ab -0.2", "line 10: expected a number, got '-O.5'"),
    "no number": ("-0.5 ab -0.2", "nan ab -0.2", "line 10: expected a number, got 'nan'"),
    "bad back-off": ("-0.5 ab -0.2", "-0.5 ab x", "line 10: expected a number, got 'x'"),
    "a probability above one": ("-0.5 ab", "0.5 ab", "line 10: a logarithm of a probability must not be positive"),
    "columns": ("-0.3 a ab", "-0.3 a", "line 14: expected a number, 2 word.s. and perhaps a .* got 2 columns"),
    "unknown word": ("-0.3 a ab", "-0.3 a who", "line 14: the word 'who' is not among the 1-grams"),
    "a word twice": ("-0.7 a -0.3", "-0.7 ab -0.3", "line 10: the 1-gram 'ab' stands twice"),
    "an n-gram twice": ("-0.6 ab a", "-0.6 a ab", "line 15: the 2-gram 'a ab' stands twice"),
    "no back-off": ("-0.5 ab -0.2", "-0.5 ab", "line 10: the 1-gram 'ab' needs a back-off weight, because 2-grams"),
    "no start": ("<s>", "<start>", "the language model must have <s> among its 1-grams"),
    "no end": ("</s>", "<end>", "the language model must have </s> among its 1-grams"),
    "no unknown": (
        "<unk>",
        "other",
        "the language model has no <unk>, and 1 words of the lexicon are not among its 1-grams, .* 'who'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_with_a_fault_is_refused_with_file_and_line(fault):
    old, new, message = FAULTS[fault]
    assert old in BIGRAM
    with pytest.raises(ValueError, match=rf"^lm\.arpa[,:] {message}"):
        text = BIGRAM.replace(old, new)
        NgramLanguageModel(read_arpa(text.splitlines(), "lm.arpa"), ["a", "who"])


def test_an_n_gram_needs_its_history():
    text = oracle.write_arpa(
        {(word,): (-1.0, 0.0) for word in ("<s>", "</s>", "a")} | {("a", "a"): (-1.0, 0.0), ("<s>", "a", "a"): (-1, 0)}
    )
    line = text.splitlines().index("-1.0\t<s> a a") + 1
    message = f"lm.arpa, line {line}: the history of the 3-gram '<s> a a' is not among the 2-grams"
    with pytest.raises(ValueError, match=message):
        ngram(text, Lexicon.build([("a", [0])]))
