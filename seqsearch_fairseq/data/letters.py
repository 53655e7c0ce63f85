"""Taskar's OCR letters: one glyph a line, 16 x 8 pixels, words spread over lines (ai.stanford.edu/~btaskar/ocr).

Columns, separated by tabs: id, letter, next_id (-1 ends a word), word_id, position, fold (0 to 9), p_0_0 ... p_15_7.
A glyph's token spells its pixels in hexadecimal digits, so equal glyphs are one token and none is lost.
"""

import string
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from seqsearch_fairseq.data.files import FormatError

PIXELS = 128
FOLDS = 10
LETTERS = tuple(string.ascii_lowercase)
HEAD = 6  # columns before the pixels


class Word(NamedTuple):
    glyphs: list[str]
    letters: list[str]
    fold: int


def read_letters(lines: Iterable[str], name: str) -> Iterator[Word]:
    """Yield the words of a letters file, as a stream.

    Args:
        lines: the file's lines.
        name: the file's name, for messages.

    Raises:
        FormatError: a line that breaks the format, or a file that ends within a word.
    """
    glyphs: list[str] = []
    letters: list[str] = []
    number = 0
    for number, text in enumerate(lines, 1):
        columns = text.split()
        if not columns:
            continue
        where = f"{name}, line {number}"
        if len(columns) != HEAD + PIXELS:
            raise FormatError(f"{where}: must have {PIXELS} pixels after {HEAD} columns, got {len(columns) - HEAD}")
        _, letter, next_id, _, _, fold = columns[:HEAD]
        pixels = "".join(columns[HEAD:])
        if set(pixels) - {"0", "1"} or len(pixels) != PIXELS:
            raise FormatError(f"{where}: pixels must be 0 or 1")
        if letter not in LETTERS:
            raise FormatError(f"{where}: the letter must be one of a-z, got {letter!r}")
        if not fold.isdecimal() or int(fold) >= FOLDS:
            raise FormatError(f"{where}: the fold must be a number from 0 to {FOLDS - 1}, got {fold!r}")
        glyphs.append(token_of(pixels))
        letters.append(letter)
        if next_id == "-1":
            yield Word(glyphs, letters, int(fold))
            glyphs, letters = [], []
    if glyphs:
        raise FormatError(f"{name}, line {number}: the file ends within a word of {len(glyphs)} letters")


def token_of(pixels: str) -> str:
    """From 128 times 0 or 1 to a token of 32 hexadecimal digits."""
    return f"{int(pixels, 2):0{PIXELS // 4}x}"


def pixels_of(token: str) -> list[int]:
    """The reverse of `token_of`."""
    return [int(bit) for bit in f"{int(token, 16):0{PIXELS}b}"]
