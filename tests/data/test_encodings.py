"""The encoding of a file: found, or said and wrong."""

import gzip
import re

import pytest

from seqsearch_fairseq.data.encodings import encoding_of
from seqsearch_fairseq.data.files import FormatError

MARK = b"\xef\xbb\xbf"
UTF8, LATIN1 = "subray\u00f3 O\n".encode(), "subray\u00f3 O\n".encode("iso-8859-1")


@pytest.fixture
def file(tmp_path):
    def write(raw: bytes):
        (tmp_path / "file").write_bytes(raw)
        return tmp_path / "file"

    return write


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize(
    "raw,name",
    [(b"a O\n", "utf-8"), (UTF8, "utf-8"), (MARK + UTF8, "utf-8"), (MARK + LATIN1, "utf-8"), (LATIN1, "iso-8859-1")],
)
def test_it_is_utf8_with_a_mark_or_as_a_whole_and_else_latin1(file, compress, raw, name):
    found = encoding_of(file(compress(raw)))
    assert found.name == name and (found.note is None) == (name == "utf-8")


@pytest.mark.parametrize(
    "raw,note",
    [
        (
            b"a O\n" + LATIN1,
            r"file is read as Latin-1 \(ISO 8859-1\), as line 2 is not UTF-8; --encoding names .* one$",
        ),
        (
            UTF8 + LATIN1 + UTF8,
            "line 2 is not UTF-8; .* but 2 lines, 1 is the first, are as in UTF-8: it may be damaged",
        ),
        (b"\x93a\x94 O\n", "bytes that Latin-1 has no character for: --encoding cp1252 may be right"),
    ],
)
def test_latin1_is_a_guess_and_said(file, raw, note):
    assert re.search(note, encoding_of(file(raw)).note)


@pytest.mark.parametrize(
    "raw,wanted,message",
    [
        (
            b"a O\n" + UTF8,
            "iso-8859-1",
            "file, line 2: the file is UTF-8, and iso-8859-1 would make several characters of",
        ),
        (b"a O\n" + UTF8, "cp1252", "file, line 2: the file is UTF-8, and cp1252 would make"),
        (b"\xff\xfea\0", "auto", "file: the file begins as UTF-16 does; convert it"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(file, raw, wanted, message):
    with pytest.raises(FormatError, match=message):
        encoding_of(file(raw), wanted)


@pytest.mark.parametrize("wanted", ["iso-8859-1", "cp1252", "utf-8", "gbk"])
def test_an_encoding_that_may_be_right_is_taken(file, wanted):
    assert encoding_of(file(LATIN1), wanted) == (wanted, None)
