"""What fairseq-generate printed: the best hypothesis of each sentence, in the order of the data.

fairseq-generate decodes long and short sentences apart, so the order of its lines is another one. The hypotheses are
copied to a temporary file while they are read, and of each only its place in it is kept, in 16 bytes.
"""

import tempfile
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from seqsearch_fairseq.data.files import FormatError, progress, read_lines

NOWHERE = -1


@contextmanager
def hypotheses(path: Path) -> Iterator[Iterator[list[str]]]:
    """The best hypothesis, as its tokens, of sentences 0, 1, 2, ...

    Args:
        path: what fairseq-generate printed; a pipe or compressed, too.

    Raises:
        FormatError: a line `H-...` of another form, none at all, or one is missing between others.
    """
    with tempfile.TemporaryFile() as copy:
        places = _copied(path, copy)
        yield (_line_at(copy, place) for place in places)


def _copied(path: Path, copy: BinaryIO) -> array:
    """Copy the hypotheses; return the place of each in the copy, in the order of the data."""
    numbers, starts, end = array("q"), array("q"), 0
    for count, line in enumerate(progress(read_lines(path), path.name, "lines"), 1):
        if not line.startswith("H-"):
            continue
        head, *rest = line[2:].split("\t")
        if not head.isdecimal() or len(rest) != 2 or len(head) > 18:
            raise FormatError(f"{path}, line {count}: must be H-NUMBER, score and tokens, got {line[:60]!r}")
        numbers.append(int(head))
        starts.append(end)
        end += copy.write(f"{rest[1]}\n".encode())
    if not numbers:
        raise FormatError(f"{path} holds no line H-..., which fairseq-generate writes for each sentence")
    highest = max(numbers)
    places = array("q", [NOWHERE]) * (min(highest, len(numbers)) + 1)
    for number, start in zip(reversed(numbers), reversed(starts), strict=True):  # of several, the first is the best
        if number < len(places):
            places[number] = start
    missing = next((number for number, place in enumerate(places) if place == NOWHERE), None)
    if missing is not None:
        raise FormatError(f"{path}: sentence {missing} is missing, and the last one is {highest}")
    return places


def _line_at(copy: BinaryIO, place: int) -> list[str]:
    copy.seek(place)
    return copy.readline().decode().split()
