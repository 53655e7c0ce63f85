"""Share of right labels, for `fairseq-generate --scoring tag_accuracy`."""

from dataclasses import dataclass

from fairseq.dataclass import FairseqDataclass
from fairseq.scoring import register_scorer

from seqsearch_fairseq.scoring.tag_scorer import TagScorer


@dataclass
class TagAccuracyConfig(FairseqDataclass):
    pass


@register_scorer("tag_accuracy", dataclass=TagAccuracyConfig)
class TagAccuracyScorer(TagScorer):
    """Percentage of labels that are right, over all words of all sentences."""

    name = "tag_accuracy"

    def score(self) -> float:
        correct, total = self._counts()
        return 100.0 * correct / total if total else 0.0

    def result_string(self) -> str:
        correct, total = self._counts()
        return f"tag accuracy: {self.score():.2f} % ({correct} of {total} labels)"

    def _counts(self) -> tuple[int, int]:
        pairs = list(zip(self.gold, self.predicted, strict=True))
        correct = sum(g == p for gold, predicted in pairs for g, p in zip(gold, predicted, strict=True))
        return correct, sum(len(gold) for gold in self.gold)
