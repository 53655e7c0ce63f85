"""The scorer tag_accuracy."""

import pytest
from fairseq.scoring import build_scorer

from seqsearch_fairseq.errors import UsageError


@pytest.fixture
def scorer():
    return build_scorer("tag_accuracy", None)


def test_accuracy_counts_words_over_all_sentences(scorer):
    scorer.add_string("O O B", "O B B")
    scorer.add_string("B", "B")
    assert scorer.score() == 75.0
    assert scorer.result_string() == "tag accuracy: 75.00 % (3 of 4 labels)"


def test_no_sentence_at_all_scores_zero(scorer):
    assert scorer.score() == 0.0


def test_sentences_that_differ_in_length_are_refused(scorer):
    scorer.add_string("O", "O")
    with pytest.raises(UsageError, match="got 1 and 2 in sentence 2"):
        scorer.add_string("O O", "O")
