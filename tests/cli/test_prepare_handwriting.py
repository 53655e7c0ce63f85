"""prepare_handwriting.py: lines of handwriting from letters and a text, and bad input."""

import itertools
from pathlib import Path

import commands
import handwriting
import numpy as np
import pytest
from commands import script

from seqsearch_fairseq.data.recognition.manifests import read_manifest

NAME = "prepare_handwriting.py"
SPLITS = ("train", "valid", "test")
FEW = ("--train-lines", 20, "--valid-lines", 6, "--test-lines", 8)
CLEAN = ("--noise", 0, "--letter-gap", 0, "--word-gap", 0, "--shift", 0)


@pytest.fixture
def letters(tmp_path) -> Path:
    return handwriting.write_letters(tmp_path / "letter.data")


@pytest.fixture
def text(tmp_path) -> Path:
    return handwriting.write_text(tmp_path / "text")


def prepared(letters: Path, text: Path, output: Path, *flags) -> list[str]:
    """What is said."""
    done = script(NAME, letters, text, output, *FEW, *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def refusal(letters: Path, text: Path, output: Path, *flags, status: int = 1) -> str:
    """The message; nothing may be written."""
    done = script(NAME, letters, text, output, *FEW, *flags)
    assert done.returncode == status and done.stdout == ""
    assert not output.exists() and not list(output.parent.glob(f".{output.name}*"))
    return done.stderr


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the manifests, which name their folder."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".tsv")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_files_of_a_corpus(tmp_path, letters, text):
    output = tmp_path / "out"
    said = prepared(letters, text, output)
    for split, count in (("train", 20), ("valid", 6), ("test", 8)):
        words = [line.split() for line in lines(output / f"{split}.wrd")]
        assert len(words) == count and {word for line in words for word in line} <= set(handwriting.WORDS)
        assert all(3 <= len(line) <= 8 for line in words)
        spelled = [[unit for word in line for unit in (*word, "|")] for line in words]
        assert [line.split() for line in lines(output / f"{split}.ltr")] == spelled
        entries = list(read_manifest(output / f"{split}.tsv"))
        frames = [np.load(entry.path) for entry in entries]
        assert [len(one) for one in frames] == [entry.length for entry in entries]
        assert all(one.shape[1] == 20 and set(np.unique(one)) <= {0, 1} for one in frames)
        assert all(len(one) >= 8 * sum(map(len, line)) for one, line in zip(frames, words, strict=True))
    assert lines(output / "lexicon.txt") == [f"{word}\t{' '.join(word)} |" for word in handwriting.WORDS]
    assert {line.split()[0] for line in lines(output / "dict.ltr.txt")} == set("abcdefgh|")
    assert lines(output / "ngram.arpa")[:2] == ["\\data\\", "ngram 1=11"]
    assert said[0].startswith("train: 20 lines, ") and said[3] == "lexicon: 8 words"
    assert said[5].startswith("valid: perplexity ") and said[6].startswith("test: perplexity ")


def test_the_seed_decides_all_and_a_limit_leaves_the_first_lines_as_they_are(tmp_path, letters, text):
    prepared(letters, text, tmp_path / "one")
    prepared(letters, text, tmp_path / "two")
    prepared(letters, text, tmp_path / "other", "--seed", 2)
    prepared(letters, text, tmp_path / "few", "--limit", 3)
    one, few = contents(tmp_path / "one"), contents(tmp_path / "few")
    assert one == contents(tmp_path / "two")
    assert one["test.wrd"] != contents(tmp_path / "other")["test.wrd"]
    assert one["ngram.arpa"] == few["ngram.arpa"] and one["lexicon.txt"] == few["lexicon.txt"]
    for split in SPLITS:
        assert few[f"{split}.wrd"].splitlines() == one[f"{split}.wrd"].splitlines()[:3]
        names = [f"frames/{split}/{number:06}.npy" for number in (1, 2, 3)]
        assert all(few[name] == one[name] for name in names)


def test_a_split_has_the_glyphs_of_its_folds_and_sentences_of_its_own(tmp_path, letters, text):
    output = tmp_path / "out"
    prepared(letters, text, output, *CLEAN, "--test-fold", 7, "--valid-fold", 4)
    folds = {"test": {7}, "valid": {4}, "train": set(range(10)) - {7, 4}}
    for split in SPLITS:
        found = set()
        for entry, line in zip(read_manifest(output / f"{split}.tsv"), lines(output / f"{split}.wrd"), strict=True):
            written = [letter for word in line.split() for letter in word]
            glyphs = np.split(np.load(entry.path), len(written))  # of 8 columns each: no gaps
            for letter, columns in zip(written, glyphs, strict=True):
                fold = int("".join(map(str, columns[:, 15])), 2)
                found.add(fold)
                assert np.array_equal(columns.T, handwriting.glyph(letter, fold))
        assert found == folds[split]


def test_gaps_shifts_and_noise(tmp_path, letters, text):
    clean, moved = tmp_path / "clean", tmp_path / "moved"
    prepared(letters, text, clean, *CLEAN)
    prepared(letters, text, moved, "--letter-gap", 3, "--word-gap", 9, "--shift", 4, "--noise", 0.1)
    [one, two] = (np.load(folder / "frames/train/000001.npy") for folder in (clean, moved))
    assert one.shape[1] == 16 and two.shape[1] == 24 and len(two) > len(one)
    words = lines(moved / "train.wrd")[0].split()
    inside = sum(len(word) - 1 for word in words)
    assert len(one) + 3 * len(words) <= len(two) <= len(one) + 3 * inside + 9 * (len(words) + 1)


def test_lines_are_pieces_of_sentences_and_have_no_rare_words(tmp_path, letters):
    text = tmp_path / "text"
    known = [" ".join(words) for words in itertools.permutations(["bad", "cab", "dad", "fed"], 4)]
    text.write_text("".join(f"{words} , {words} Egg {words}\n" for words in known))
    prepared(letters, text, tmp_path / "out", "--lexicon-size", 4, "--words", "4:4")
    assert {line for split in SPLITS for line in lines(tmp_path / f"out/{split}.wrd")} <= set(known)
    assert len(lines(tmp_path / "out/lexicon.txt")) == 4
    test, train = (set(lines(tmp_path / f"out/{split}.wrd")) for split in ("test", "train"))
    assert not test & train


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--test-fold", 10), "--test-fold must be in [0, 9], got 10"),
        (("--test-fold", 1), "--test-fold and --valid-fold must differ, got 1 for both"),
        (("--word-gap", 1), "--word-gap must be at least --letter-gap, 2, got 1"),
        (("--words", "8:3"), "argument --words: must be LEAST:MOST, at least 1 each, as in 3:8, got 8:3"),
        (("--noise", 1), "argument --noise: must be at least 0 and below 1, got 1"),
        (("--lexicon-size", 0), "argument --lexicon-size: must be at least 1, got 0"),
    ],
)
def test_flags_that_are_refused(tmp_path, letters, text, flags, message):
    assert message in refusal(letters, text, tmp_path / "out", *flags, status=2)


