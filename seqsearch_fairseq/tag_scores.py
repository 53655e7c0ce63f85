"""Scores of predicted labels against gold ones, counted sentence by sentence: nothing of a sentence is kept.

fairseq is not needed here. Its scorers of the same names, in `scoring/`, and `scripts/score_tagging.py` count with
these.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from seqsearch_fairseq.data.schemes import OUTSIDE, RULE, as_bioes, is_chunk_label
from seqsearch_fairseq.errors import UsageError

UNKNOWN = ("<unk>", "<<unk>>")  # labels that the dictionary does not hold, as fairseq writes predictions and references


class ChunkCounts(NamedTuple):
    """Chunks of each type."""

    right: Counter[str]  # in gold and prediction
    predicted: Counter[str]
    gold: Counter[str]


class Score(NamedTuple):
    """In per cent; 0 where there is nothing to divide by."""

    f1: float
    precision: float
    recall: float


def count_chunks(gold: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]) -> ChunkCounts:
    """Compare the chunks of each gold sentence with those of its prediction, as conlleval does, by seqeval.

    A label of another form, fairseq's mark of an unknown one for instance, counts as a chunk of one word.
    """
    from seqeval.metrics.sequence_labeling import get_entities  # here: it loads scikit-learn, which takes a second

    found = [set(get_entities([[_as_chunk(label) for label in row] for row in rows])) for rows in (gold, predicted)]
    kinds = (Counter(kind for kind, _, _ in chunks) for chunks in (found[0] & found[1], found[1], found[0]))
    return ChunkCounts(*kinds)


def score_of(right: int, predicted: int, gold: int) -> Score:
    """F1, precision and recall from numbers of chunks."""
    parts = 2 * right, right, right
    wholes = predicted + gold, predicted, gold
    return Score(*(100.0 * part / whole if whole else 0.0 for part, whole in zip(parts, wholes, strict=True)))


def are_chunk_labels(labels: Iterable[str]) -> bool:
    """Whether these are labels of chunks: all of them O or with a prefix, and one with a prefix."""
    labels = set(labels) - {OUTSIDE}
    return bool(labels) and all(map(is_chunk_label, labels))


class TagAccuracy:
    """Percentage of labels that are right, over all words of all sentences."""

    def __init__(self):
        self.right = self.total = 0

    def add(self, gold: Sequence[str], predicted: Sequence[str]) -> None:
        """Count one sentence."""
        self.right += sum(g == p for g, p in zip(gold, predicted, strict=True))
        self.total += len(gold)

    def score(self) -> float:
        """In per cent; 0 where there is no label at all."""
        return 100.0 * self.right / self.total if self.total else 0.0

    def result_string(self) -> str:
        return f"tag accuracy: {self.score():.2f} % ({self.right} of {self.total} labels)"


class ChunkF1:
    """Precision, recall and F1 of chunks as the CoNLL tasks count them, in any scheme: of all, and by type."""

    def __init__(self):
        self.counts = ChunkCounts(Counter(), Counter(), Counter())
        self.sentences = 0
        self.has_chunks = False  # whether a gold label was of a chunk
        self.others = 0  # gold labels that are of none, and not unknown
        self.first_other = ""  # the first of them, and where it was

    def add(self, gold: Sequence[str], predicted: Sequence[str]) -> None:
        """Count one sentence."""
        self.sentences += 1
        inside = [label for label in gold if label != OUTSIDE]
        others = [label for label in inside if not is_chunk_label(label) and label not in UNKNOWN]
        self.has_chunks = self.has_chunks or len(others) < len(inside)
        if others:
            self.first_other = self.first_other or f"{others[0]!r:.60} in sentence {self.sentences}"
            self.others += len(others)
        if inside or any(label != OUTSIDE for label in predicted):
            for count, more in zip(self.counts, count_chunks([gold], [predicted]), strict=True):
                count.update(more)

    @property
    def are_chunks(self) -> bool:
        """Whether all gold labels so far are of chunks, and one is not O."""
        return self.has_chunks and not self.others

    def score(self) -> float:
        """F1 in per cent; 0 where there is no chunk at all.

        Raises:
            UsageError: no gold label is of a chunk, and some are not O.
        """
        return self._overall().f1

    def result_string(self) -> str:
        """The score, that of each type, and how many gold labels are of no chunk. Raises as `score` does."""
        overall = self._overall()
        lines = [f"chunk F1: {overall.f1:.2f} % (precision {overall.precision:.2f} %, recall {overall.recall:.2f} %)"]
        for kind in sorted(self.counts.gold | self.counts.predicted):
            by_kind = score_of(*(count[kind] for count in self.counts))
            lines.append(
                f"  {kind}: {by_kind.f1:.2f} % (precision {by_kind.precision:.2f} %, recall {by_kind.recall:.2f} %; "
                f"{self.counts.gold[kind]} gold, {self.counts.predicted[kind]} predicted)"
            )
        if self.others:
            lines.append(
                f"note: {self.others} gold labels are of no chunk, the first is {self.first_other}; each counts as a "
                "chunk of one word"
            )
        return "\n".join(lines)

    def _overall(self) -> Score:
        if self.others and not self.has_chunks:
            raise UsageError(f"chunk_f1 needs labels of chunks: {RULE}, got {self.first_other}; tag_accuracy takes any")
        return score_of(*(count.total() for count in self.counts))


class ChunkOrPlain:
    """Chunk F1 if all gold labels, but unknown ones, are of chunks; else the percentage of right labels."""

    def __init__(self):
        self.chunk_f1, self.tag_accuracy = ChunkF1(), TagAccuracy()

    def add(self, gold: Sequence[str], predicted: Sequence[str]) -> None:
        """Count one sentence."""
        self.chunk_f1.add(gold, predicted)
        self.tag_accuracy.add(gold, predicted)

    def score(self) -> float:
        return self._chosen().score()

    def result_string(self) -> str:
        return self._chosen().result_string()

    def _chosen(self) -> ChunkF1 | TagAccuracy:
        return self.chunk_f1 if self.chunk_f1.are_chunks else self.tag_accuracy


SCORES = {"chunk_f1": ChunkF1, "tag_accuracy": TagAccuracy}


def _as_chunk(label: str) -> str:
    return as_bioes(label) if label == OUTSIDE or is_chunk_label(label) else f"B-{label}"
