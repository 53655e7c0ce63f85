"""The dictionary of units, which can also write down the words that go with them.

fairseq-generate turns token numbers into text by the task's dictionary, and homophones have the same units. So what is
decoded, and what is gold, is the units, an arrow and the words: `T O | G O | => TO GO`. Words get their numbers when
they are first met; they are none of the model's outputs.
"""

from collections.abc import Iterable

from fairseq.data import Dictionary

from seqsearch_fairseq.data.recognition.units import ARROW, ARROW_NUMBER
from seqsearch_fairseq.errors import UsageError


class UnitDictionary(Dictionary):
    """fairseq's dictionary; its length is the number of units and special symbols."""

    def __init__(self, **options):
        super().__init__(**options)
        self.words: list[str] = []
        self.numbers: dict[str, int] = {}

    def with_words(self, units: Iterable[int], words: Iterable[str]) -> list[int]:
        """Token numbers of units, the arrow, and the words."""
        return [*units, ARROW_NUMBER, *map(self._number, words)]

    def _number(self, word: str) -> int:
        if word not in self.numbers:
            self.words.append(word)
            self.numbers[word] = ARROW_NUMBER + len(self.words)
        return self.numbers[word]

    def __getitem__(self, idx):
        if idx < ARROW_NUMBER:
            return super().__getitem__(idx)
        return ARROW if idx == ARROW_NUMBER else self.words[int(idx) - ARROW_NUMBER - 1]

    def string(self, tensor, bpe_symbol=None, *args, **options):
        if bpe_symbol is not None:
            raise UsageError(f"--post-process {bpe_symbol}: search_recognition writes the words itself; leave it out")
        return super().string(tensor, None, *args, **options)


class WordsAfterArrow:
    """In the place of fairseq's BPE: of units, an arrow and words it leaves the words."""

    def decode(self, text: str) -> str:
        tokens = text.split()
        return " ".join(tokens[tokens.index(ARROW) + 1 :] if ARROW in tokens else tokens)
