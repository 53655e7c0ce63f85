"""fairseq's format for speech: one manifest and some files of transcriptions for each split.

`SPLIT.tsv` names the root folder in its first line, then an utterance a line: its path below the root, a tab, and its
length: frames, or samples where the file is audio. `SPLIT.wrd` has the words of each utterance, a line each, and
`SPLIT.ltr` (or another label) its units, separated by blanks.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from seqsearch_fairseq.data.files import FormatError, read_lines


class Entry(NamedTuple):
    """An utterance of a manifest."""

    path: Path
    length: int  # frames of features, or samples of audio


def read_manifest(path: Path) -> Iterator[Entry]:
    """The utterances of a manifest, in its order.

    Raises:
        FormatError: no root folder, or a line that is not a path, a tab and a positive number.
    """
    root = None
    for number, line in enumerate(read_lines(path), 1):
        if root is None:
            root = Path(line.strip())
            if not line.strip() or "\t" in line:
                raise FormatError(f"{path}, line 1: must be the root folder of the paths below, got {line[:60]!r}")
            continue
        name, tab, length = line.partition("\t")
        if not (name and tab) or not length.strip().isdecimal() or int(length) == 0:
            raise FormatError(f"{path}, line {number}: must be a path, a tab and a number of frames, got {line[:60]!r}")
        yield Entry(root / name, int(length))
    if root is None:
        raise FormatError(f"{path} is empty; its first line must be the root folder of the paths below")


def write_manifest(path: Path, root: Path, entries: Iterable[Entry]) -> None:
    """Write the manifest of files that lie below `root`."""
    with path.open("w", encoding="utf-8") as out:
        out.write(f"{root}\n")
        for entry in entries:
            out.write(f"{entry.path.relative_to(root)}\t{entry.length}\n")


def read_transcriptions(path: Path, manifest: Path, utterances: int) -> list[str]:
    """The lines of a file of transcriptions, blanks as one space each.

    Raises:
        FormatError: it has not as many lines as the manifest has utterances.
    """
    lines = [" ".join(line.split()) for line in read_lines(path)]
    if len(lines) != utterances:
        raise FormatError(
            f"{path} has {len(lines)} lines, and {manifest} {utterances} utterances; they must be parallel"
        )
    return lines
