"""F1 of labelled chunks, for `fairseq-generate --scoring chunk_f1` and for validation."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fairseq.dataclass import FairseqDataclass
from fairseq.scoring import register_scorer

from seqsearch_fairseq.data.schemes import OUTSIDE, is_chunk_label
from seqsearch_fairseq.scoring.tag_scorer import TagScorer


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


@dataclass
class ChunkF1Config(FairseqDataclass):
    pass


@register_scorer("chunk_f1", dataclass=ChunkF1Config)
class ChunkF1Scorer(TagScorer):
    """Precision, recall and F1 of chunks as the CoNLL tasks count them (IOB1, IOB2 or BIOES): of all, and by type."""

    name = "chunk_f1"

    def score(self) -> float:
        """F1 in per cent; 0 where there is no chunk at all."""
        return self._overall(count_chunks(self.gold, self.predicted)).f1

    def result_string(self) -> str:
        counts = count_chunks(self.gold, self.predicted)
        overall = self._overall(counts)
        lines = [f"chunk F1: {overall.f1:.2f} % (precision {overall.precision:.2f} %, recall {overall.recall:.2f} %)"]
        for kind in sorted(counts.gold | counts.predicted):
            by_kind = score_of(*(count[kind] for count in counts))
            lines.append(
                f"  {kind}: {by_kind.f1:.2f} % (precision {by_kind.precision:.2f} %, recall {by_kind.recall:.2f} %; "
                f"{counts.gold[kind]} gold, {counts.predicted[kind]} predicted)"
            )
        return "\n".join(lines)

    def _overall(self, counts: ChunkCounts) -> Score:
        return score_of(*(count.total() for count in counts))


def _as_chunk(label: str) -> str:
    return label if label == OUTSIDE or is_chunk_label(label) else f"B-{label}"
