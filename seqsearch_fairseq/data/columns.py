"""Column files: one token a line, columns separated by tabs or spaces, a blank line after each sentence."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class FormatError(ValueError):
    """The file breaks its format; the message names file and line."""


class Sentence(NamedTuple):
    line: int  # number of its first line in the file, from 1
    rows: list[list[str]]  # one list of columns a token


def read_columns(lines: Iterable[bytes], name: str) -> Iterator[Sentence]:
    """Yield the sentences of a column file, as a stream.

    Args:
        lines: the file's lines, undecoded.
        name: the file's name, for messages.

    Raises:
        FormatError: bytes that are not UTF-8, or a line with another number of columns than the first one.
    """
    rows: list[list[str]] = []
    first = width = 0
    for number, raw in enumerate(lines, 1):
        try:
            text = raw.decode("utf-8").strip("\r\n")
        except UnicodeDecodeError as error:
            raise FormatError(f"{name}, line {number}: not UTF-8 ({error.reason} at byte {error.start})") from error
        if not text.strip():
            if rows:
                yield Sentence(first, rows)
            rows = []
            continue
        columns = text.split("\t") if "\t" in text else text.split(" ")
        width = width or len(columns)
        if len(columns) != width or not all(column.strip() for column in columns):
            raise FormatError(
                f"{name}, line {number}: must have {width} columns as the first line has, none empty; got {text!r}"
            )
        first = first if rows else number
        rows.append(columns)
    if rows:
        yield Sentence(first, rows)
