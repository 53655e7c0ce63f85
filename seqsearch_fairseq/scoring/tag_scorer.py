"""What the scorers of tagging share: one predicted label for each gold label, counted and not kept."""

from typing import ClassVar

from fairseq.scoring import BaseScorer

from seqsearch_fairseq.errors import UsageError


class TagScorer(BaseScorer):
    """Counts the labels of sentence after sentence, as a score of `tag_scores.py` does."""

    name = ""  # as --scoring knows it
    counter: ClassVar[type]  # of `tag_scores.SCORES`

    def __init__(self, cfg):
        super().__init__(cfg)
        self.counts = self.counter()
        self.sentences = 0

    def add_string(self, ref: str, pred: str) -> None:
        """Add one sentence. Raises `UsageError` if reference and prediction differ in length."""
        gold, predicted = ref.split(), pred.split()
        self.sentences += 1
        if len(gold) != len(predicted):
            raise UsageError(
                f"{self.name} needs as many predicted labels as gold ones, got {len(predicted)} and {len(gold)} "
                f"in sentence {self.sentences}"
            )
        self.counts.add(gold, predicted)

    def score(self) -> float:
        return self.counts.score()

    def result_string(self) -> str:
        return self.counts.result_string()
