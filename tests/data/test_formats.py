"""CoNLL-U and JSON lines, and what is not of the layout that was named: read, written back, refused."""

import argparse
import json

import pytest
from test_rewriting import rewritten

from seqsearch_fairseq.data.files import FormatError
from seqsearch_fairseq.data.layouts import LAYOUTS, Reading, add_layout_options, resolve_columns

CONLLU = (
    "# text = Vamos al mar.\n"
    "1\tVamos\tir\tVERB\tvm\tMood=Imp|Number=Plur\t0\troot\t_\t_\n"
    "2-3\tal\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "2\ta\ta\tADP\t_\t_\t4\tcase\t_\t_\n"
    "3\tel\tel\tDET\t_\t_\t4\tdet\t_\tA=b|Predicted=old\n"
    "3.1\tx\tx\tX\t_\t_\t_\t_\t4:x\t_\n"
    "4\tmar\tmar\tNOUN\t_\t_\t1\tobl\t_\tSpaceAfter=No\n"
    "\n"
    "# newpar\n"
    "1\tYa\tya\tADV\t_\t_\t0\troot\t_\t_\n"
)
TOKENS = '"tokens": ["New York", "is"]'


def read(text: str, *flags) -> list[tuple[list[str], list[str]]]:
    """Words and labels of each sentence."""
    parser = argparse.ArgumentParser()
    add_layout_options(parser)
    args = parser.parse_args([str(flag) for flag in flags])
    resolve_columns(args)
    reading = Reading(args)
    sentences = reading.sentences(text.splitlines(), "file")
    return [(reading.words(sentence, "file"), reading.labels(sentence, "file")) for sentence in sentences]


@pytest.mark.parametrize(
    "column,labels",
    [
        (None, "VERB ADP DET NOUN"),
        ("UPOS", "VERB ADP DET NOUN"),
        ("deprel", "root case det obl"),
        ("HEAD", "0 4 4 1"),
        ("FEATS", "Mood=Imp|Number=Plur _ _ _"),
        (4, "vm _ _ _"),
    ],
)
def test_conllu_has_named_columns_and_lines_that_are_no_tokens(column, labels):
    flags = [] if column is None else ["--label-column", column]
    found = read(CONLLU, "--layout", "conllu", *flags)
    assert found[0] == ("Vamos a el mar".split(), labels.split()) and found[1][0] == ["Ya"]


def test_conllu_is_written_back_with_the_label_in_misc():
    written = rewritten(CONLLU.encode(), "conllu", label="S\\N|x").decode()
    assert written.count("Predicted=S\\\\N\\px") == 5 and "Predicted=old" not in written
    assert "\t_\tA=b|Predicted=S" in written and "\tSpaceAfter=No|Predicted=S" in written
    assert written.replace("|Predicted=S\\\\N\\px", "").replace("Predicted=S\\\\N\\px", "_") == CONLLU.replace(
        "|Predicted=old", ""
    )
    assert read(written, "--layout", "conllu") == read(CONLLU, "--layout", "conllu")


@pytest.mark.parametrize(
    "entry,flags,labels",
    [
        ('"tags": ["B-LOC", "O"]', [], "B-LOC O"),
        ('"id": 7, "ner_tags": ["B", "O"], "spans": [1, 2, 3], "lemmas": ["a", "b"]', [], "B O"),
        ('"x": ["B", "O"]', [], "B O"),
        ('"pos_tags": ["N", "V"], "ner_tags": ["B", "O"]', ["--label-column", "pos_tags"], "N V"),
        ('"tags": [1, 0]', ["--label-names", "O,B-LOC"], "B-LOC O"),
        ('"tags": ["B LOC", ""]', [], "B_LOC _"),
    ],
)
def test_json_lines(entry, flags, labels):
    text = f'{{{TOKENS}, {entry}}}\n\n{{"tokens": [], "tags": []}}\n'
    assert read(text, "--layout", "jsonl", *flags) == [(["New_York", "is"], labels.split())]


@pytest.mark.parametrize("names", ["O\nB-LOC\n\n", '["O",\n "B-LOC"]\n'])
def test_names_of_ids_from_a_file(tmp_path, names):
    (tmp_path / "names").write_text(names)
    flags = ["--layout", "jsonl", "--label-names", tmp_path / "names"]
    assert read(f'{{{TOKENS}, "tags": [1, 0]}}', *flags)[0][1] == ["B-LOC", "O"]


def test_json_lines_are_written_back_with_one_key_more():
    text = '{"n": 1e5,  "tokens": ["a"] }\r\n\r\n{"tokens": ["\u00e9"], "x": {"y": 1}}'
    written = '{"n": 1e5,  "tokens": ["a"] , "predicted": ["\\u4e2d"]}\r\n\r\n'
    written += '{"tokens": ["\u00e9"], "x": {"y": 1}, "predicted": ["\u4e2d"]}'
    assert rewritten(text.encode(), "jsonl", label="\u4e2d").decode() == written
    again = rewritten(written.encode(), "jsonl").decode().splitlines()
    assert json.loads(again[0]) == {"n": 1e5, "tokens": ["a"], "predicted": ["X"]}


