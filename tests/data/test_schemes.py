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


def found(*sentences: str):
    """What the detector finds in these sentences, the first of which is line 1 of `file`."""
    detector = SchemeDetector()
    for number, labels in enumerate(sentences, 1):
        detector.add(labels.split(), at(number))
    return detector.found("file")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("first", ["O", "B-X", "I-X"])
def test_detection_does_not_depend_on_the_first_label(scheme, first):
    rows = [convert(labels.split(), scheme) for labels in (first, "B-X I-X B-X O B-Y", "B-X I-X I-X")]
    assert found(*map(" ".join, rows)) == (scheme, [])


def test_labels_that_are_all_outside_are_of_no_scheme():
    assert found("O", "O O") == (None, [])


def test_few_labels_that_break_the_scheme_of_all_others_are_counted_and_left():
    kind, notes = found(*["B-X I-X O"] * 60, "O I-X")
    assert kind == IOB2
    assert notes == [
        "1 of 121 labels that are not O break iob2, first at line 61; they are left as they are (--scheme iob2 would "
        "convert them)"
    ]


def test_mixed_schemes_are_named_with_their_lines():
    with pytest.raises(
        FormatError, match="file mixes schemes .* of 4 .* iob1 1, first at line 1; .*iob2 1, first at line 2"
    ):
        found("B-X I-X B-X", "O I-X")


def test_an_unknown_letter_beside_chunk_labels_is_refused():
    with pytest.raises(
        FormatError, match="line 2: a chunk label must be O, .* got 'X-PER'; file holds 1 such .* 2 others"
    ):
        found("B-PER", "X-PER X-PER")


@pytest.mark.parametrize(
    "labels,note",
    [
        ("O X-PER", "taken as plain tags: 'X-PER' (line 1) looks like a chunk label, but the prefixes are B, I, E, S"),
        ("O b-per", "taken as plain tags: 'b-per' (line 1) looks like a chunk label"),
        ("NN VB B-X", "taken as plain tags: 1 labels look like chunk labels, and 2 do not"),
    ],
)
def test_what_is_assumed_of_doubtful_labels_is_said(labels, note):
    kind, notes = found(labels)
    assert kind is None and len(notes) == 1 and note in notes[0]


@pytest.mark.parametrize("label", ["X", "B", "B-", "Q-X", ""])
def test_other_labels_are_refused(label):
    with pytest.raises(FormatError, match=f"line 7: a chunk label must be O, or .* got '{label}'"):
        decode([label], at(7))
    with pytest.raises(ValueError, match="`scheme` must be one of"):
        encode([], 1, "bio")
