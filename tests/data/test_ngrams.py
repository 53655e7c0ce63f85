"""Kneser-Ney n-grams: against nltk's, against a count by hand, and their file as kenlm reads it."""

import itertools
import math

import numpy as np
import pytest

from seqsearch_fairseq.data.recognition.ngrams import BEGIN, END, UNKNOWN, kneser_ney, write_arpa
from seqsearch_fairseq.errors import UsageError

DRAWS = np.random.default_rng(5)
SENTENCES = [
    ["abcd"[word] for word in np.minimum(DRAWS.geometric(0.5, size=DRAWS.integers(0, 7)) - 1, 3)] for _ in range(40)
]
WORDS = ["a", "b", "c", "d"]


def histories(order: int):
    """Everything that may come before a word: up to `order` words, and the beginning of the sentence before them."""
    for size in range(order + 1):
        for words in itertools.product(WORDS, repeat=size):
            yield words
            yield (BEGIN, *words)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_add_up_to_one_after_every_history(order):
    model = kneser_ney(SENTENCES, order, ["unseen"])
    assert model.order == order
    for history in histories(order):
        total = sum(10 ** model.score(word, history) for word in [*WORDS, "unseen", END, UNKNOWN])
        assert math.isclose(total, 1.0, rel_tol=1e-9)


def test_a_bigram_by_hand():
    model = kneser_ney([["a", "b"], ["a", "b"], ["b"]], 2, discounts=[0.5, 0.75])
    # After <s>: a twice, b once. Continuations: a after <s>; b after a and <s>; </s> after b. V: a, b, </s>, <unk>.
    share = 0.5 * 3 / 4 / 4
    singles = {"a": 0.5 / 4 + share, "b": 1.5 / 4 + share, END: 0.5 / 4 + share, UNKNOWN: share}
    for word, prob in singles.items():
        assert math.isclose(10 ** model.score(word, []), prob)
        gamma = 0.75 * 2 / 3
        counted = {"a": 1.25 / 3, "b": 0.25 / 3}.get(word, 0.0)
        assert math.isclose(10 ** model.score(word, [BEGIN]), counted + gamma * prob)
    assert math.isclose(model.score_sentence(["b"]), model.score("b", [BEGIN]) + model.score(END, ["b"]))
    assert model.score("no such word", ["nor this"]) == model.score(UNKNOWN, [UNKNOWN])


def test_discounts_come_from_the_counts_of_counts():
    sentences = [["a", "a"], ["a", "a", "b"], ["c"]]
    discounts = [_discount(sentences, size) for size in (1, 2)]
    assert kneser_ney(sentences, 2) == kneser_ney(sentences, 2, discounts=discounts)
    assert kneser_ney([["a"]], 1) == kneser_ney([["a"]], 1, discounts=[0.5])  # no count is 2


def _discount(sentences, size: int) -> float:
    """n1 / (n1 + 2 n2), of occurrences for the highest order, of different words before for the other."""
    whole = [[BEGIN, *words, END] for words in sentences]
    pairs = [pair for words in whole for pair in itertools.pairwise(words)]
    if size == 2:
        counts = [pairs.count(pair) for pair in set(pairs)]
    else:
        counts = [len({a for a, b in pairs if b == word}) for word in {b for _, b in pairs}]
    return counts.count(1) / (counts.count(1) + 2 * counts.count(2))


@pytest.mark.parametrize("order", [2, 3])
def test_nltk_has_the_same_probabilities(order):
    """nltk discounts no single words, takes one discount for all orders, and begins a sentence with order - 1 symbols.

    So the discounts are set to that, and only histories without the beginning are compared where they differ.
    """
    lm = pytest.importorskip("nltk.lm", reason="the package nltk is the reference for these probabilities")
    model = kneser_ney(SENTENCES, order, discounts=[0.0] + [0.6] * (order - 1))
    padded = [[BEGIN] * (order - 1) + words + [END] for words in SENTENCES]
    ngrams = [
        [
            tuple(words[i : i + size])
            for size in range(1, order + 1)
            for i in range(len(words) - size + 1)
            if words[i + size - 1] != BEGIN
        ]
        for words in padded
    ]
    reference = lm.KneserNeyInterpolated(order, discount=0.6)
    reference.fit(ngrams, [word for words in padded for word in words])
    compared = 0
    for history in histories(order - 1):
        if len(history) != order - 1 or (order > 2 and BEGIN in history):
            continue
        for word in [*WORDS, END]:
            wanted = reference.score(word, history)
            assert math.isclose(10 ** model.score(word, history), wanted, rel_tol=1e-9), (word, history)
            compared += 1
    assert compared >= 25


@pytest.mark.parametrize("order", [2, 3])
def test_kenlm_reads_the_file_and_gives_the_same_scores(tmp_path, order):
    kenlm = pytest.importorskip("kenlm", reason="the package kenlm reads the ARPA file; pip install kenlm")
    model = kneser_ney(SENTENCES, order, ["unseen"])
    write_arpa(tmp_path / "ngram.arpa", model)
    reader = kenlm.Model(str(tmp_path / "ngram.arpa"))
    assert reader.order == order
    for words in [*SENTENCES, ["unseen", "a"], ["never"], []]:
        assert math.isclose(reader.score(" ".join(words)), model.score_sentence(words), rel_tol=1e-5, abs_tol=1e-5)


def test_an_arpa_file_has_a_back_off_for_all_but_the_highest_order(tmp_path):
    write_arpa(tmp_path / "ngram.arpa", kneser_ney([["a", "b"], ["b"]], 2, discounts=[0.5, 0.5]))
    lines = (tmp_path / "ngram.arpa").read_text().splitlines()
    assert lines[:4] == ["\\data\\", "ngram 1=5", "ngram 2=4", ""] and lines[-2:] == ["", "\\end\\"]
    singles, pairs = lines.index("\\1-grams:"), lines.index("\\2-grams:")
    assert all(len(line.split("\t")) == 3 for line in lines[singles + 1 : pairs - 1])
    assert all(len(line.split("\t")) == 2 for line in lines[pairs + 1 : -2])
    assert "-99\t<s>\t-0.30103" in lines  # half of the mass is left: a half of each pair


@pytest.mark.parametrize(
    "sentences,order,message",
    [
        ([], 2, "no sentence to estimate an n-gram from"),
        ([["a"]], 4, "no n-gram of order 4: the longest of the sentences is shorter"),
        ([["a"], ["b", "<unk>"]], 2, "sentence 2 holds <unk>, which is a symbol of the n-gram"),
    ],
)
def test_what_cannot_be_estimated_is_refused(sentences, order, message):
    with pytest.raises(UsageError, match=message):
        kneser_ney(sentences, order)


def test_orders_and_discounts_must_fit():
    with pytest.raises(ValueError, match="`order` must be at least 1, got 0"):
        kneser_ney([["a"]], 0)
    with pytest.raises(ValueError, match="`discounts` must be of 2 orders, got 1"):
        kneser_ney([["a"]], 2, discounts=[0.5])
