"""What fairseq-generate printed, in the order of the data."""

import gzip

import pytest

from seqsearch_fairseq.data.files import FormatError
from seqsearch_fairseq.data.hypotheses import hypotheses


def read(path) -> list[list[str]]:
    with hypotheses(path) as found:
        return list(found)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_the_best_hypothesis_of_each_sentence_in_order(tmp_path, compress):
    text = "T-1\tX\nH-1\t-0.1\tB \u00e9\nD-1\t-0.1\tB\nH-1\t-0.2\tworse\nH-2\t0\t\nH-0\t-3\tA A A\n"
    (tmp_path / "out").write_bytes(compress(text.encode()))
    assert read(tmp_path / "out") == [["A", "A", "A"], ["B", "\u00e9"], []]


@pytest.mark.parametrize(
    "text,message",
    [
        ("T-0\tO\n", "holds no line H-"),
        ("H-0\t-0.1\n", "line 1: must be H-NUMBER, score and tokens"),
        ("H-0\t-0.1\tO\nH-2\t-0.1\tO\n", "sentence 1 is missing, and the last one is 2"),
        ("H-0\t-0.1\tO\nH-999999999999\t-0.1\tO\n", "sentence 1 is missing, and the last one is 999999999999"),
    ],
)
def test_what_fairseq_generate_did_not_write_is_refused(tmp_path, text, message):
    (tmp_path / "out").write_text(text)
    with pytest.raises(FormatError, match=message):
        read(tmp_path / "out")
