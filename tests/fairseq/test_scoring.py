"""The scorers tag_accuracy, chunk_f1 and edit_distance."""

import itertools
import pickle
import re
import sys
from unittest import mock

import pytest
import seqeval.metrics
from fairseq.scoring import build_scorer
from hypothesis import given
from hypothesis import strategies as st

from seqsearch_fairseq.__main__ import main
from seqsearch_fairseq.errors import UsageError

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def scored(name: str, *pairs: tuple[str, str]):
    scorer = build_scorer(name, None)
    for gold, predicted in pairs:
        scorer.add_string(gold, predicted)
    return scorer


def chunks(labels: list[str]) -> set[tuple[str, int, int]]:
    """(type, first, last) of each chunk, by the rules of conlleval: does one end, and one begin, between two labels?"""
    letters = {"L": "E", "U": "S"}  # of BILOU
    split = [
        ("O", "") if label == "O" else (letters.get(label[0], label[0]), label[2:]) for label in ["O", *labels, "O"]
    ]
    found, start = set(), None
    for i, ((before, kind_before), (now, kind)) in enumerate(itertools.pairwise(split)):
        changes = now != "O" and kind != kind_before
        ends = before in "ES" or (before in "BI" and now in "BSO") or (before != "O" and changes)
        begins = now in "BS" or (now in "IE" and before in "OES") or changes
        if ends and start is not None:
            found.add((kind_before, start, i - 1))
            start = None
        if begins:
            start = i
    return found


def test_accuracy_counts_words_over_all_sentences():
    scorer = scored("tag_accuracy", ("O O B", "O B B"), ("B", "B"))
    assert scorer.score() == 75.0
    assert scorer.result_string() == "tag accuracy: 75.00 % (3 of 4 labels)"


def test_edit_distance_counts_tokens_over_all_sentences():
    scorer = scored("edit_distance", ("a b c d", "a x c d e"), ("a", "a"))
    assert scorer.score() == 40.0
    assert scorer.result_string() == "edit distance: 40.00 % (2 edits of 5 tokens)"
    assert scored("edit_distance").score() == 0.0


def test_chunk_f1_counts_whole_chunks_over_all_sentences():
    scorer = scored("chunk_f1", ("B-PER I-PER O B-LOC", "B-PER I-PER O B-PER"), ("B-LOC", "O"))
    assert scorer.score() == pytest.approx(100 * 2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))
    assert scorer.result_string().splitlines() == [
        "chunk F1: 40.00 % (precision 50.00 %, recall 33.33 %)",
        "  LOC: 0.00 % (precision 0.00 %, recall 0.00 %; 2 gold, 0 predicted)",
        "  PER: 66.67 % (precision 50.00 %, recall 100.00 %; 1 gold, 2 predicted)",
    ]


@pytest.mark.parametrize("prefixes", ["BI", "I", "BIES", "BILU"])
@given(data=st.data())
def test_chunk_f1_is_that_of_the_shared_tasks_and_of_seqeval(prefixes, data):
    labels = st.sampled_from(["O", *(f"{prefix}-{kind}" for prefix in prefixes for kind in ("PER", "LOC"))])
    sentence = st.lists(st.tuples(labels, labels), min_size=1, max_size=8)
    pairs = [list(zip(*rows, strict=True)) for rows in data.draw(st.lists(sentence, min_size=1, max_size=4))]
    scorer = scored("chunk_f1", *((" ".join(gold), " ".join(predicted)) for gold, predicted in pairs))
    lines = {line.split(":")[0].strip(): line for line in scorer.result_string().splitlines()}
    gold, predicted = ([chunks(list(pair[side])) for pair in pairs] for side in (0, 1))
    for name, kinds in (("chunk F1", {"PER", "LOC"}), ("PER", {"PER"}), ("LOC", {"LOC"})):
        there, found, right = (
            sum(kind in kinds for rows in sets for kind, _, _ in rows)
            for sets in (gold, predicted, [g & p for g, p in zip(gold, predicted, strict=True)])
        )
        precision, recall = (100 * right / whole if whole else 0.0 for whole in (found, there))
        f1 = 200 * right / (found + there) if found + there else 0.0
        if there + found or name == "chunk F1":
            assert f"{name}: {f1:.2f} % (precision {precision:.2f} %, recall {recall:.2f} %" in lines[name]
    rows = [[list(pair[side]) for pair in pairs] for side in (0, 1)]
    if any(map(bool, gold + predicted)) and prefixes != "BILU":
        assert scorer.score() == pytest.approx(100 * seqeval.metrics.f1_score(*rows, zero_division=0))


