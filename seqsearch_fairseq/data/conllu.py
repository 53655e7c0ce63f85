"""CoNLL-U, the format of Universal Dependencies: ten columns, separated by tabs, a blank line after each sentence.

Comments, the ranges of words that are written as one (`3-4`) and empty nodes (`5.1`) are no tokens. CoNLL-X, the format
of 2006, is read likewise: its columns have the same places.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from seqsearch_fairseq.data.columns import Sentence
from seqsearch_fairseq.data.files import FormatError

COLUMNS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
NO_VALUE = "_"
NO_TOKEN = re.compile(r"\d+[-.]\d+")  # the number of a range, or of an empty node
PREDICTED = "Predicted"
ESCAPES = str.maketrans({"\\": "\\\\", "|": "\\p"})  # as Universal Dependencies writes them in SpacesAfter


def read_conllu(lines: Iterable[str], name: str) -> Iterator[Sentence]:
    """Yield the sentences of a CoNLL-U file, as a stream.

    Raises:
        FormatError: a line that is neither blank, nor begins with `#`, nor has ten columns, none empty; or a token's
            number that does not follow the one before.
    """
    numbers: list[int] = []
    rows: list[list[str]] = []
    for number, text in enumerate(lines, 1):
        if not text or text.isspace():
            if rows:
                yield Sentence(numbers, rows)
                numbers, rows = [], []
            continue
        if text.startswith("#"):
            continue
        columns, where = text.split("\t"), f"{name}, line {number}"
        if len(columns) != len(COLUMNS) or "" in columns:
            raise FormatError(
                f"{where}: CoNLL-U has {len(COLUMNS)} columns, separated by tabs, none empty; got {text[:80]!r}"
            )
        if NO_TOKEN.fullmatch(columns[0]):
            continue
        if columns[0] != str(len(rows) + 1):
            raise FormatError(
                f"{where}: the tokens of a sentence must be numbered from 1, got {columns[0]!r:.20} for token "
                f"{len(rows) + 1}; is a blank line missing before it?"
            )
        numbers.append(number)
        rows.append(columns)
    if rows:
        yield Sentence(numbers, rows)


def predicted_in_misc(text: str, labels: Sequence[str]) -> str:
    """The rewriting of a token's line: `Predicted=LABEL` becomes part of its last column, MISC.

    An earlier one is replaced. `|`, which separates the parts, is written `\\p` in a label, and a backslash doubled.
    """
    (label,) = labels
    head, misc = text.rsplit("\t", 1)
    blanks = misc[len(misc.rstrip(" ")) :]
    parts = [part for part in misc.rstrip(" ").split("|") if part != NO_VALUE and not part.startswith(f"{PREDICTED}=")]
    return f"{head}\t{'|'.join([*parts, f'{PREDICTED}={label.translate(ESCAPES)}'])}{blanks}"
