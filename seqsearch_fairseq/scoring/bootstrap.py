"""Is one system better than another, or only luckier? The paired bootstrap (Koehn 2004), over sentences.

Both systems are scored on the same 1,000 samples of the test sentences, drawn with replacement. The p-value is the
share of samples whose difference is as far from the mean difference as the observed difference is from zero, as
sacrebleu computes it for BLEU.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, cast

import numpy as np

from seqsearch_fairseq.tag_scores import count_chunks

SAMPLES = 1000
SEED = 12345  # sacrebleu's
BATCH = 100  # samples that are drawn at once

Counts = np.ndarray  # (S, c): what each sentence adds to the score's counts


class Difference(NamedTuple):
    """In points of the score."""

    difference: float  # of the system to the control
    p_value: float


class Countable(NamedTuple):
    """A score of sums over sentences."""

    of_sentence: Callable[[Sequence[str], Sequence[str]], tuple[int, ...]]  # from gold and predicted tokens to counts
    score: Callable[[np.ndarray], np.ndarray]  # from sums of counts (..., c) to scores in per cent (...)


def _right_and_all(gold: Sequence[str], predicted: Sequence[str]) -> tuple[int, ...]:
    return sum(a == b for a, b in zip(gold, predicted, strict=True)), len(gold)


def _chunks(gold: Sequence[str], predicted: Sequence[str]) -> tuple[int, ...]:
    counts = count_chunks([gold], [predicted])
    return counts.right.total(), counts.predicted.total() + counts.gold.total()


def _word_edits(gold: Sequence[str], predicted: Sequence[str]) -> tuple[int, ...]:
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(gold, predicted), len(gold)


def _share(sums: np.ndarray) -> np.ndarray:
    return 100.0 * sums[..., 0] / np.maximum(sums[..., 1], 1)


def _f1(sums: np.ndarray) -> np.ndarray:
    return 200.0 * sums[..., 0] / np.maximum(sums[..., 1], 1)


COUNTABLE = {
    "tag_accuracy": Countable(_right_and_all, _share),
    "chunk_f1": Countable(_chunks, _f1),
    "word_error": Countable(_word_edits, _share),
}
SCORES = (*COUNTABLE, "bleu")


def paired_bootstrap(
    scoring: str, gold: Sequence[str], control: Sequence[str], system: Sequence[str], tokenize: str | None = None
) -> Difference:
    """Compare two systems' outputs for the same sentences.

    Args:
        scoring: a name of `SCORES`.
        gold, control, system: a sentence each, tokens with spaces between them; plain text for BLEU.
        tokenize: BLEU's tokeniser, by sacrebleu's name; its own choice if `None`.

    Raises:
        ValueError: the three are not of one length, or there is no sentence.
    """
    if not len(gold) == len(control) == len(system) > 0:
        raise ValueError(
            f"gold, control and system must have as many sentences, got {len(gold)}, {len(control)} and {len(system)}"
        )
    if scoring == "bleu":
        return _bleu(gold, control, system, tokenize)
    kind = COUNTABLE[scoring]
    counts = [
        np.array([kind.of_sentence(a.split(), b.split()) for a, b in zip(gold, texts, strict=True)], dtype=np.int64)
        for texts in (control, system)
    ]
    observed = float(np.subtract(*(kind.score(rows.sum(axis=0)) for rows in reversed(counts))))
    differences = _resampled(kind, *counts)
    return Difference(observed, _p_value(observed, differences))


def _resampled(kind: Countable, control: Counts, system: Counts) -> np.ndarray:
    """(SAMPLES,) differences of the scores on samples of the sentences."""
    generator = np.random.default_rng(SEED)
    found = []
    for _ in range(SAMPLES // BATCH):
        chosen = generator.integers(len(control), size=(BATCH, len(control)))
        found.append(kind.score(system[chosen].sum(axis=1)) - kind.score(control[chosen].sum(axis=1)))
    return np.concatenate(found)


def _p_value(observed: float, differences: np.ndarray) -> float:
    far = np.abs(differences - differences.mean()) >= abs(observed)
    return float((far.sum() + 1) / (len(differences) + 1))


@contextmanager
def quiet() -> Iterator[None]:
    """What sacrebleu tells of its progress is for its own command line."""
    logger = logging.getLogger("sacrebleu")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _bleu(gold: Sequence[str], control: Sequence[str], system: Sequence[str], tokenize: str | None) -> Difference:
    from sacrebleu.metrics import BLEU
    from sacrebleu.significance import PairedTest, Result

    if list(control) == list(system):
        return Difference(0.0, 1.0)  # sacrebleu's p-value of no difference at all is the smallest there is
    systems: list[tuple[str, Sequence[str]]] = [("control", list(control)), ("system", list(system))]
    bleu = BLEU(tokenize=tokenize, force=True)  # without its warning that the text is tokenised
    with quiet():
        _, scores = PairedTest(systems, {"BLEU": bleu}, [list(gold)], test_type="bs", n_samples=SAMPLES)()
    of_control, of_system = (cast(Result, result) for result in scores["BLEU"])  # the names are under another key
    return Difference(of_system.score - of_control.score, float(cast(float, of_system.p_value)))
