"""Preparation of spelling and of OCR letters, and the embeddings that go with the latter."""

import re
from collections import Counter

import pytest
import torch
from commands import script as run
from fairseq.data import Dictionary
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from seqsearch_fairseq.data.embeddings import load_embeddings
from seqsearch_fairseq.data.files import FormatError
from seqsearch_fairseq.data.letters import pixels_of, read_letters, token_of
from seqsearch_fairseq.data.spelling import ALPHABET, corrupt, pieces, split_of
from seqsearch_fairseq.errors import UsageError

# -------------------------------------------------------------------------------------------------------- spelling


def test_there_are_43_characters():
    assert len(set(ALPHABET)) == len(ALPHABET) == 43 and " " not in ALPHABET


def test_pieces_of_a_line():
    draws = torch.Generator().manual_seed(1)
    assert pieces("The  cat, \u00e9t\u00e9 (sat)!", 5, 10, draws) == ["the_c", "at,_t", "_sat!"]  # no other place
    assert pieces("I am", 10, 3, draws) == ["i_am"] and pieces("\u00e9 ()", 10, 3, draws) == []


def test_pieces_are_cut_at_every_place_as_often():
    draws = torch.Generator().manual_seed(1)
    count = Counter(tuple(pieces("abcdef", 2, 2, draws)) for _ in range(6000))
    everywhere = {("abcdef"[i : i + 2], "abcdef"[j : j + 2]) for i in range(5) for j in range(i + 2, 5)}
    assert count.keys() == everywhere and all(abs(n - 6000 / len(everywhere)) < 120 for n in count.values())


@given(st.text("ab .", max_size=40), st.integers(1, 6), st.integers(1, 5), st.integers(0, 99))
def test_pieces_do_not_overlap(line, length, most, seed):
    found = pieces(line, length, most, torch.Generator().manual_seed(seed))
    text = pieces(line, 10**6, 1, torch.Generator())  # the whole line
    assert len(found) <= most and (bool(found) == bool(text))
    begin = 0
    for piece in found:
        begin = text[0].index(piece, begin) + len(piece)
    assert all(len(piece) == length for piece in found) or found == text


def test_a_piece_is_in_one_split_only():
    alphabet = [a + b for a in ALPHABET for b in ALPHABET]
    count = Counter(split_of(piece, 10, 1) for piece in alphabet)
    assert abs(count["valid"] - 185) < 50 and abs(count["test"] - 185) < 50 and count.total() == 43**2
    assert any(split_of(piece, 10, 1) != split_of(piece, 10, 2) for piece in alphabet)


def test_corruption_replaces_by_any_character():
    draws = torch.Generator().manual_seed(1)
    assert corrupt("abc", 0.0, draws) == "abc"
    noisy = corrupt("a" * 43_000, 0.5, draws)
    replaced = sum(c != "a" for c in noisy) / len(noisy)
    assert abs(replaced - 0.5 * 42 / 43) < 0.02 and set(noisy) == set(ALPHABET)


def test_prepare_spelling(tmp_path):
    text = tmp_path / "text"
    text.write_text("".join(f"line {i % 150} of a text\n" for i in range(300)))  # each line twice
    flags = ("--length", 4, "--pieces", 2, "--valid-every", 10)
    done = run("prepare_spelling.py", text, tmp_path / "out", *flags)
    assert done.returncode == 0, done.stderr
    sizes = [
        re.fullmatch(rf"{split}: (\d+) pieces, (\d+) characters", line)
        for split, line in zip(("train", "valid", "test"), done.stdout.splitlines(), strict=True)
    ]
    assert sum(int(size[1]) for size in sizes) == 600 and all(int(size[2]) == 4 * int(size[1]) for size in sizes)
    split = {name: (tmp_path / "out" / f"{name}.clean").read_text().splitlines() for name in ("train", "valid", "test")}
    sets = list(map(set, split.values()))
    assert all(sets) and not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    noisy = (tmp_path / "out" / "train.noisy").read_text().splitlines()
    assert all(len(a.split()) == len(b.split()) for a, b in zip(split["train"], noisy, strict=True))
    again = run("prepare_spelling.py", text, tmp_path / "again", *flags, "--replace", 0.5)
    assert again.returncode == 0 and (tmp_path / "again" / "train.clean").read_text().splitlines() == split["train"]
    assert (tmp_path / "again" / "train.noisy").read_text().splitlines() != noisy


@pytest.mark.parametrize(
    "content,message",
    [(b"text\n\xff\n" * 30, "line 2: not UTF-8"), (b"", "too few lines with letters for the train split")],
)
def test_spelling_refuses_a_text_and_leaves_nothing_behind(tmp_path, content, message):
    (tmp_path / "text").write_bytes(content)
    done = run("prepare_spelling.py", tmp_path / "text", tmp_path / "out")
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_an_output_folder_that_holds_the_input_is_refused(tmp_path):
    (tmp_path / "text").write_text("text\n" * 40)
    done = run("prepare_spelling.py", tmp_path / "text", tmp_path)
    assert done.returncode == 1 and "would be replaced, and holds the input" in done.stderr
    assert (tmp_path / "text").exists()


