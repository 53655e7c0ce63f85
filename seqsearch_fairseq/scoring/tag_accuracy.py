"""Share of right labels, for `fairseq-generate --scoring tag_accuracy`."""

from dataclasses import dataclass

from fairseq.dataclass import FairseqDataclass
from fairseq.scoring import BaseScorer, register_scorer

from seqsearch_fairseq.errors import UsageError


@dataclass
class TagAccuracyConfig(FairseqDataclass):
    pass


@register_scorer("tag_accuracy", dataclass=TagAccuracyConfig)
class TagAccuracyScorer(BaseScorer):
    """Percentage of labels that are right, over all words of all sentences."""

    def __init__(self, cfg):
        super().__init__(cfg)
        self.correct = self.total = 0

    def add_string(self, ref: str, pred: str) -> None:
        """Count one sentence. Raises `UsageError` if reference and prediction differ in length."""
        gold, predicted = ref.split(), pred.split()
        if len(gold) != len(predicted):
            raise UsageError(
                f"tag_accuracy needs as many predicted labels as gold ones, got {len(predicted)} and {len(gold)} "
                f"in sentence {len(self.ref) + 1}"
            )
        self.ref.append(ref)
        self.pred.append(pred)
        self.correct += sum(g == p for g, p in zip(gold, predicted, strict=True))
        self.total += len(gold)

    def score(self) -> float:
        return 100.0 * self.correct / self.total if self.total else 0.0

    def result_string(self) -> str:
        return f"tag accuracy: {self.score():.2f} % ({self.correct} of {self.total} labels)"
