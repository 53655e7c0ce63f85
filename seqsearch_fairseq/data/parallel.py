"""Parallel text: a file a language, with a sentence a line, and as many sentences in each."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from seqsearch_fairseq.data.files import FormatError, read_lines

SUFFIXES = ("", ".gz", ".bz2", ".xz")


class Line(NamedTuple):
    number: int  # in its file, from 1
    text: str


def find_pair(folder: Path, names: Sequence[str], languages: tuple[str, str]) -> tuple[Path, Path] | None:
    """The two files NAME.LANGUAGE of the first of these names that has both, compressed or not; None if none has."""
    for name in names:
        candidates = ([folder / f"{name}.{language}{suffix}" for suffix in SUFFIXES] for language in languages)
        source, target = (next((path for path in paths if path.is_file()), None) for paths in candidates)
        if source is not None and target is not None:
            return source, target
    return None


def plain_lines(path: Path) -> Iterator[Line]:
    """The lines of a file that holds nothing but sentences."""
    return (Line(number, text) for number, text in enumerate(read_lines(path), 1))


def read_pairs(sources: Iterable[Line], targets: Iterable[Line], paths: tuple[Path, Path]) -> Iterator[tuple[str, str]]:
    """Yield source and target sentences side by side, as a stream.

    Args:
        sources: the source sentences.
        targets: the target sentences.
        paths: the two files, for the message.

    Raises:
        FormatError: one of the two has more sentences than the other.
    """
    counts, last = [0, 0], [0, 0]
    for pair in zip_longest(sources, targets):
        for side, line in enumerate(pair):
            if line is not None:
                counts[side], last[side] = counts[side] + 1, line.number
        if counts[0] == counts[1]:
            yield pair[0].text, pair[1].text
    if counts[0] != counts[1]:
        ends = [f"{paths[side]} has {counts[side]} sentences and ends at line {last[side]}" for side in (0, 1)]
        raise FormatError(f"{ends[0]}, {ends[1]}; they must be parallel")
