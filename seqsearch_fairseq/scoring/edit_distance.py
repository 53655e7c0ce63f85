"""Edit distance by rapidfuzz, for `fairseq-generate --scoring edit_distance`."""

from dataclasses import dataclass

from fairseq.dataclass import FairseqDataclass
from fairseq.scoring import BaseScorer, register_scorer


@dataclass
class EditDistanceConfig(FairseqDataclass):
    pass


@register_scorer("edit_distance", dataclass=EditDistanceConfig)
class EditDistanceScorer(BaseScorer):
    """Levenshtein distance of tokens, all sentences together, in per cent of the number of gold tokens."""

    def __init__(self, cfg):
        super().__init__(cfg)
        self.edits = self.total = self.sentences = 0

    def add_string(self, ref: str, pred: str) -> None:
        """Count one sentence."""
        from rapidfuzz.distance import Levenshtein

        gold = ref.split()
        self.edits += Levenshtein.distance(gold, pred.split())
        self.total += len(gold)
        self.sentences += 1

    def score(self) -> float:
        return 100.0 * self.edits / self.total if self.total else 0.0

    def result_string(self) -> str:
        return f"edit distance: {self.score():.2f} % ({self.edits} edits of {self.total} tokens)"
