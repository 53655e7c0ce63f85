"""A corpus that is written back with one label more a token: every byte as it was."""

import io
import itertools

import pytest

from seqsearch_fairseq.data.files import FormatError
from seqsearch_fairseq.data.layouts import LAYOUTS
from seqsearch_fairseq.data.rewriting import KeptLines, write_back


def rewritten(text: bytes, layout: str = "columns", label: str = "X", encoding: str = "utf-8", limit=None) -> bytes:
    """The file with this label for each of its tokens."""
    out, lines = io.BytesIO(), KeptLines(io.BytesIO(text), "file", encoding)
    sentences = itertools.islice(LAYOUTS[layout].read(lines, lines.name), limit)
    tagged = ((sentence, [label] * len(sentence.rows)) for sentence in sentences)
    write_back(lines, tagged, out, LAYOUTS[layout].rewrite, whole=limit is None)
    return out.getvalue()


@pytest.mark.parametrize(
    "text,written",
    [
        (b"a O\nb O\n\nc O\n\n", b"a O X\nb O X\n\nc O X\n\n"),
        (b"a\tO\r\n\r\nb\tO", b"a\tO\tX\r\n\r\nb\tO\tX"),
        (b"\xef\xbb\xbfa O\n \t\n\n\nb O\n\n\n", b"\xef\xbb\xbfa O X\n \t\n\n\nb O X\n\n\n"),
        (b"a  N O  \nb N O\n", b"a  N O   X\nb N O X\n"),
        (b"a\tO \r\nb\tO\n", b"a\tO \tX\r\nb\tO\tX\n"),
        (b"\n\na O\n\n\xef\xbb\xbfb O", b"\n\na O X\n\n\xef\xbb\xbfb O X"),
        ("a\u2028b\tO\n\x0c\nc\tO\n".encode(), "a\u2028b\tO\tX\n\x0c\nc\tO\tX\n".encode()),
        (b"-DOCSTART- O\n\na O\n", b"-DOCSTART- O X\n\na O X\n"),
        (b"a\n\nb\n", b"a X\n\nb X\n"),
        (b"\n \n", b"\n \n"),
        (b"", b""),
    ],
)
def test_every_byte_comes_back_and_the_label_is_a_column_more(text, written):
    assert rewritten(text) == written


def test_it_is_written_in_the_encoding_that_it_was_read_in():
    text = "a\u00f1o O\n".encode("iso-8859-1")
    assert rewritten(text, label="\u00e9", encoding="iso-8859-1") == "a\u00f1o O \u00e9\n".encode("iso-8859-1")
    with pytest.raises(FormatError, match="file, line 1: iso-8859-1 has no '\u4e2d', which a label holds"):
        rewritten(text, label="\u4e2d", encoding="iso-8859-1")


def test_what_has_no_place_for_a_label_becomes_columns():
    assert rewritten(b"it|PRP|NP is|VBZ|S\n", "pipes") == b"it\tPRP\tNP\tX\nis\tVBZ\tS\tX\n\n"


def test_the_first_sentences_alone():
    assert rewritten(b"a O\n\n\nb O\n\nc O\n", limit=1) == b"a O X\n\n\n"


def test_lines_are_kept_no_longer_than_their_sentence():
    read = []

    class Out(io.BytesIO):
        def write(self, raw):
            read.append(next(count))
            return super().write(raw)

    count = itertools.count()
    source = (next(count) and line or line for line in [b"a O\n", b"\n"] * 3)
    lines = KeptLines(source, "file")
    tagged = ((sentence, ["X"]) for sentence in LAYOUTS["columns"].read(lines, "file"))
    write_back(lines, tagged, Out(), LAYOUTS["columns"].rewrite)
    assert read[0] == 2, "the first sentence is written when the line after it has been read"
