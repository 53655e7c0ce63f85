"""Column files: one token a line, columns separated by tabs or spaces, a blank line after each sentence."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from seqsearch_fairseq.data.files import FormatError

DOCUMENT = "-DOCSTART-"
CONLLU = re.compile(
    r"\d+([-.]\d+)?(\t[^\t]*){5}\t(\d+|_)(\t[^\t]*){3}"
)  # a token of CoNLL-U: its number, ..., its head

Column = int | str  # its number, from 0, or its key in JSON lines


class Sentence(NamedTuple):
    lines: list[int]  # the number of each token's line in the file, from 1
    rows: list  # the columns of each token: a list, or a dict by key in JSON lines
    missing: Mapping[str, str] = {}  # keys of JSON lines that are no column -> why not

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
        FormatError: a line with another number of columns than the first one, or with an empty one; or the file is of
            another layout.
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
        if not width:
            width, first = len(columns), text
            _refuse_other_layouts(text, f"{name}, line {number}")
        if len(columns) != width or "" in columns:
            raise FormatError(
                f"{name}, line {number}: must have {width} columns as the first line has, none empty; got {text[:80]!r}"
                f"{_is_commented(first)}"
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


def _refuse_other_layouts(text: str, where: str) -> None:
    """Look at the first token's line for what another layout would have there."""
    if text.lstrip().startswith(("{", "[{")):
        try:
            is_json = bool(json.loads(text))
        except ValueError:
            is_json = False
        if is_json:
            raise FormatError(f"{where}: JSON, where a token and its columns must be; --layout jsonl reads JSON lines")
    if CONLLU.fullmatch(text):
        raise FormatError(f"{where}: a token of CoNLL-U, whose first column is a number; --layout conllu reads it")


def _is_commented(first: str) -> str:
    if not first.startswith("#"):
        return ""
    return "; the first line begins with #, which is a comment in --layout conllu and germeval2014 only"


def pick(sentence: Sentence, column: Column, name: str) -> list[str]:
    """One column of a sentence, white space inside a token written as `_`.

    Raises:
        FormatError: there is no such column.
    """
    return ["_".join(str(value).split()) or "_" for value in values(sentence, column, name)]


def values(sentence: Sentence, column: Column, name: str) -> list:
    """One column of a sentence as it is: strings, or numbers in JSON lines.

    Raises:
        FormatError: there is no such column.
    """
    try:
        return [row[column] for row in sentence.rows]
    except KeyError:
        reason = sentence.missing.get(str(column), "there is no such key")
        raise FormatError(
            f"{sentence.where(name, 0)}: {column!r} cannot be read: {reason}; what has a value a token is "
            f"{', '.join(map(repr, sentence.rows[0]))}, and --word-column and --label-column name such keys"
        ) from None
    except IndexError:
        row = next(i for i, row in enumerate(sentence.rows) if not -len(row) <= int(column) < len(row))
        raise FormatError(
            f"{sentence.where(name, row)}: there is no column {column}, the line has {len(sentence.rows[row])}"
        ) from None


def is_document_mark(sentence: Sentence) -> bool:
    """Whether this is the line that begins a document, which the CoNLL tasks of 2002 and 2003 have, and no sentence."""
    return len(sentence.rows) == 1 and not isinstance(sentence.rows[0], dict) and sentence.rows[0][0] == DOCUMENT
