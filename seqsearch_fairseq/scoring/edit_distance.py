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

    def score(self) -> float:
        edits, total = self._counts()
        return 100.0 * edits / total if total else 0.0

    def result_string(self) -> str:
        edits, total = self._counts()
        return f"edit distance: {self.score():.2f} % ({edits} edits of {total} tokens)"

    def _counts(self) -> tuple[int, int]:
        from rapidfuzz.distance import Levenshtein

        pairs = [(gold.split(), found.split()) for gold, found in zip(self.ref, self.pred, strict=True)]
        return sum(Levenshtein.distance(*pair) for pair in pairs), sum(len(gold) for gold, _ in pairs)
