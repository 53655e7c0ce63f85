"""F1 of labelled chunks, for `fairseq-generate --scoring chunk_f1`."""

import re
from dataclasses import dataclass

from fairseq.dataclass import FairseqDataclass
from fairseq.scoring import register_scorer

from seqsearch_fairseq.scoring.tag_scorer import TagScorer

CHUNK_LABEL = re.compile(r"O|[BIES]-.+")


@dataclass
class ChunkF1Config(FairseqDataclass):
    pass


@register_scorer("chunk_f1", dataclass=ChunkF1Config)
class ChunkF1Scorer(TagScorer):
    """Precision, recall and F1 of chunks as the CoNLL shared tasks count them (IOB1, IOB2 or BIOES), by seqeval.

    A label of another form, fairseq's mark of an unknown one for instance, counts as a chunk of one word.
    """

    name = "chunk_f1"

    def score(self) -> float:
        """F1 in per cent; 0 where there is no chunk at all."""
        return self._percent("f1_score")

    def result_string(self) -> str:
        precision, recall = self._percent("precision_score"), self._percent("recall_score")
        return f"chunk F1: {self.score():.2f} % (precision {precision:.2f} %, recall {recall:.2f} %)"

    def _percent(self, metric: str) -> float:
        import seqeval.metrics  # here, because it loads scikit-learn, which takes a second

        if not self.gold:
            return 0.0
        gold, predicted = (
            [[_as_chunk(label) for label in row] for row in rows] for rows in (self.gold, self.predicted)
        )
        return 100.0 * float(getattr(seqeval.metrics, metric)(gold, predicted, zero_division=0))


def _as_chunk(label: str) -> str:
    return label if CHUNK_LABEL.fullmatch(label) else f"B-{label}"
