"""Schemes of chunk labels: round trips, detection, and what conlleval finds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from seqsearch_fairseq.data.files import FormatError
from seqsearch_fairseq.data.schemes import BIOES, IOB1, IOB2, SCHEMES, SchemeDetector, convert, decode, encode, keeps_to

LABELS = ["O", "B-X", "I-X", "B-Y-Z", "I-Y-Z"]
sentences = st.lists(st.sampled_from(LABELS), min_size=1, max_size=9)


def at(line: int):
    """Names the place of any label as this line."""
    return lambda position: f"line {line}"


@given(labels=sentences)
def test_chunks_are_seqevals(labels):
    assert [(c.kind, c.begin, c.end - 1) for c in decode(labels)] == get_entities(labels)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(labels=sentences)
def test_round_trips_keep_the_chunks(scheme, labels):
    written = convert(labels, scheme)
    assert decode(written) == decode(labels) and len(written) == len(labels)
    assert keeps_to(scheme, written)
    assert convert(convert(written, BIOES), IOB2) == convert(labels, IOB2)


def test_the_schemes():
    labels = ["I-X", "I-X", "B-X", "O", "I-Y"]
    assert convert(labels, IOB1) == labels
    assert convert(labels, IOB2) == ["B-X", "I-X", "B-X", "O", "B-Y"]
    assert convert(labels, BIOES) == ["B-X", "E-X", "S-X", "O", "S-Y"]
    assert encode([], 2, IOB2) == ["O", "O"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_detection(scheme):
    found = SchemeDetector()
    found.add(["O"], at(1))
    assert found.found("file") is None
    found.add(convert(["B-X", "I-X", "B-X", "O", "B-Y"], scheme), at(3))
    assert found.found("file") == scheme


def test_mixed_schemes_are_named_with_their_lines():
    found = SchemeDetector()
    found.add(["B-X", "I-X", "B-X"], at(1))  # not IOB1
    found.add(["O", "I-X"], at(5))  # not IOB2
    with pytest.raises(FormatError, match="file mixes schemes .* iob1 at line 1; bioes at line 1; iob2 at line 5"):
        found.found("file")


@pytest.mark.parametrize("label", ["X", "B", "B-", "Q-X", ""])
def test_other_labels_are_refused(label):
    with pytest.raises(FormatError, match=f"line 7: a chunk label must be O, or .* got '{label}'"):
        decode([label], at(7))
    with pytest.raises(ValueError, match="`scheme` must be one of"):
        encode([], 1, "bio")
