"""The sequence costs, against the libraries of the field and plain counting, one pair at a time."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics import BLEU
from seqeval.metrics.sequence_labeling import get_entities

from seqsearch_fairseq.algorithms.sequence_costs import FILL, SEQUENCE_COSTS, ChunkLabels, ngram_matches

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]

sequences = st.lists(st.integers(0, 4), max_size=9)
pairs = st.lists(st.tuples(sequences, st.lists(st.integers(0, 4), min_size=1, max_size=9)), min_size=1, max_size=5)


def filled(rows: list[list[int]], extra: int = 0) -> torch.Tensor:
    width = max(map(len, rows)) + extra
    return torch.tensor([row + [FILL] * (width - len(row)) for row in rows]).view(len(rows), width)


def plain_hamming(found: list[int], gold: list[int]) -> float:
    """Differences, position by position, where after its end a sequence holds the end of sentence."""
    width = max(len(found), len(gold))
    ours, theirs = (row + ["</s>"] * (width - len(row)) for row in (found, gold))
    return sum(a != b for a, b in zip(ours, theirs, strict=True))


def plain_bleu(found: list[int], gold: list[int], order: int) -> float:
    metric = BLEU(smooth_method="add-k", smooth_value=1, max_ngram_order=order, effective_order=True, tokenize="none")
    found_text, gold_text = (" ".join(f"w{token}" for token in row) for row in (found, gold))
    return 1 - metric.sentence_score(found_text, [gold_text]).score / 100


def plain_gleu(found: list[int], gold: list[int]) -> float:
    counts = [
        Counter(tuple(row[i : i + n]) for n in range(1, 5) for i in range(len(row) - n + 1)) for row in (found, gold)
    ]
    return 1 - (counts[0] & counts[1]).total() / max(counts[0].total(), counts[1].total(), 1)


PLAIN = {
    "hamming": plain_hamming,
    "normalised-hamming": lambda found, gold: plain_hamming(found, gold) / len(gold),
    "edit": lambda found, gold: Levenshtein.distance(found, gold) / len(gold),
    "bleu": lambda found, gold: plain_bleu(found, gold, 4),
    "bleu-1": lambda found, gold: plain_bleu(found, gold, 1),
    "gleu": plain_gleu,
}


@pytest.mark.parametrize("name", SEQUENCE_COSTS)
@given(pairs=pairs, extra=st.integers(0, 3))
def test_costs_are_those_of_one_pair_at_a_time(name, pairs, extra):
    found, gold = (list(side) for side in zip(*pairs, strict=True))
    costs = SEQUENCE_COSTS[name](filled(found, extra), filled(gold))
    expected = [PLAIN[name](*pair) for pair in pairs]
    assert costs.dtype == torch.float64
    assert costs.tolist() == pytest.approx(expected, abs=1e-9)


@given(pairs=pairs, n=st.integers(1, 5))
def test_ngram_matches_are_clipped_counts(pairs, n):
    def grams(row):
        return Counter(tuple(row[i : i + n]) for i in range(len(row) - n + 1))

    found, gold = (list(side) for side in zip(*pairs, strict=True))
    expected = [(grams(a) & grams(b)).total() for a, b in pairs]
    assert ngram_matches(filled(found), filled(gold), n).tolist() == expected


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=9), min_size=1, max_size=4)
)
def test_chunk_cost_is_one_minus_f1_of_the_chunks_of_seqeval(sentences):
    found, gold = ([[pair[side] for pair in sentence] for sentence in sentences] for side in (0, 1))
    costs = ChunkLabels(LABELS).one_minus_f1(filled(found), filled(gold))
    for cost, *both in zip(costs.tolist(), found, gold, strict=True):
        ours, theirs = (set(get_entities([LABELS[label] for label in row])) for row in both)
        total = len(ours) + len(theirs)
        assert cost == pytest.approx(1 - 2 * len(ours & theirs) / total if total else 0.0)


@pytest.mark.parametrize("label", ["PER", "S-PER", "B", "B-", "O-PER"])
def test_labels_that_are_not_bio_are_refused(label):
    with pytest.raises(ValueError, match=f"needs BIO labels .*, got '{label}'"):
        ChunkLabels(["O", None, label])


@pytest.mark.parametrize("name", SEQUENCE_COSTS)
def test_the_gold_itself_costs_nothing(name):
    gold = filled([[1, 2, 3, 4, 0, 2], [3], [1, 1, 1]])
    assert SEQUENCE_COSTS[name](gold, gold).tolist() == pytest.approx([0.0] * 3)