def test_too_little_text_is_refused(tmp_path, letters, text):
    few = handwriting.write_text(tmp_path / "few", sentences=14)
    said = refusal(letters, few, tmp_path / "out")
    assert f"error: {few} must have at least 15 sentences with 3 words of a-z in a row, as test and validation" in said
    assert "got 14" in said
    said = refusal(letters, text, tmp_path / "out", "--train-lines", 1000)
    assert " lines of 3 to 8 words of a-z in the lexicon for the train split, and 1000 are wanted" in said
    said = refusal(letters, text, tmp_path / "out", "--lexicon-size", 1)
    assert f"{text} has 0 lines of 3 to 8 words of a-z in the lexicon for the test split, and 8 are wanted" in said


def test_a_text_that_is_no_utf8_is_refused_by_its_line(tmp_path, letters):
    (tmp_path / "text").write_bytes(b"a bad cab\nb\xffd\n")
    assert "text, line 2: not UTF-8" in refusal(letters, tmp_path / "text", tmp_path / "out")


def test_letters_that_break_their_format_are_refused_by_their_line(tmp_path, letters, text):
    rows = letters.read_text().splitlines(keepends=True)
    letters.write_text("".join([*rows[:4], rows[4].replace("\t0\t", "\t2\t", 3), *rows[5:]]))
    assert "letter.data, line 5: " in refusal(letters, text, tmp_path / "out")
    letters.write_text("")
    assert "letter.data holds no letter" in refusal(letters, text, tmp_path / "out")


@pytest.mark.parametrize(
    ("drawn", "folds", "message"),
    [
        ("abcdefg", 10, "has no glyph of the letter 'h' for the "),
        ("abcdefgh", 1, "has no letter of fold 1, which is for the valid split"),
        ("abcdefgh", 2, "has no letter for the train split: all are of folds [0, 1]"),
    ],
)
def test_letters_that_are_not_enough_are_refused(tmp_path, text, drawn, folds, message):
    letters = handwriting.write_letters(tmp_path / "letter.data", drawn, folds)
    assert message in refusal(letters, text, tmp_path / "out")


def test_search_recognition_reads_what_is_written(tmp_path, letters, text):
    prepared(letters, text, tmp_path / "out")
    words = ("--recognition-lexicon", tmp_path / "out/lexicon.txt", "--recognition-lm", tmp_path / "out/ngram.arpa")
    model = ("--arch", "recognizer_lstm", "--encoder-channels", 8, "--encoder-hidden-size", 8, "--encoder-layers", 1)
    flags = ("--recognition-deltas", 0, "--criterion", "dbd", "--optimizer", "adam", "--batch-size", 4)
    done = commands.train(
        tmp_path / "out", "search_recognition", tmp_path / "model", *words, *model, *flags, "--max-update", 2
    )
    [valid] = done.logged("valid")
    assert valid["valid_num_updates"] == 2 and "valid_word_error_beam" in valid
    assert "left out" not in done.text