def test_an_unknown_label_is_a_chunk_that_nothing_matches():
    assert "recall 50.00 %)" in scored("chunk_f1", ("B-PER <<unk>>", "B-PER O")).result_string()
    assert "note" not in scored("chunk_f1", ("O <<unk>>", "O O")).result_string()


def test_chunk_f1_of_labels_that_are_of_no_chunk_is_an_error():
    message = "chunk_f1 needs labels of chunks: .* got 'NN' in sentence 2; tag_accuracy takes any"
    with pytest.raises(UsageError, match=message):
        scored("chunk_f1", ("O", "O"), ("NN VB", "NN VB")).result_string()


def test_few_labels_of_no_chunk_are_counted_in_a_note():
    said = scored("chunk_f1", ("B-PER", "B-PER"), ("PER O", "PER O")).result_string()
    assert "note: 1 gold labels are of no chunk, the first is 'PER' in sentence 2" in said


@pytest.mark.parametrize("name", ["tag_accuracy", "chunk_f1", "edit_distance"])
def test_scorers_keep_nothing_of_a_sentence(name):
    """As many bytes after 300 sentences as after 10 (a count may grow by a digit)."""
    sizes = [len(pickle.dumps(scored(name, *[("B-PER O", "B-PER B-PER")] * size))) for size in (10, 300)]
    assert sizes[1] <= sizes[0] + 30


@pytest.mark.parametrize("name", ["tag_accuracy", "chunk_f1"])
def test_no_sentence_at_all_scores_zero(name):
    assert scored(name).score() == 0.0


@pytest.mark.parametrize("name", ["tag_accuracy", "chunk_f1"])
def test_sentences_that_differ_in_length_are_refused(name):
    with pytest.raises(UsageError, match=f"{name} needs .* got 1 and 2 in sentence 2"):
        scored(name, ("O", "O"), ("O O", "O"))


# ----------------------------------------------------------------------------------------------------- of plain files


def score(capsys, *arguments) -> tuple[int, str, str]:
    with mock.patch.object(sys, "argv", ["seqsearch_fairseq", "score", *map(str, arguments)]):
        status = main()
    return status, *capsys.readouterr()


@pytest.fixture
def files(tmp_path):
    def write(reference: str, system: str) -> list:
        (tmp_path / "ref").write_text(reference)
        (tmp_path / "sys").write_text(system)
        return ["--ref", tmp_path / "ref", "--sys", tmp_path / "sys"]

    return write


def test_files_are_scored(capsys, files):
    assert score(capsys, "--scoring", "tag_accuracy", *files("O B\nB\n", "O B\nO\n")) == (
        0,
        "tag accuracy: 66.67 % (2 of 3 labels)\n",
        "",
    )


@pytest.mark.parametrize(
    "scoring,reference,system,message",
    [
        ("tag_accuracy", "O\nO\n", "O\n", "sys has 1 lines and the other file more"),
        ("chunk_f1", "O\nO O\n", "O\nO\n", "sys, line 2: chunk_f1 needs as many predicted labels as gold ones"),
        ("chunk_f1", "", "", "ref holds no line"),
        ("chunk_f1", "NN\n", "NN\n", "chunk_f1 needs labels of chunks: .* got 'NN' in sentence 1"),
    ],
)
def test_files_that_do_not_fit_are_refused(capsys, files, scoring, reference, system, message):
    status, out, err = score(capsys, "--scoring", scoring, *files(reference, system))
    assert status == 1 and out == "" and re.search(message, err)


def test_a_missing_file_is_named(capsys, tmp_path):
    status, _, err = score(capsys, "--scoring", "chunk_f1", "--ref", tmp_path / "none", "--sys", tmp_path / "none")
    assert status == 1 and str(tmp_path / "none") in err
