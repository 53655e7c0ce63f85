"""Word and unit error rates by rapidfuzz, for `fairseq-generate --task search_recognition`.

What is generated and what is gold are units, then an arrow, then words (`tasks/unit_dictionary.py`). `recognition`
counts both, `unit_error_rate` the units: fairseq hands them token numbers. `word_error_rate` reads lines of words, as
fairseq's own `wer` does.
"""

import importlib.util
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from fairseq.dataclass import FairseqDataclass
from fairseq.scoring import BaseScorer, register_scorer

from seqsearch_fairseq.data.recognition.units import ARROW_NUMBER

DEFAULT_SCORER = "recognition"


class Errors(NamedTuple):
    """Edits that turn the gold sequences into the predicted ones."""

    edits: int = 0
    total: int = 0  # gold tokens

    def and_of(self, gold: Sequence, predicted: Sequence) -> "Errors":
        """With those of one more sequence."""
        from rapidfuzz.distance import Levenshtein

        return Errors(self.edits + Levenshtein.distance(gold, predicted), self.total + len(gold))

    def plus(self, other: "Errors") -> "Errors":
        """The errors of both."""
        return Errors(self.edits + other.edits, self.total + other.total)

    def rate(self) -> float:
        """In per cent of the gold tokens; 0 where there are none."""
        return 100.0 * self.edits / self.total if self.total else 0.0

    def said(self, kind: str) -> str:
        return f"{kind} error rate: {self.rate():.2f} % ({self.edits} edits of {self.total} {kind}s)"


def parts(tokens) -> tuple[list[int], list[int]]:
    """The numbers of the units and of the words in a sequence of the task's dictionary."""
    numbers = [int(token) for token in tokens]
    arrow = numbers.index(ARROW_NUMBER) if ARROW_NUMBER in numbers else len(numbers)
    return numbers[:arrow], numbers[arrow + 1 :]


@dataclass
class RecognitionConfig(FairseqDataclass):
    pass


@register_scorer(DEFAULT_SCORER, dataclass=RecognitionConfig)
class RecognitionScorer:
    """Both rates; the score is the word error rate. Without `add_string`, so that fairseq calls `add`."""

    def __init__(self, cfg):
        self.words, self.units = Errors(), Errors()

    def add(self, ref, pred) -> None:
        """Count one utterance, as token numbers."""
        (gold_units, gold_words), (units, words) = parts(ref), parts(pred)
        self.units, self.words = self.units.and_of(gold_units, units), self.words.and_of(gold_words, words)

    def score(self) -> float:
        return self.words.rate()

    def result_string(self) -> str:
        return f"{self.words.said('word')}, {self.units.said('unit')}"


@register_scorer("unit_error_rate", dataclass=RecognitionConfig)
class UnitErrorRateScorer(RecognitionScorer):
    """Edits of units, separators between words counted, in per cent of the gold units."""

    def score(self) -> float:
        return self.units.rate()

    def result_string(self) -> str:
        return self.units.said("unit")


@register_scorer("word_error_rate", dataclass=RecognitionConfig)
class WordErrorRateScorer(BaseScorer):
    """Edits of words in per cent of the gold words."""

    def __init__(self, cfg):
        super().__init__(cfg)
        self.words = Errors()

    def add_string(self, ref: str, pred: str) -> None:
        """Count one utterance, as words with blanks between them."""
        self.words = self.words.and_of(ref.split(), pred.split())

    def score(self) -> float:
        return self.words.rate()

    def result_string(self) -> str:
        return self.words.said("word")


@contextmanager
def rapidfuzz_as_editdistance() -> Iterator[None]:
    """A context in which `import editdistance` works, by rapidfuzz where that package is not installed.

    fairseq's `ctc` imports it at validation, and asks for `editdistance.eval`; for Python 3.13 it has no wheel.
    """
    from rapidfuzz.distance import Levenshtein

    name = "editdistance"
    if name in sys.modules or importlib.util.find_spec(name) is not None:
        yield
        return
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].eval = Levenshtein.distance  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del sys.modules[name]
