"""prepare_tagging.py: the layouts in which corpora are published, what may be done to words, and bad input."""

import errno
import gzip
import os
import resource
import subprocess
import sys

import commands
import pytest
from commands import script

from seqsearch_fairseq.data.preparation import replaced, run

AUTO = "ID=wsj_0001.1 PARSER=GOLD NUMPARSE=1\n(<T S 0 2> (<L NP PRP PRP it NP>) (<L S\\NP VBZ VBZ is S\\NP>) )\n"
CONLL_2003 = (
    "-DOCSTART- -X- O O\n\nKim NNP I-NP I-PER\nand CC I-NP O\nLee NNP I-NP I-PER\nLi NNP I-NP B-PER\n\n7 CD O O\n\n"
)
GERMEVAL = "#\thttp://example.org [2010-01-01]\n1\tKim\tB-PER\tO\n2\t#\tO\tB-ORG\n\n#\tb [2010-01-02]\n1\tEs\tO\tO\n\n"
CORPUS = ["--train", "file", "--test", "file"]


def prepared(tmp_path, text: str, *flags, **splits) -> dict[str, list[str]]:
    """What is written of a corpus whose splits all hold `text`, unless `splits` has them: file -> lines."""
    files = []
    for split in ("train", "valid", "test"):
        path = tmp_path / split
        path.write_text(splits.get(split, text), encoding="utf-8")
        files += [f"--{split}", path]
    done = script("prepare_tagging.py", tmp_path / "out", *files, *flags)
    assert done.returncode == 0, done.stderr
    written = {path.name: path.read_text(encoding="utf-8").splitlines() for path in (tmp_path / "out").iterdir()}
    return written | {"said": done.stdout.splitlines()}


