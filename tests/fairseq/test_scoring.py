"""The scorers tag_accuracy, chunk_f1 and edit_distance."""

import pytest
from fairseq.scoring import build_scorer
from hypothesis import given
from hypothesis import strategies as st

from seqsearch_fairseq.errors import UsageError

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def scored(name: str, *pairs: tuple[str, str]):
    scorer = build_scorer(name, None)
    for gold, predicted in pairs:
        scorer.add_string(gold, predicted)
    return scorer


def chunks(labels: list[str]) -> set[tuple[str, int, int]]:
    """(type, first, last) of each chunk, as conlleval reads IOB1 and IOB2: it begins at B or where the type changes."""
    found, start = set(), None
    for i, label in enumerate([*labels, "O"]):
        kind = label[2:]
        if start is not None and (label == "O" or label[0] == "B" or kind != labels[start][2:]):
            found.add((labels[start][2:], start, i - 1))
            start = None
        if label != "O" and start is None:
            start = i
    return found


def test_accuracy_counts_words_over_all_sentences():
    scorer = scored("tag_accuracy", ("O O B", "O B B"), ("B", "B"))
    assert scorer.score() == 75.0
    assert scorer.result_string() == "tag accuracy: 75.00 % (3 of 4 labels)"


def test_edit_distance_counts_tokens_over_all_sentences():
    scorer = scored("edit_distance", ("a b c d", "a x c d e"), ("a", "a"))
    assert scorer.score() == 40.0
    assert scorer.result_string() == "edit distance: 40.00 % (2 edits of 5 tokens)"
    assert scored("edit_distance").score() == 0.0


def test_chunk_f1_counts_whole_chunks_over_all_sentences():
    scorer = scored("chunk_f1", ("B-PER I-PER O B-LOC", "B-PER I-PER O B-PER"), ("B-LOC", "O"))
    assert scorer.score() == pytest.approx(100 * 2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))
    assert scorer.result_string() == "chunk F1: 40.00 % (precision 50.00 %, recall 33.33 %)"


@given(st.lists(st.lists(st.tuples(*[st.sampled_from(LABELS)] * 2), min_size=1, max_size=8), min_size=1, max_size=4))
def test_chunk_f1_is_that_of_the_shared_tasks(sentences):
    pairs = [list(zip(*sentence, strict=True)) for sentence in sentences]
    gold, predicted = ([chunks(list(pair[side])) for pair in pairs] for side in (0, 1))
    right = sum(len(g & p) for g, p in zip(gold, predicted, strict=True))
    total = sum(map(len, gold)) + sum(map(len, predicted))
    found = scored("chunk_f1", *((" ".join(pair[0]), " ".join(pair[1])) for pair in pairs)).score()
    assert found == pytest.approx(200 * right / total if total else 0.0)


def test_a_label_of_another_form_is_a_chunk_that_nothing_matches():
    assert scored("chunk_f1", ("B-PER <<unk>>", "B-PER O")).result_string().endswith("recall 50.00 %)")


@pytest.mark.parametrize("name", ["tag_accuracy", "chunk_f1"])
def test_no_sentence_at_all_scores_zero(name):
    assert scored(name).score() == 0.0


@pytest.mark.parametrize("name", ["tag_accuracy", "chunk_f1"])
def test_sentences_that_differ_in_length_are_refused(name):
    with pytest.raises(UsageError, match=f"{name} needs .* got 1 and 2 in sentence 2"):
        scored(name, ("O", "O"), ("O O", "O"))
