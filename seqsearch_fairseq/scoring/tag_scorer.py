"""What the scorers of tagging share: one predicted label for each gold label."""

from fairseq.scoring import BaseScorer

from seqsearch_fairseq.errors import UsageError


class TagScorer(BaseScorer):
    """Keeps the gold and the predicted labels of each sentence."""

    name = ""  # as --scoring knows it

    def __init__(self, cfg):
        super().__init__(cfg)
        self.gold: list[list[str]] = []
        self.predicted: list[list[str]] = []

    def add_string(self, ref: str, pred: str) -> None:
        """Add one sentence. Raises `UsageError` if reference and prediction differ in length."""
        gold, predicted = ref.split(), pred.split()
        if len(gold) != len(predicted):
            raise UsageError(
                f"{self.name} needs as many predicted labels as gold ones, got {len(predicted)} and {len(gold)} "
                f"in sentence {len(self.ref) + 1}"
            )
        self.ref.append(ref)
        self.pred.append(pred)
        self.gold.append(gold)
        self.predicted.append(predicted)
