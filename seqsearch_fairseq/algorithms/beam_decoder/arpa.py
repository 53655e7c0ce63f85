r"""ARPA files: back-off n-grams as text, with the number of the line in every error.

    \data\
    ngram 1=3
    ngram 2=1

    \1-grams:
    -0.3    <s>     -0.2        base-10 logarithm, words, base-10 back-off weight

    \2-grams:
    -0.1    <s> a

    \end\
"""

import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

COUNT = re.compile(r"ngram\s+(\d+)\s*=\s*(\d+)")


class Section(NamedTuple):
    """The n-grams of one order, as they stand in the file."""

    words: Tensor  # (G, n) numbers in the vocabulary
    log_probs: Tensor  # (G,) float64
    backoffs: Tensor  # (G,) float64, NaN where there is none
    lines: Tensor  # (G,)


class Arpa(NamedTuple):
    name: str  # of the file, for messages
    vocabulary: dict[str, int]  # the 1-grams, in the order of the file
    sections: list[Section]  # of order 1, 2, ...

    def place(self, order: int, number: int) -> str:
        """Where an n-gram stands, for messages."""
        return f"{self.name}, line {int(self.sections[order - 1].lines[number])}"

    def text(self, order: int, number: int) -> str:
        words = list(self.vocabulary)
        return " ".join(words[word] for word in self.sections[order - 1].words[number].tolist())


class _Lines:
    """The lines that are not empty, with their numbers."""

    def __init__(self, lines: Iterable[str], name: str):
        self.lines, self.name, self.number, self.text = iter(lines), name, 0, ""

    def next(self, wanted: str) -> str:
        for line in self.lines:
            self.number += 1
            self.text = line.strip()
            if self.text:
                return self.text
        raise ValueError(f"{self.name}, line {self.number}: the file is cut off, {wanted} is missing")

    def error(self, text: str) -> ValueError:
        return ValueError(f"{self.name}, line {self.number}: {text}")


def read_arpa(lines: Iterable[str], name: str) -> Arpa:
    """The n-grams of the lines of an ARPA file.

    Raises:
        ValueError: the file breaks the format; the message names file and line.
    """
    reader = _Lines(lines, name)
    while reader.next("\\data\\") != "\\data\\":
        pass
    counts = list(_counts(reader))
    vocabulary: dict[str, int] = {}
    sections = []
    for order, count in enumerate(counts, 1):
        if reader.text != f"\\{order}-grams:":
            raise reader.error(f"expected \\{order}-grams:, got {reader.text!r}")
        sections.append(_section(reader, order, count, last=order == len(counts), vocabulary=vocabulary))
    if reader.text != "\\end\\":
        raise reader.error(f"expected \\end\\, got {reader.text!r}")
    return Arpa(name, vocabulary, sections)


def _counts(reader: _Lines) -> Iterator[int]:
    """How many n-grams of each order are announced; the reader stands at the next line then."""
    order = 0
    while match := COUNT.fullmatch(reader.next("\\1-grams:")):
        order += 1
        if int(match[1]) != order:
            raise reader.error(f"expected the number of {order}-grams, got {reader.text!r}")
        yield int(match[2])
    if order == 0:
        raise reader.error(f"expected `ngram 1=` and a number, got {reader.text!r}")


def _section(reader: _Lines, order: int, count: int, last: bool, vocabulary: dict[str, int]) -> Section:
    words: list[list[int]] = []
    log_probs: list[float] = []
    backoffs: list[float] = []
    lines: list[int] = []
    while not reader.next("\\end\\").startswith("\\"):
        if len(lines) == count:
            raise reader.error(f"only {count} {order}-grams were announced, got another one")
        columns = reader.text.split()
        if len(columns) not in (order + 1, order + 2):
            raise reader.error(
                f"expected a number, {order} word(s) and perhaps a back-off weight, got {len(columns)} columns"
            )
        spelled = columns[1 : order + 1]
        if order == 1:
            if spelled[0] in vocabulary:
                raise reader.error(f"the 1-gram {spelled[0]!r} stands twice")
            vocabulary[spelled[0]] = len(vocabulary)
        words.append([_known(word, vocabulary, reader) for word in spelled])
        log_probs.append(_number(columns[0], reader))
        if log_probs[-1] > 0:
            raise reader.error(f"a logarithm of a probability must not be positive, got {columns[0]}")
        has_backoff = len(columns) == order + 2 and not last
        backoffs.append(_number(columns[-1], reader) if has_backoff else math.nan)
        lines.append(reader.number)
    if len(lines) != count:
        raise reader.error(f"{count} {order}-grams were announced, but there are {len(lines)}")
    return Section(
        torch.tensor(words, dtype=torch.long).view(-1, order),
        torch.tensor(log_probs, dtype=torch.float64),
        torch.tensor(backoffs, dtype=torch.float64),
        torch.tensor(lines, dtype=torch.long),
    )


def _known(word: str, vocabulary: dict[str, int], reader: _Lines) -> int:
    number = vocabulary.get(word)
    if number is None:
        raise reader.error(f"the word {word!r} is not among the 1-grams")
    return number


def _number(text: str, reader: _Lines) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise reader.error(f"expected a number, got {text!r}")
    return number
