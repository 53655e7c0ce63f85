"""Published text files: compressed or not, cut short, in another encoding."""

import bz2
import gzip
import lzma

import pytest

from seqsearch_fairseq.data.files import FormatError, read_lines

TEXT = "".join(f"line {i} \u00e9\u4e2d\n" for i in range(3000))
COMPRESS = {"plain": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_file_is_read_by_what_it_holds_and_not_by_its_name(tmp_path, kind):
    (tmp_path / "file").write_bytes(COMPRESS[kind](TEXT.encode()))
    assert list(read_lines(tmp_path / "file")) == TEXT.splitlines()


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_a_compressed_file_that_is_cut_short_is_refused(tmp_path, kind, keep):
    whole = COMPRESS[kind](TEXT.encode())
    (tmp_path / "file").write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(FormatError, match="file is cut short or broken"):
        list(read_lines(tmp_path / "file"))


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_compressed_file_that_is_broken_is_refused(tmp_path, kind):
    whole = bytearray(COMPRESS[kind](TEXT.encode()))
    whole[len(whole) // 2] ^= 255
    whole[len(whole) // 2 + 1] ^= 255
    (tmp_path / "file").write_bytes(whole)
    with pytest.raises(FormatError, match="file"):
        list(read_lines(tmp_path / "file"))


def test_line_ends_and_byte_order_mark_are_no_text(tmp_path):
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbfa b\r\n\r\nc")
    assert list(read_lines(tmp_path / "file")) == ["a b", "", "c"]


def test_bytes_of_another_encoding_are_named_by_line(tmp_path):
    (tmp_path / "file").write_bytes("a\nA\u00f1o\n".encode("iso-8859-1"))
    with pytest.raises(FormatError, match=r"file, line 2: not UTF-8 \(.* at byte 1\)"):
        list(read_lines(tmp_path / "file"))
    assert list(read_lines(tmp_path / "file", "iso-8859-1")) == ["a", "A\u00f1o"]
