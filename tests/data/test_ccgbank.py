"""CCGbank's derivations and lines of word|POS|supertag."""

import pytest

from seqsearch_fairseq.data.ccgbank import read_auto, read_pipes, section_files
from seqsearch_fairseq.data.files import FormatError

LEAVES = [("Kim", "NNP", "N"), ("sees", "VBZ", r"(S[dcl]\NP)/NP"), ("it", "PRP", "NP"), (".", ".", ".")]
DERIVATION = (
    r"(<T S[dcl] 0 2> (<T S[dcl] 1 2> (<T NP 0 1> (<L N NNP NNP Kim N>) ) (<T S[dcl]\NP 0 2> "
    r"(<L (S[dcl]\NP)/NP VBZ VBZ sees (S[dcl]\NP_1)/NP_2>) (<L NP PRP PRP it NP>) ) ) (<L . . . . .>) ) "
)


def sentences(reader, text: str):
    return list(reader(text.splitlines(), "file"))


def test_the_leaves_of_a_derivation():
    first, second = sentences(read_auto, f"ID=wsj_0001.1 PARSER=GOLD NUMPARSE=1\n{DERIVATION}\n\nID=2\n{DERIVATION}\n")
    assert [tuple(row) for row in first.rows] == LEAVES
    assert first.lines == [2] * 4 and second.lines == [5] * 4


def test_a_sentence_of_one_leaf():
    assert sentences(read_auto, "(<L NP PRP PRP it NP>)")[0].rows == [["it", "PRP", "NP"]]


@pytest.mark.parametrize(
    "text,message",
    [
        (DERIVATION[:40], "file, line 1: .*column 33"),
        (DERIVATION.rstrip()[:-1], "file, line 1: the derivation is cut short, 1 nodes do not end"),
        (DERIVATION.replace("<T NP 0 1>", "<T NP 0 2>"), "file, line 1: a node that ends at column .* too few or too"),
        (DERIVATION + "(<L . . . . .>)", "file, line 1: no derivation of CCGbank at column"),
        (DERIVATION.replace("(<L NP PRP PRP it NP>)", "(<L NP PRP it NP>)"), "file, line 1: no derivation .*PRP it NP"),
        ("\nnonsense", "file, line 2: no derivation of CCGbank at column 1: 'nonsense'"),
    ],
)
def test_what_is_no_derivation_is_refused(text, message):
    with pytest.raises(FormatError, match=message):
        sentences(read_auto, text)


def test_lines_of_word_pos_and_supertag():
    text = "\n" + " ".join("|".join(leaf) for leaf in LEAVES) + "\n||SYM|N\n"
    first, second = sentences(read_pipes, text)
    assert [tuple(row) for row in first.rows] == LEAVES and second.rows == [["|", "SYM", "N"]]
    assert first.lines == [2] * 4


@pytest.mark.parametrize("token", ["Kim|NNP", "Kim|NNP|", "Kim"])
def test_a_token_without_three_parts_is_refused(token):
    with pytest.raises(FormatError, match="file, line 1: a token must be word"):
        sentences(read_pipes, f"it|PRP|NP {token}\n")


def test_the_files_of_sections(tmp_path):
    for section in ("00", "02", "03", "23"):
        for number in (1, 2):
            path = tmp_path / "data" / "AUTO" / section / f"wsj_{section}0{number}.auto"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(DERIVATION)
    names = [path.name for path in section_files(tmp_path, "02-03")]
    assert names == ["wsj_0201.auto", "wsj_0202.auto", "wsj_0301.auto", "wsj_0302.auto"]
    assert len(section_files(tmp_path, "0")) == 2
    with pytest.raises(FormatError, match="must hold .auto files of section 04"):
        section_files(tmp_path, "02-21")
    with pytest.raises(FormatError, match="must be in ascending order, as in 02-21, got '03-02'"):
        section_files(tmp_path, "03-02")
    (tmp_path / "data/AUTO/02/wsj_0201.auto~").touch()
    (tmp_path / "data/AUTO/02/wsj_0202.auto.gz").touch()
    assert [path.name for path in section_files(tmp_path, "02")] == ["wsj_0201.auto", "wsj_0202.auto"]
    with pytest.raises(FormatError, match="must be a number or two, as in 02-21, got 'all'"):
        section_files(tmp_path, "all")
