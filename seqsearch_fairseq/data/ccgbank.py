"""Supertags of CCGbank: the leaves of its `.auto` derivations, or lines of `word|POS|supertag`."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from seqsearch_fairseq.data.columns import Sentence
from seqsearch_fairseq.data.files import FormatError

# What a derivation consists of: an inner node's beginning with its category, head and number of children; a leaf with
# its category, two parts of speech, its word and its category with indices; and an inner node's end.
PIECES = re.compile(r"\(<T (\S+) (\d+) (\d+)> ?|\(<L (\S+) (\S+) (\S+) (\S+) (\S+)>\) ?|(\)) ?")
AUTO = re.compile(r"\.auto(\.gz|\.bz2|\.xz)?$")
SECTIONS = {"train": "02-21", "valid": "00", "test": "23"}  # of the Wall Street Journal, as papers split it


def read_auto(lines: Iterable[str], name: str) -> Iterator[Sentence]:
    """Yield the sentences of an `.auto` file, as a stream: word, part of speech and supertag of each leaf.

    Raises:
        FormatError: a line that is neither empty, nor begins with `ID=`, nor is a whole derivation.
    """
    for number, text in enumerate(lines, 1):
        text = text.strip()
        if not text or text.startswith("ID="):
            continue
        leaves = _leaves(text, f"{name}, line {number}")
        yield Sentence([number] * len(leaves), leaves)


def _leaves(text: str, where: str) -> list[list[str]]:
    leaves: list[list[str]] = []
    missing: list[int] = []  # children that each open node waits for
    place = 0
    while place < len(text):
        piece = PIECES.match(text, place)
        if piece is None or (place > 0 and not missing):
            raise FormatError(f"{where}: no derivation of CCGbank at column {place + 1}: {text[place : place + 40]!r}")
        place = piece.end()
        if piece[9]:
            if missing.pop() != 0:
                raise FormatError(f"{where}: a node that ends at column {place} has too few or too many children")
            continue
        if missing:
            missing[-1] -= 1
        if piece[1]:
            missing.append(int(piece[3]))
        else:
            leaves.append([piece[7], piece[5], piece[4]])
    if missing or not leaves:
        raise FormatError(f"{where}: the derivation is cut short, {len(missing)} nodes do not end")
    return leaves


def read_pipes(lines: Iterable[str], name: str) -> Iterator[Sentence]:
    """Yield the sentences of a file with a sentence a line, each token `word|POS|supertag`, as a stream.

    Raises:
        FormatError: a token without three parts.
    """
    for number, text in enumerate(lines, 1):
        rows = [token.rsplit("|", 2) for token in text.split()]
        for row in rows:
            if len(row) != 3 or "" in row:
                raise FormatError(f"{name}, line {number}: a token must be word|POS|supertag, got {'|'.join(row)!r}")
        if rows:
            yield Sentence([number] * len(rows), rows)


def section_files(folder: Path, sections: str) -> list[Path]:
    """The `.auto` files of some sections, in order: those of `folder`/**/SECTION/.

    Args:
        folder: CCGbank, or the part of it with the derivations.
        sections: a number, or the first and the last one (`02-21`).

    Raises:
        FormatError: there are none, or `sections` is of another form.
    """
    numbers = re.fullmatch(r"(\d\d?)(?:-(\d\d?))?", sections)
    if numbers is None:
        raise FormatError(f"sections must be a number or two, as in 02-21, got {sections!r}")
    first, last = int(numbers[1]), int(numbers[2] or numbers[1])
    if last < first:
        raise FormatError(f"sections must be in ascending order, as in 02-21, got {sections!r}")
    wanted = {f"{section:02}" for section in range(first, last + 1)}
    found = sorted(path for path in folder.rglob("*.auto*") if path.parent.name in wanted and AUTO.search(path.name))
    files = list({AUTO.sub("", str(path)): path for path in reversed(found)}.values())[::-1]  # once, if also compressed
    missing = wanted - {path.parent.name for path in files}
    if missing:
        raise FormatError(f"{folder} must hold .auto files of section {min(missing)} in a folder of that name")
    return files
