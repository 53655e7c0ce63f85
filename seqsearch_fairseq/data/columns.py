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
        if columns[0] == DOCUMENT:  # in some corpora without a blank line after it, or with fewer columns
            if rows:
                yield Sentence(numbers, rows)
                numbers, rows = [], []
            yield Sentence([number], [columns])
            continue
        width = width or len(columns)
        if len(columns) != width or "" in columns:
            raise FormatError(
                f"{name}, line {number}: must have {width} columns as the first line has, none empty; got {text!r}"
            )
        numbers.append(number)
        rows.append(columns)
    if rows:
        yield Sentence(numbers, rows)


def split_columns(text: str) -> list[str]:
    """A line's columns: separated by tabs where there is one, else by spaces."""
    if "\t" in text:
        return [column.strip(" ") for column in text.split("\t")]
    return [column for column in text.split(" ") if column]


def pick(sentence: Sentence, column: int, name: str) -> list[str]:
    """One column of a sentence, white space inside a token written as `_`.

    Raises:
        FormatError: there is no such column.
    """
    try:
        return ["_".join(row[column].split()) or "_" for row in sentence.rows]
    except IndexError:
        row = next(i for i, row in enumerate(sentence.rows) if not -len(row) <= column < len(row))
        raise FormatError(
            f"{sentence.where(name, row)}: there is no column {column}, the line has {len(sentence.rows[row])}"
        ) from None


def is_document_mark(sentence: Sentence) -> bool:
    """Whether this is the line that begins a document, which the CoNLL tasks of 2002 and 2003 have, and no sentence."""
    return len(sentence.rows) == 1 and sentence.rows[0][0] == DOCUMENT
