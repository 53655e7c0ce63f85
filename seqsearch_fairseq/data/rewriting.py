"""Writes a corpus back byte for byte, with a predicted label for each token: in one pass, so a pipe will do.

    lines = KeptLines(sys.stdin.buffer, "standard input")
    sentences = layout.read(lines, lines.name)
    write_back(lines, ((sentence, labels_of(sentence)) for sentence in sentences), out, layout.rewrite)

A line keeps its bytes, white space at its end included. The label is put between them and the end of the line, which
stays what it was: LF, CRLF, or nothing at all at the end of the file. So does a byte order mark.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

from seqsearch_fairseq.data.columns import Sentence
from seqsearch_fairseq.data.files import BYTE_ORDER_MARK, FormatError, decoded

# A line's text without its end, and the labels of the tokens that it holds -> the text with them.
Rewrite = Callable[[str, Sequence[str]], str]


class _Line(NamedTuple):
    number: int  # in the file, from 1
    raw: bytes
    text: str  # without byte order mark and end


class KeptLines:
    """The lines of a file for the reader of a layout; each is kept until it has been written back.

    Args:
        raw: the file's lines, with their ends; a binary file or `opened(path)` gives them.
        name: the file's name, for messages.
        encoding: as Python's codecs know it.
    """

    def __init__(self, raw: Iterable[bytes], name: str, encoding: str = "utf-8"):
        self.name, self.encoding = name, encoding
        self._raw = enumerate(raw, 1)
        self._kept: deque[_Line] = deque()

    def __iter__(self) -> Iterator[str]:
        for number, raw in self._raw:
            text = decoded(raw, number, self.name, self.encoding)
            self._kept.append(_Line(number, raw, text))
            yield text

    def until(self, last: int) -> Iterator[_Line]:
        """Those of the lines that were read and are still kept, up to number `last`. They are kept no longer."""
        while self._kept and self._kept[0].number <= last:
            yield self._kept.popleft()

    def rest(self) -> Iterator[_Line]:
        """All others, read or not."""
        while self._kept:
            yield self._kept.popleft()
        for _ in self:
            yield self._kept.popleft()


def write_back(
    lines: KeptLines,
    tagged: Iterable[tuple[Sentence, Sequence[str]]],
    out: BinaryIO,
    rewrite: Rewrite | None,
    whole: bool = True,
) -> None:
    """Write the file with the labels of its sentences, as a stream.

    Args:
        lines: what the sentences are read from.
        tagged: sentences in the file's order, each with a label a token; those left out come back as they are.
        out: where to.
        rewrite: puts the labels into a line, see `Layout.rewrite`; None writes the columns of each token, its label the
            last one, separated by tabs, and a blank line after each sentence.
        whole: whether lines after the last sentence are written, too; otherwise only blank ones are.

    Raises:
        FormatError: a label that the file's encoding does not have.
    """
    for sentence, labels in tagged:
        wanted: dict[int, list[str]] = {}  # number of a line -> the labels of its tokens
        for number, label in zip(sentence.lines, labels, strict=True):
            wanted.setdefault(number, []).append(label)
        for line in lines.until(sentence.lines[-1]):
            if rewrite is not None:
                out.write(
                    _with_labels(line, wanted[line.number], rewrite, lines) if line.number in wanted else line.raw
                )
        if rewrite is None:
            rows = ("\t".join([*row, label]) + "\n" for row, label in zip(sentence.rows, labels, strict=True))
            out.write(_encoded("".join(rows) + "\n", sentence.lines[-1], lines))
    for line in lines.rest():
        if rewrite is None or not (whole or line.text.strip() == ""):
            break
        out.write(line.raw)


def append_column(text: str, labels: Sequence[str]) -> str:
    """The rewriting of a line with one token: one more column, after a tab where the line holds one, else a space."""
    (label,) = labels
    return f"{text}\t{label}" if "\t" in text else f"{text} {label}"


def _with_labels(line: _Line, labels: Sequence[str], rewrite: Rewrite, lines: KeptLines) -> bytes:
    mark = BYTE_ORDER_MARK if line.raw.startswith(BYTE_ORDER_MARK) else b""
    end = line.raw[len(line.raw.rstrip(b"\r\n")) :]
    return mark + _encoded(rewrite(line.text, labels), line.number, lines) + end


def _encoded(text: str, number: int, lines: KeptLines) -> bytes:
    try:
        return text.encode(lines.encoding)
    except UnicodeEncodeError as error:
        raise FormatError(
            f"{lines.name}, line {number}: {lines.encoding} has no {error.object[error.start]!r}, which a label holds"
        ) from error
