"""Column files: one token a line, columns separated by tabs or spaces, a blank line after each sentence."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from seqsearch_fairseq.data.files import FormatError

DOCUMENT = "-DOCSTART-"


class Sentence(NamedTuple):
    lines: list[int]  # the number of each token's line in the file, from 1
    rows: list[list[str]]  # one list of columns a token

    def where(self, name: str, position: int) -> str:
        """The place of a token, for messages."""
        return f"{name}, line {self.lines[position]}"


def read_columns(lines: Iterable[str], name: str, comments: bool = False) -> Iterator[Sentence]:
    """Yield the sentences of a column file, as a stream.

    Args:
        lines: the file's lines.
        name: the file's name, for messages.
        comments: whether a line that begins with `#` is a comment and no token.

    Raises:
        FormatError: a line with another number of columns than the first one, or with an empty one.
    """
    numbers: list[int] = []
    rows: list[list[str]] = []
    width = 0
    for number, text in enumerate(lines, 1):
        if not text or text.isspace():
            if rows:
                yield Sentence(numbers, rows)
                numbers, rows = [], []
            continue
        if comments and text.startswith("#"):
            continue
        columns = split_columns(text)
        mark = columns[0] == DOCUMENT  # its number of columns is another one in some corpora
        width = width or (0 if mark else len(columns))
        if (len(columns) != width and not mark) or "" in columns:
            raise FormatError(
                f"{name}, line {number}: must have {width} columns as the first line has, none empty; got {text!r}"
            )
        numbers.append(number)
        rows.append(columns)
    if rows:
        yield Sentence(numbers, rows)


def split_columns(text: str) -> list[str]:
    """A line's columns: separated by tabs where there is one, else by single spaces (more at its end count nothing)."""
    if "\t" in text:
        return [column.strip(" ") for column in text.split("\t")]
    return text.rstrip(" ").split(" ")


def is_document_mark(sentence: Sentence) -> bool:
    """Whether this is the line that begins a document, which the CoNLL tasks of 2002 and 2003 have, and no sentence."""
    return len(sentence.rows) == 1 and sentence.rows[0][0] == DOCUMENT