@pytest.mark.parametrize(
    "layout,text,flags,message",
    [
        ("columns", '{"tokens": ["a"], "tags": ["b"]}', [], "file, line 1: JSON, .* --layout jsonl reads JSON lines"),
        ("columns", CONLLU[CONLLU.index("1\t") :], [], "file, line 1: a token of CoNLL-U, .* --layout conllu reads it"),
        ("columns", CONLLU[CONLLU.index("2-3") :], [], "file, line 1: a token of CoNLL-U, .* --layout conllu reads it"),
        ("columns", CONLLU, [], "file, line 2: must have 6 columns .* a comment in --layout conllu and germeval2014"),
        ("columns", "\na\nb\n", [], "file, line 2: there is one column, and a word and its label must be two"),
        ("columns", "a X\n", ["--label-column", 0], "line 1: the labels must be in another column than the words, got"),
        ("columns", "a X\n", ["--label-column", -2], "got --label-column -2 and --word-column 0 of 2 columns"),
        ("columns", "1 a X\n2 b X\n3 c X\n", [], "line 1: column 0 numbers the tokens; --word-column names"),
        ("columns", "a X\n", ["--label-column", "UPOS"], "--label-column must be a number, as columns has no names"),
        ("columns", "a X\n", ["--label-names", "A"], "--label-names is for the ids of --layout jsonl"),
        ("conllu", "a O\n", [], "file, line 1: CoNLL-U has 10 columns, separated by tabs, none empty; got 'a O'"),
        (
            "conllu",
            CONLLU.replace("\n\n", "\n"),
            [],
            "file, line 9: .* numbered from 1, got '1' for token 5; is a blank",
        ),
        ("conllu", CONLLU, ["--label-column", "TAG"], "--label-column must be a number, or one of ID, .* got 'TAG'"),
        ("jsonl", "a O\n", [], "file, line 1: a line must be a JSON object, as a whole: Expecting value"),
        ("jsonl", '\n[{"tokens": []}]', [], r"file, line 2: a line must be a JSON object, .* got '\[\{"),
        ("jsonl", '{"text": "a"}', [], "file, line 1: the object must have the key 'tokens' or 'words', it has 'text'"),
        ("jsonl", '{"tokens": "a b"}', [], "file, line 1: 'tokens' must be a list of strings, got 'a b'"),
        ("jsonl", '{"tokens": ["a", 1]}', [], "file, line 1: 'tokens' must be a list of strings, and holds 1"),
        ("jsonl", '{"tokens": ["a"]}', [], "file, line 1: no list has a label for each token, the keys are 'tokens'"),
        ("jsonl", '{"tokens": ["a"], "tags": []}', [], "'tags': it has 0 values, and there are 1 tokens"),
        ("jsonl", '{"tokens": ["a"], "tags": [null]}', [], "'tags': it holds None, which is neither a string nor"),
        ("jsonl", '{"tokens": ["a"], "tags": [true]}', [], "'tags': it holds True, which is neither a string nor"),
        ("jsonl", '{"tokens": ["a"], "x": ["a"], "y": ["b"]}', [], "'x', 'y' may be the labels; choose with --label-c"),
        (
            "jsonl",
            '{"tokens": ["a"], "x": 1}',
            ["--label-column", "x"],
            "'x' cannot be read: it is no list, but 1; what",
        ),
        (
            "jsonl",
            '{"tokens": ["a"], "tags": [1]}',
            [],
            "line 1: the label 1 is an id; --label-names O,B-X,... or a file",
        ),
        (
            "jsonl",
            '{"tokens": ["a"], "tags": [1]}',
            ["--label-names", "O"],
            r"the label 1 must be in \[0, 0\]: --label",
        ),
        ("jsonl", '{"tokens": ["a"], "tags": ["O"]}', ["--label-names", "O"], "for ids, and the label 'O' is a string"),
        ("jsonl", "", ["--label-names", "O,,B"], "--label-names must be a file, or names with commas between them"),
    ],
)
def test_what_is_not_of_the_layout_is_refused(layout, text, flags, message):
    with pytest.raises(FormatError, match=message):
        read(text, "--layout", layout, *flags)


@pytest.mark.parametrize("layout,text", [("columns", "a\nb\n"), ("jsonl", '{"words": ["a", "b"]}')])
def test_words_without_labels_can_be_read(layout, text):
    (sentence,) = LAYOUTS[layout].read(text.splitlines(), "file")
    assert len(sentence.rows) == 2


def test_numbers_are_words_where_the_column_was_chosen():
    assert read("1 X\n2 X\n3 X\n", "--word-column", 0)[0][0] == ["1", "2", "3"]
