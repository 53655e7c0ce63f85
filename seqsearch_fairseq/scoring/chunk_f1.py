"""F1 of labelled chunks, for `fairseq-generate --scoring chunk_f1`."""

import re
from dataclasses import dataclass

from fairseq.dataclass import FairseqDataclass
from fairseq.scoring import BaseScorer, register_scorer

from seqsearch_fairseq.errors import UsageError

CHUNK_LABEL = re.compile(r"O|[BIES]-.+")


@dataclass
class ChunkF1Config(FairseqDataclass):
    pass


@register_scorer("chunk_f1", dataclass=ChunkF1Config)
class ChunkF1Scorer(BaseScorer):
    """Precision, recall and F1 of chunks as the CoNLL shared tasks count them (IOB1, IOB2 or BIOES), by seqeval.

    A label of another form, fairseq's mark of an unknown one for instance, counts as a chunk of one word.
    """

    def __init__(self, cfg):
        super().__init__(cfg)
        self.gold: list[list[str]] = []
        self.predicted: list[list[str]] = []

    def add_string(self, ref: str, pred: str) -> None:
        """Add one sentence. Raises `UsageError` if reference and prediction differ in length."""
        gold, predicted = ref.split(), pred.split()
        if len(gold) != len(predicted):
            raise UsageError(
                f"chunk_f1 needs as many predicted labels as gold ones, got {len(predicted)} and {len(gold)} "
                f"in sentence {len(self.ref) + 1}"
            )
        self.ref.append(ref)
        self.pred.append(pred)
        self.gold.append([_as_chunk(label) for label in gold])
        self.predicted.append([_as_chunk(label) for label in predicted])

    def score(self) -> float:
        """F1 in per cent; 0 where there is no chunk at all."""
        return self._percent("f1_score")

    def result_string(self) -> str:
        precision, recall = self._percent("precision_score"), self._percent("recall_score")
        return f"chunk F1: {self.score():.2f} % (precision {precision:.2f} %, recall {recall:.2f} %)"

    def _percent(self, metric: str) -> float:
        import seqeval.metrics  # here, because it loads scikit-learn, which takes a second

        score = getattr(seqeval.metrics, metric)
        return 100.0 * float(score(self.gold, self.predicted, zero_division=0)) if self.gold else 0.0


def _as_chunk(label: str) -> str:
    return label if CHUNK_LABEL.fullmatch(label) else f"B-{label}"
