"""Lexicons: which units spell a word. Two formats are read, and flashlight's is written.

flashlight's: a word, a tab, and its units with blanks between; a word that is spelled in several ways has a line for
each. CMU's, which AN4 comes with, marks the ways of a word by a number: `EIGHTH(2)  EY TH`.
"""

import re
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from seqsearch_fairseq.data.files import FormatError, read_lines

ANOTHER_WAY = re.compile(r"\(\d+\)$")


class Pronunciation(NamedTuple):
    """One way in which a word is spelled, or pronounced."""

    word: str
    units: tuple[str, ...]


class Lexicon:
    """Words and their spellings, in the order of the file; equal pairs once."""

    def __init__(self, pronunciations: Iterable[Pronunciation]):
        self.pronunciations = list(dict.fromkeys(pronunciations))
        self.of_word: dict[str, list[tuple[str, ...]]] = {}
        self.word_of: dict[tuple[str, ...], str] = {}  # of homophones the first
        for word, units in self.pronunciations:
            self.of_word.setdefault(word, []).append(units)
            self.word_of.setdefault(units, word)

    def __contains__(self, word: str) -> bool:
        return word in self.of_word

    def __len__(self) -> int:
        return len(self.pronunciations)

    def without(self, separator: str | None) -> "Lexicon":
        """The lexicon without the separator, which spellings may have at their end.

        Raises:
            FormatError: a spelling has nothing else.
        """
        stripped = [
            Pronunciation(word, units[:-1] if units[-1] == separator else units) for word, units in self.pronunciations
        ]
        for word, units in stripped:
            if not units:
                raise FormatError(f"the lexicon spells the word {word!r} with nothing but {separator!r}")
        return Lexicon(stripped)

    def check(self, transcriptions: Iterable[str], name: str) -> None:
        """Refuse a word that is not in the lexicon.

        Args:
            transcriptions: the words of each utterance, blanks between them.
            name: of the file they are the lines of.

        Raises:
            FormatError: it names the line and the word.
        """
        for number, line in enumerate(transcriptions, 1):
            for word in line.split():
                if word not in self:
                    raise FormatError(f"{name}, line {number}: the word {word!r} is not in the lexicon")


def read_lexicon(path: Path, units: Container[str] | None = None) -> Lexicon:
    """A lexicon in flashlight's format.

    Args:
        units: what a spelling may consist of; None is anything.

    Raises:
        FormatError: a line without a word or without units, a unit that is not in `units`, or no line at all.
    """
    found = []
    for where, word, spelling in _lines(path):
        if not spelling:
            raise FormatError(f"{where}: the word {word!r} has no spelling; must be a word, a tab and its units")
        unknown = None if units is None else next((unit for unit in spelling if unit not in units), None)
        if unknown is not None:
            raise FormatError(f"{where}: the unit {unknown!r} of the word {word!r} is not in the dictionary of units")
        found.append(Pronunciation(word, spelling))
    if not found:
        raise FormatError(f"{path} holds no word")
    return Lexicon(found)


def read_cmu_lexicon(path: Path) -> Lexicon:
    """A lexicon in the format of CMU's pronouncing dictionary; `;;;` begins a comment.

    Raises:
        FormatError: a line without a word or without units, or no line at all.
    """
    found = []
    for where, word, units in _lines(path, comment=";;;"):
        if not units:
            raise FormatError(f"{where}: the word {word!r} has no pronunciation")
        found.append(Pronunciation(ANOTHER_WAY.sub("", word) or word, units))
    if not found:
        raise FormatError(f"{path} holds no word")
    return Lexicon(found)


def write_lexicon(path: Path, lexicon: Lexicon, separator: str | None = None) -> None:
    """Write flashlight's format, with the separator, if there is one, at the end of each spelling."""
    end = "" if separator is None else f" {separator}"
    with path.open("w", encoding="utf-8") as out:
        out.writelines(f"{word}\t{' '.join(units)}{end}\n" for word, units in lexicon.pronunciations)


def _lines(path: Path, comment: str | None = None) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """File and line, word and units of each line that is not empty."""
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip() or (comment and line.startswith(comment)):
            continue
        if line[0].isspace():
            raise FormatError(f"{path}, line {number}: must begin with a word, got {line[:60]!r}")
        word, *units = line.split()
        yield f"{path}, line {number}", word, tuple(units)
