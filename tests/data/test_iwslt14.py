"""IWSLT'14: what is text in its files, what Moses makes of it, and which pairs are left out."""

import pytest

from seqsearch_fairseq.data.files import FormatError
from seqsearch_fairseq.data.iwslt14 import (
    MEMBERS,
    fault,
    find_corpus,
    most_frequent,
    segments,
    tagged_lines,
    tokenise,
    undocumented,
    words,
)
from seqsearch_fairseq.data.parallel import Line, read_pairs

TAGGED = """\
<doc docid="1" genre="lectures">
<url>http://example.org/talk</url>
<keywords>talks, science</keywords>
<speaker>Someone</speaker>
<talkid>7</talkid>
<title>Someone: A title</title>
<description>What it is about</description>
  First sentence.\x20
A <b>second</b> one of <url> and 1 < 2.
<reviewer href="http://example.org/">Someone else</reviewer>
<translator href="http://example.org/">Another one</translator>
</doc>
"""
LINES = [
    Line(6, "Someone: A title"),
    Line(7, "What it is about"),
    Line(8, "  First sentence. "),
    Line(9, "A <b>second</b> one of <url> and 1 < 2."),
]


def test_titles_and_descriptions_are_text_and_other_lines_about_a_talk_are_not(tmp_path):
    (tmp_path / "train").write_text(TAGGED)
    assert list(tagged_lines(tmp_path / "train")) == LINES


def test_segments_are_text(tmp_path):
    path = tmp_path / "xml"
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<mteval>\n<doc docid="1">\n<title>No text</title>\n'
        '<seg id="1"> It\u2019s one &amp; only. </seg>\n<seg id="2">Two</seg> <seg id="3">Three</seg>\n</doc>\n'
    )
    assert list(segments(path)) == [Line(5, " It's one &amp; only. "), Line(6, "Two"), Line(6, "Three")]


@pytest.mark.parametrize("text", ['<seg id="1"> open', '<seg id="1"> a <seg id="2"> b </seg>', "closed </seg>"])
def test_a_segment_that_is_not_closed_is_refused(tmp_path, text):
    (tmp_path / "xml").write_text(f"<doc>\n{text}\n</doc>\n")
    with pytest.raises(FormatError, match="xml, line 2: each <seg> must end with </seg> on its line"):
        list(segments(tmp_path / "xml"))


@pytest.mark.parametrize(
    "language,text,tokens",
    [
        ("en", " It's  \"one\" of [4], isn't it? ", "it &apos;s &quot; one &quot; of &#91; 4 &#93; , isn &apos;t it ?"),
        ("en", "R&amp;D", "r &amp; amp ; d"),  # what is escaped in the corpus is escaped once more, as the recipe does
        ("de", "Äpfel <b> | z.B. 1.000,5 kg", "äpfel &lt; b &gt; &#124; z.b. 1.000,5 kg"),
    ],
)
def test_tokens_are_those_of_moses_in_lower_case(language, text, tokens):
    assert tokenise(text, language) == tokens


def test_words_of_tokenised_text_are_left_alone_but_for_case_and_spaces():
    assert words(" It  &apos;s\tONE\u2028. ") == "it &apos;s one ."


@pytest.mark.parametrize(
    "source,target,reason",
    [
        (2, 3, None),
        (5, 5, None),
        (2, 4, "pairs of a length ratio above 1.5 left out"),
        (4, 2, "pairs of a length ratio above 1.5 left out"),
        (5, 6, "pairs of more than 5 tokens left out"),
        (6, 5, "pairs of more than 5 tokens left out"),
        (0, 1, "pairs with an empty side left out"),
        (1, 0, "pairs with an empty side left out"),
    ],
)
def test_pairs_that_are_too_long_or_too_unlike_are_not_trained_on(source, target, reason):
    assert fault("a " * source, "b " * target, max_length=5, max_ratio=1.5) == reason


def test_the_most_frequent_words_are_kept_and_the_first_of_equals():
    assert most_frequent(["a b b", "c a d c"], 2) == {"a", "b"}
    assert most_frequent(["a"], 9) == {"a"}


def test_numbers_of_the_recipe():
    assert undocumented({"train": 160239, "valid": 7283, "test": 6750}, 175) == []
    assert undocumented({"train": 153_000, "valid": 6969, "test": 6750}, 50) == []
    assert undocumented({"train": 1, "valid": 1, "test": 1}, 60) == []
    assert undocumented({"train": 160239, "valid": 7282, "test": 6750}, 175) == [
        "7282 sentence pairs for valid, the recipe is known to give 7283"
    ]


def test_the_archives_files_are_found_in_the_folder_and_in_its_de_en(tmp_path):
    (tmp_path / "de-en").mkdir()
    for name in MEMBERS:
        (tmp_path / "de-en" / name).touch()
    for folder in (tmp_path, tmp_path / "de-en"):
        corpus = find_corpus(folder)
        assert corpus.official and not corpus.notes
        assert [path.name for path in corpus.train[0].paths] == ["train.tags.de-en.de", "train.tags.de-en.en"]
        assert [part.paths[0].name for part in corpus.test] == [
            "IWSLT14.TED.dev2010.de-en.de.xml",
            "IWSLT14.TEDX.dev2012.de-en.de.xml",
            "IWSLT14.TED.tst2010.de-en.de.xml",
            "IWSLT14.TED.tst2011.de-en.de.xml",
            "IWSLT14.TED.tst2012.de-en.de.xml",
        ]
    (tmp_path / "de-en" / MEMBERS[-1]).unlink()
    with pytest.raises(FormatError, match="has no file IWSLT14.TED.tst2012.de-en.en.xml"):
        find_corpus(tmp_path)


def test_plain_files_without_a_test_split_are_told_of(tmp_path):
    for name in ("train_sample.de", "train_sample.en.gz", "valid.de", "valid.en"):
        (tmp_path / name).touch()
    corpus = find_corpus(tmp_path)
    assert not corpus.official
    assert corpus.train[0].paths == (tmp_path / "train_sample.de", tmp_path / "train_sample.en.gz")
    assert corpus.test == corpus.valid
    assert corpus.notes == [
        "there is no train split: train is train_sample, a part of it",
        "there is no test split: test is valid",
    ]
    (tmp_path / "valid.en").unlink()
    with pytest.raises(FormatError, match="must hold valid.de and valid.en, or train.tags.de-en.de"):
        find_corpus(tmp_path)
    with pytest.raises(FormatError, match="does not exist"):
        find_corpus(tmp_path / "nowhere")


@pytest.mark.parametrize("sides", [(["a", "b", "c"], ["a"]), (["a"], ["a", "b", "c"])])
def test_sides_that_are_not_parallel_are_refused(tmp_path, sides):
    sources, targets = ([Line(2 * i, text) for i, text in enumerate(side, 1)] for side in sides)
    paths = (tmp_path / "one", tmp_path / "two")
    ends = [f"{len(side)} sentences and ends at line {2 * len(side)}" for side in sides]
    read = []
    with pytest.raises(FormatError, match=f"one has {ends[0]}, .*two has {ends[1]}; they must be parallel"):
        read.extend(read_pairs(sources, targets, paths))