def test_a_limit_below_one_is_refused(tmp_path):
    done = run("prepare_spelling.py", tmp_path / "text", tmp_path / "out", "--limit", -1)
    assert done.returncode == 2 and "argument --limit: must be at least 1, got -1" in done.stderr


# --------------------------------------------------------------------------------------------------------- letters


def letter_line(number: int, letter: str, next_id: int, position: int, fold: int, pixels: str) -> str:
    return "\t".join([str(number), letter, str(next_id), "1", str(position), str(fold), *pixels]) + "\t\n"


def letter_file(words: int) -> str:
    lines = []
    for w in range(words):
        for p, letter in enumerate("cat"):
            pixels = f"{(w * 3 + p) * 7919 + 1:0128b}"
            lines.append(letter_line(len(lines) + 1, letter, -1 if p == 2 else len(lines) + 2, p + 1, w % 3, pixels))
    return "".join(lines)


def test_a_glyphs_token_holds_its_pixels():
    pixels = "01" * 60 + "00001111"
    assert len(token_of(pixels)) == 32
    assert "".join(map(str, pixels_of(token_of(pixels)))) == pixels


def test_prepare_letters(tmp_path):
    (tmp_path / "letter.data").write_text(letter_file(30))
    done = run("prepare_letters.py", tmp_path / "letter.data", tmp_path / "out", "--fold", 1, "--valid-every", 5)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "train: 16 words, 48 letters",
        "valid: 4 words, 12 letters",
        "test: 10 words, 30 letters",
        "90 distinct glyphs",
    ]
    assert set((tmp_path / "out/test.letters").read_text().splitlines()) == {"c a t"}
    known = {line.split()[0] for line in (tmp_path / "out/dict.glyphs.txt").read_text().splitlines()}
    for split in ("train", "valid", "test"):
        assert set((tmp_path / f"out/{split}.glyphs").read_text().split()) <= known
    header, first = (tmp_path / "out/glyphs.vec").read_text().splitlines()[:2]
    assert header == "90 128" and [int(bit) for bit in first.split()[1:]] == pixels_of(first.split()[0])


@pytest.mark.parametrize(
    "line,message",
    [
        (letter_line(1, "a", -1, 1, 0, "0" * 127), "line 1: must have 128 pixels after 6 columns, got 127"),
        (letter_line(1, "a", -1, 1, 0, "2" * 128), "line 1: pixels must be 0 or 1"),
        (letter_line(1, "ab", -1, 1, 0, "0" * 128), "line 1: the letter must be one of a-z, got 'ab'"),
        (letter_line(1, "a", -1, 1, 11, "0" * 128), "line 1: the fold must be a number from 0 to 9, got '11'"),
        (letter_line(1, "a", 2, 1, 0, "0" * 128), "line 1: the file ends within a word of 1 letters"),
    ],
)
def test_letters_that_break_the_format_are_refused(line, message):
    with pytest.raises(FormatError, match=message):
        list(read_letters([line], "file"))


def test_letters_without_a_test_fold_are_refused(tmp_path):
    (tmp_path / "letter.data").write_text(letter_file(30))
    done = run("prepare_letters.py", tmp_path / "letter.data", tmp_path / "out", "--fold", 7)
    assert done.returncode == 1 and "holds no word for the test split" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["letter.data"]


# ------------------------------------------------------------------------------------------------------ embeddings


@pytest.fixture
def dictionary() -> Dictionary:
    built = Dictionary()
    for word in ("one", "two", "three"):
        built.add_symbol(word)
    return built


@pytest.mark.parametrize("header", ["", "2 3\n"])
def test_embeddings_of_known_words_are_copied(tmp_path, dictionary, header):
    (tmp_path / "vec").write_text(header + "two 1 2 3.5\nfour 9 9 9\none -1 0 1e-1\ntwo . 7 7 7\n")
    table = nn.Embedding(len(dictionary), 3)
    before = table.weight.detach().clone()
    assert load_embeddings(table, dictionary, str(tmp_path / "vec")) == 2
    assert table.weight[dictionary.index("two")].tolist() == [1.0, 2.0, 3.5]
    assert bool((table.weight[dictionary.index("three")] == before[dictionary.index("three")]).all())


@pytest.mark.parametrize(
    "content,message",
    [
        (b"two 1 2\n", "line 1 has 2 dimensions, --encoder-embed-dim is 3"),
        (b"two 1 2 x\n", "line 1: could not convert"),
        (b"four nan 1 1\ntwo 1 nan 3\n", "line 2: the vector of 'two' holds nan, not a finite number"),
        (b"two 1 2 1e999\n", "line 1: the vector of 'two' holds 1e999, not a finite number"),
        (b"\xff 1 2 3\n", "line 1: not UTF-8"),
        (b"four 1 2 3\n", "holds none of the 7 words of the dictionary with 3 numbers, which is --encoder-embed-dim"),
    ],
)
def test_bad_embeddings_are_refused(tmp_path, dictionary, content, message):
    (tmp_path / "vec").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        load_embeddings(nn.Embedding(len(dictionary), 3), dictionary, str(tmp_path / "vec"))
    with pytest.raises(UsageError, match="does not exist"):
        load_embeddings(nn.Embedding(len(dictionary), 3), dictionary, str(tmp_path / "nowhere"))