def refusal(tmp_path, text: bytes, *flags) -> str:
    """The message about a training file that holds `text`; nothing may be left behind."""
    tmp_path.mkdir(exist_ok=True)
    good = tmp_path / "good"
    good.write_text("it O\n")
    (tmp_path / "file").write_bytes(text)
    done = script("prepare_tagging.py", tmp_path / "out", "--train", tmp_path / "file", "--test", good, *flags)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.startswith("error: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "good"]
    return done.stderr


def test_conll_2003_has_marks_of_documents_and_iob1(tmp_path):
    written = prepared(tmp_path, CONLL_2003)
    assert written["train.words"] == ["Kim and Lee Li", "7"]
    assert written["train.labels"] == ["I-PER O I-PER B-PER", "O"]
    assert written["said"][0] == "train: 2 sentences, 5 tokens, 3 labels, 1 document marks left out"
    assert written["said"][-1] == "chunk labels: iob1"


@pytest.mark.parametrize(
    "scheme,labels",
    [("iob2", "B-PER O B-PER B-PER"), ("bioes", "S-PER O S-PER S-PER"), ("iob1", "I-PER O I-PER B-PER")],
)
def test_chunk_labels_are_converted(tmp_path, scheme, labels):
    written = prepared(tmp_path, CONLL_2003, "--scheme", scheme)
    assert written["test.labels"] == [labels, "O"] and written["said"][-1] == f"chunk labels: written as {scheme}"


@pytest.mark.parametrize("layout,labels", [("germeval2014", "B-PER O"), ("germeval2014-inner", "O B-ORG")])
def test_germeval_has_comments_and_two_columns_of_labels(tmp_path, layout, labels):
    written = prepared(tmp_path, GERMEVAL, "--layout", layout)
    assert written["train.words"] == ["Kim #", "Es"] and written["train.labels"] == [labels, "O"]


def test_derivations_of_ccgbank_and_their_factors(tmp_path):
    written = prepared(tmp_path, AUTO, "--layout", "auto", "--factor", "pos=1")
    assert written["train.words"] == ["it is"] and written["train.labels"] == ["NP S\\NP"]
    assert written["valid.pos"] == ["PRP VBZ"] and "chunk" not in written["said"][-1]


def test_lines_of_word_pos_and_supertag(tmp_path):
    written = prepared(tmp_path, "it|PRP|NP is|VBZ|S\\NP\n", "--layout", "pipes")
    assert written["test.words"] == ["it is"] and written["test.labels"] == ["NP S\\NP"]


def test_ccgbank_is_found_by_its_sections(tmp_path):
    for section in [f"{number:02}" for number in range(25)]:
        folder = tmp_path / "CCGbank" / "AUTO" / section
        folder.mkdir(parents=True)
        (folder / f"wsj_{section}00.auto").write_text(AUTO)
    done = script("prepare_tagging.py", tmp_path / "out", "--ccgbank", tmp_path / "CCGbank")
    assert done.stdout.splitlines() == [
        "train: 20 sentences, 40 tokens, 2 labels",
        "valid: 1 sentences, 2 tokens, 2 labels",
        "test: 1 sentences, 2 tokens, 2 labels",
    ]


def test_what_may_be_done_to_words(tmp_path):
    text = "The X\ncost X\nof X\n1,500.5 X\n7 X\nmen X\n\nthe X\nCost X\n\n" + "".join(f"{c} X\n" for c in "aaa2xyz")
    flags = ["--lowercase", "--digits", "--min-count", 2, "--max-length", 6]
    written = prepared(tmp_path, text, *flags, test="new X\nthe X\n")
    assert written["train.words"] == ["the cost <unk> <num> <num> <unk>", "the cost"]
    assert written["valid.words"][2] == "<unk> <unk> <unk> <num> <unk> <unk> <unk>", (
        "only training sentences are left out"
    )
    assert written["test.words"] == ["<unk> the"]
    assert written["said"][0] == (
        "train: 2 sentences, 8 tokens, 1 labels, 1 sentences of more than 6 words left out, 2 words written as <unk>"
    )


def test_a_document_mark_may_be_followed_by_its_first_sentence(tmp_path):
    written = prepared(tmp_path, "-DOCSTART- -DOCSTART- O\nMet Prep O\nKim N B-PER\n\n")
    assert written["train.words"] == ["Met Kim"] and "1 document marks left out" in written["said"][0]


def test_symbols_of_fairseq_are_words_like_others(tmp_path):
    written = prepared(tmp_path, "<pad> O\n</s> O\n<unk> </s>\n")
    assert written["train.words"] == ["<pad>_ </s>_ <unk>"] and written["train.labels"] == ["O O </s>_"]


def test_labels_that_training_does_not_hold_are_counted(tmp_path):
    written = prepared(tmp_path, "a B-X\n\n", test="a B-X\nb I-X\n")
    assert written["said"][2].endswith("2 labels, 1 labels that train does not hold (I-X)")


def test_columns_may_be_aligned_with_spaces(tmp_path):
    assert prepared(tmp_path, "Kim   N  B-X\nand   CC O   \n")["train.labels"] == ["B-X O"]


def test_white_space_inside_a_column_is_no_border_of_words(tmp_path):
    written = prepared(tmp_path, "New York\tB-A LOC\n\u3000\tO\na\u00a0b\tO\n")
    assert written["train.words"] == ["New_York _ a_b"] and written["train.labels"] == ["B-A_LOC O O"]


def test_a_compressed_file_in_another_encoding(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).write_bytes(gzip.compress("a\u00f1o O\n\n".encode("iso-8859-1") * 2))
    files = ["--train", tmp_path / "train", "--test", tmp_path / "test"]
    done = script("prepare_tagging.py", tmp_path / "out", *files, "--valid-every", 2, "--encoding", "iso-8859-1")
    assert done.returncode == 0 and (tmp_path / "out" / "train.words").read_text(encoding="utf-8") == "a\u00f1o\n"


@pytest.mark.parametrize(
    "text,flags,message",
    [
        (b"a B-X\nb I-X\n\nc N B-X\n", [], "file, line 4: must have 2 columns as the first line has, none empty"),
        (b"a\tO\nb\t\n", [], "file, line 2: must have 2 columns as the first line has, none empty; got 'b\\t'"),
        (b"a O\n\xff O\n", ["--encoding", "utf-8"], "file, line 2: not UTF-8"),
        (
            b"a B-X\nb B-\nc B-X\n\n" * 2,
            ["--valid-every", 2],
            "file, line 2: a chunk label must be O, or one of B, I, E, S, L, U with - and a type, got 'B-'",
        ),
        (
            b"a I-X\n\nb B-X\n\n" * 2,
            ["--valid-every", 2],
            "file mixes schemes of chunk labels, or keeps to none: of 4 labels that are not O, these break",
        ),
        (b"a B-X\n\nb B-X\n\nc NN\n", ["--valid-every", 2], "file, line 5: a chunk label must be O"),
        (b"a NN\n", ["--scheme", "bioes"], "file, line 1: a chunk label must be O"),
        (b"a O\n", ["--label-column", 4], "file, line 1: there is no column 4, the line has 2"),
        (b"a O\rb O\r", [], "file, line 1: a carriage return inside the line"),
        (b"\xef\xbb\xbfa O\n", ["--encoding", "iso-8859-1"], "file, line 1: the file begins as UTF-8 does"),
        (b"a\0b O\n", [], "file, line 1: a NUL byte, which text does not hold"),
        (b"a\nb\n", ["--valid-every", 2], "file, line 1: there is one column, and a word and its label must be two"),
        (b"\n\n", [], "file holds no sentence for the train split"),
        (gzip.compress(b"a O\n" * 9000, mtime=0)[:-20], [], "file is cut short or broken"),
        (b"(<T S 0 2> (<L NP PRP PRP it NP>)\n", ["--layout", "auto"], "file, line 1: the derivation is cut short"),
    ],
)
def test_bad_input_names_file_and_line_and_leaves_nothing_behind(tmp_path, text, flags, message):
    assert message in refusal(tmp_path, text, *flags)


def test_labels_can_be_taken_as_they_are(tmp_path):
    written = prepared(tmp_path, "a I-X\n\nb B-X\n", "--scheme", "none")
    assert written["train.labels"] == ["I-X", "B-X"] and len(written["said"]) == 3


def test_an_output_folder_that_exists_is_kept(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("a O\n\nb O\n")
    flags = [tmp_path / "out", "--train", tmp_path / "file", "--test", tmp_path / "file", "--valid-every", 2]
    done = script("prepare_tagging.py", *flags)
    assert done.returncode == 1 and "out exists already: remove it, or say --overwrite" in done.stderr
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"
    done = script("prepare_tagging.py", *flags, "--overwrite")
    assert done.returncode == 0 and not (tmp_path / "out" / "thesis.txt").exists()


def test_a_folder_beside_the_output_is_left_alone(tmp_path):
    (tmp_path / "out.tmp").mkdir()
    (tmp_path / "out.tmp" / "corpus").write_text("a O\n\nb O\n")
    files = ["--train", tmp_path / "out.tmp" / "corpus", "--test", tmp_path / "out.tmp" / "corpus"]
    done = script("prepare_tagging.py", tmp_path / "out", *files, "--valid-every", 2)
    assert done.returncode == 0 and sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.tmp"]


def test_the_output_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    (tmp_path / "file").write_text("a O\n\nb O\n")
    files = ["--train", tmp_path / "file", "--test", tmp_path / "file"]
    done = script("prepare_tagging.py", tmp_path / "out", *files, "--valid-every", 2)
    assert done.returncode == 0 and (tmp_path / "disk" / "train.words").read_text() == "a\n"


def test_what_cannot_be_replaced_stays(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    replace = os.replace

    def fail_at_the_new_one(source, target):
        if str(target) == str(tmp_path / "out") and not str(source).endswith(".old"):
            raise OSError(errno.EBUSY, "Device or resource busy")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_at_the_new_one)
    with pytest.raises(OSError, match="busy"), replaced(tmp_path / "out", overwrite=True) as folder:
        (folder / "new").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and (tmp_path / "out" / "old").exists()


def test_an_interrupt_leaves_nothing_behind(tmp_path, capsys):
    def work():
        with replaced(tmp_path / "missing" / "out"):
            raise KeyboardInterrupt

    assert run(work) == 130 and "interrupted; nothing was written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    """A limit on the size of files stands for the end of the disk: writing fails in the same way."""
    (tmp_path / "file").write_text("a O\n\n" * 90_000)
    files = ["--train", tmp_path / "file", "--test", tmp_path / "file"]
    argv = [sys.executable, commands.ROOT / "scripts" / "prepare_tagging.py", tmp_path / "out", *files]
    done = subprocess.run(
        [str(part) for part in argv],
        env=commands.ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert done.returncode == 1 and "nothing was written" in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "flags,message",
    [
        ([], "--train FILE and --test FILE, or --ccgbank FOLDER"),
        (["--ccgbank", "folder", "--train", "file"], "leave out --train, --valid and --test"),
        (["--factor", "words=1"], "must be a name, = and a column, as in pos=1, got 'words=1'"),
        (["--factor", "pos"], "as in pos=1, got 'pos'"),
        (["--factor", "pos=1", "--factor", "pos=2", *CORPUS], "--factor must have a name once, got pos, pos"),
        (["--encoding", "utf-16"], "must write a line's end as one byte, which utf-16 does not"),
        (["--encoding", "latin-17"], "argument --encoding: unknown encoding: latin-17"),
    ],
)
def test_bad_flags_are_refused(flags, message):
    done = script("prepare_tagging.py", "out", *flags)
    assert done.returncode == 2 and message in done.stderr
