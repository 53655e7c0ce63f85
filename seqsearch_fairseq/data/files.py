"""Text files as their publishers ship them: plain or compressed, read as a stream of lines whose numbers are known."""

import bz2
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from seqsearch_fairseq.errors import UsageError

# The first bytes of a compressed file, whatever its name is.
OPENERS: dict[bytes, Callable] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
BYTE_ORDER_MARK = "\ufeff".encode()


class FormatError(UsageError):
    """The file breaks its format; the message names file and line."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file that is plain or compressed with gzip, bzip2 or xz.

    Raises:
        FormatError: while it is read, if a compressed file is cut short or broken.
    """
    with path.open("rb") as raw:
        head = raw.peek(6)[:6]
        opener = next((opener for magic, opener in OPENERS.items() if head.startswith(magic)), None)
        if opener is None:
            yield raw
            return
        try:
            with opener(raw) as inner:
                yield inner
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise FormatError(f"{path} is cut short or broken: {error}") from error
        except OSError as error:  # bzip2 says of broken data no more than this
            if error.errno is not None:
                raise
            raise FormatError(f"{path} is cut short or broken: {error}") from error


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """The lines of a file without their ends, as a stream.

    Raises:
        FormatError: bytes that are not of this encoding, or a compressed file that is cut short.
    """
    with opened(path) as lines:
        for number, raw in enumerate(lines, 1):
            yield decoded(raw, number, str(path), encoding)


def decoded(raw: bytes, number: int, name: str, encoding: str = "utf-8") -> str:
    """One line without its end, and without a byte order mark (files that have one may have been joined).

    Args:
        raw: the line's bytes.
        number: of the line, from 1, for messages.
        name: of the file, likewise.
        encoding: one in which a line feed is one byte.

    Raises:
        FormatError: bytes that are not of this encoding, a NUL byte, or a carriage return inside the line.
    """
    where = f"{name}, line {number}"
    if raw.startswith(BYTE_ORDER_MARK):
        if encoding != "utf-8":
            raise FormatError(f"{where}: the file begins as UTF-8 does, but is to be read as {encoding}")
        raw = raw.removeprefix(BYTE_ORDER_MARK)
    try:
        line = raw.decode(encoding).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"{where}: not {encoding.upper()} ({error.reason} at byte {error.start})") from error
    if "\0" in line:
        raise FormatError(f"{where}: a NUL byte, which text does not hold; is it a text file?")
    if "\r" in line:
        raise FormatError(f"{where}: a carriage return inside the line, which other programs take for its end")
    return line


def progress(items: Iterable, name: str, unit: str, total: int | None = None):
    """The items, counted on standard error where that is a terminal."""
    return tqdm(items, desc=name, unit=f" {unit}", total=total, disable=not sys.stderr.isatty())
