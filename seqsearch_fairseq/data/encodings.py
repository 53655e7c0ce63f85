"""In which encoding a text file is: said by the user, or found by reading the file once.

`auto` is UTF-8 where the whole file is UTF-8, and Latin-1 (ISO 8859-1) where it is not: the corpora of CoNLL-2002 and
2003 are published in Latin-1, and most copies of them are UTF-8.
"""

import codecs
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from seqsearch_fairseq.data.files import FormatError, opened

AUTO, UTF8, LATIN1 = "auto", "utf-8", "iso-8859-1"
CONTROLS = re.compile(rb"[\x80-\x9f]")
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Encoding(NamedTuple):
    """How a file is to be read."""

    name: str  # as Python's codecs know it
    note: str | None = None  # one line for the user, where the choice is a guess


class _Lines(NamedTuple):
    """What a file holds that is not ASCII. Lines are numbered from 1; None where there is no such line."""

    marked: bool  # begins with the byte order mark of UTF-8
    not_utf8: int | None  # the first line that is not UTF-8
    many_bytes: int | None  # the first that is, and has a character of several bytes
    how_many: int  # are so
    controls: bool  # whether there are bytes that Latin-1 has no printed character for


def encoding_of(path: Path, wanted: str = AUTO) -> Encoding:
    """The encoding of a file: `wanted`, or what `auto` finds. The file is read once, as a stream.

    A pipe cannot be read twice: there `auto` is UTF-8, and bytes that are not are an error of the reader.

    Raises:
        FormatError: the file begins as UTF-16 does; or `wanted` takes each byte for a character, and the file as a
            whole is UTF-8 with characters of several bytes.
    """
    if not path.is_file():
        return Encoding(UTF8 if wanted == AUTO else wanted)
    if wanted == UTF8 or (wanted != AUTO and not _one_byte_a_character(wanted)):
        return Encoding(wanted)
    with opened(path) as lines:
        found = _look_at(lines, path)
    if wanted == AUTO:
        if found.marked or found.not_utf8 is None:
            return Encoding(UTF8)
        return Encoding(LATIN1, _note(path, found))
    if found.not_utf8 is None and found.many_bytes is not None:
        raise FormatError(
            f"{path}, line {found.many_bytes}: the file is UTF-8, and {wanted} would make several characters of one; "
            "say --encoding utf-8, or leave --encoding out"
        )
    return Encoding(wanted)


def _note(path: Path, found: _Lines) -> str:
    doubts = ""
    if found.many_bytes is not None:
        doubts += (
            f"; but {found.how_many} lines, {found.many_bytes} is the first, are as in UTF-8: it may be damaged UTF-8"
        )
    elif found.controls:
        doubts += "; but it holds bytes that Latin-1 has no character for: --encoding cp1252 may be right"
    said = (
        f"{path} is read as Latin-1 (ISO 8859-1), as line {found.not_utf8} is not UTF-8; --encoding names another one"
    )
    return said + doubts


def _look_at(lines: Iterable[bytes], path: Path) -> _Lines:
    marked, not_utf8, many_bytes, count, controls = False, None, None, 0, False
    for number, line in enumerate(lines, 1):
        if number == 1:
            if line.startswith(UTF16_MARKS):
                raise FormatError(
                    f"{path}: the file begins as UTF-16 does; convert it to UTF-8 first (iconv -f UTF-16)"
                )
            marked = line.startswith(codecs.BOM_UTF8)
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.isascii():
            continue
        try:
            line.decode(UTF8)
        except UnicodeDecodeError:
            not_utf8 = not_utf8 or number
            controls = controls or CONTROLS.search(line) is not None
        else:
            many_bytes, count = many_bytes or number, count + 1
    return _Lines(marked, not_utf8, many_bytes, count, controls)


def _one_byte_a_character(encoding: str) -> bool:
    return len(bytes(range(256)).decode(encoding, errors="replace")) == 256
