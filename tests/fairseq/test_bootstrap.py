"""The paired bootstrap: against sacrebleu's own, against seqeval and plain counting, and where the answer is known."""

import random

import pytest
from sacrebleu.metrics import BLEU
from seqeval.metrics import f1_score

from seqsearch_fairseq.scoring.bootstrap import paired_bootstrap
from seqsearch_fairseq.scoring.recognition import WordErrorRateScorer

RNG = random.Random(1)
GOLD = [" ".join(RNG.choices(["O", "B-X", "I-X", "B-Y"], k=RNG.randint(1, 9))) for _ in range(200)]


def noisy(share: float, seed: int) -> list[str]:
    """The gold labels, of which this share is drawn again."""
    rng = random.Random(seed)
    return [
        " ".join(rng.choice(["O", "B-X", "I-X", "B-Y"]) if rng.random() < share else label for label in line.split())
        for line in GOLD
    ]


def test_accuracy_and_f1_are_those_of_plain_counting_and_of_seqeval():
    control, system = noisy(0.4, 2), noisy(0.2, 3)
    words = [
        list(zip(a.split(), b.split(), c.split(), strict=True)) for a, b, c in zip(GOLD, control, system, strict=True)
    ]
    flat = [row for line in words for row in line]
    accuracy = 100 * (sum(a == c for a, _, c in flat) - sum(a == b for a, b, _ in flat)) / len(flat)
    assert paired_bootstrap("tag_accuracy", GOLD, control, system).difference == pytest.approx(accuracy)
    lists = [[line.split() for line in texts] for texts in (GOLD, control, system)]
    f1 = 100 * (f1_score(lists[0], lists[2]) - f1_score(lists[0], lists[1]))
    assert paired_bootstrap("chunk_f1", GOLD, control, system).difference == pytest.approx(f1)


def test_the_word_error_rate_is_that_of_the_scorer_which_fairseq_generate_has():
    draws = random.Random(1)
    systems = [[" ".join(w for w in line.split() if draws.random() > s) for line in GOLD] for s in (0.3, 0.1)]
    rates = []
    for texts in systems:
        scorer = WordErrorRateScorer(None)
        for gold, text in zip(GOLD, texts, strict=True):
            scorer.add_string(gold, text)
        rates.append(scorer.score())
    found = paired_bootstrap("word_error", GOLD, *systems)
    assert found.difference == pytest.approx(rates[1] - rates[0]) and found.difference < -5 and found.p_value < 0.01


@pytest.mark.parametrize("scoring", ["tag_accuracy", "chunk_f1", "bleu"])
def test_a_clear_difference_is_significant_and_none_is_not(scoring):
    control = noisy(0.4, 2)
    clear = paired_bootstrap(scoring, GOLD, control, noisy(0.1, 3))
    assert clear.difference > 5 and clear.p_value < 0.01
    same = paired_bootstrap(scoring, GOLD, control, control)
    assert same.difference == 0 and same.p_value == 1
    level = paired_bootstrap(scoring, GOLD, control, noisy(0.4, 4))
    assert level.p_value > 0.05


def test_p_values_of_chance_are_spread_evenly():
    values = [
        paired_bootstrap("tag_accuracy", GOLD, noisy(0.3, 100 + i), noisy(0.3, 200 + i)).p_value for i in range(60)
    ]
    assert sum(value < 0.1 for value in values) <= 14 and sum(value < 0.5 for value in values) >= 15


def test_bleu_is_sacrebleu_s():
    control, system = noisy(0.4, 2), noisy(0.2, 3)
    scores = [BLEU().corpus_score(texts, [GOLD]).score for texts in (control, system)]
    assert paired_bootstrap("bleu", GOLD, control, system).difference == pytest.approx(scores[1] - scores[0])


@pytest.mark.parametrize("control,system", [(GOLD[1:], GOLD), (GOLD, GOLD[1:])])
def test_outputs_of_other_lengths_are_refused(control, system):
    with pytest.raises(ValueError, match="must have as many sentences, got 200, "):
        paired_bootstrap("tag_accuracy", GOLD, control, system)
