"""Preparation of plain parallel text: pieces and references, compressed or not, and what is refused."""

import bz2
import gzip
import re
from pathlib import Path

import pytest
import sentencepiece
from commands import Script, script

SPLITS = {"train": 40, "val": 6, "test": 5}  # sentence pairs of each


def prepare(*arguments) -> Script:
    return script("prepare_parallel.py", *arguments)


def text(language: str, count: int) -> list[str]:
    return [
        f"{'der Satz' if language == 'de' else 'the Sentence'} number {number}, no more." for number in range(count)
    ]


@pytest.fixture
def corpus(tmp_path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for split, count in SPLITS.items():
        for language in ("de", "en"):
            (folder / f"{split}.{language}").write_text("".join(line + "\n" for line in text(language, count)))
    return folder


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_pieces_and_references(corpus, tmp_path):
    done = prepare(corpus, tmp_path / "out", "--vocab-size", 60)
    assert done.returncode == 0, done.stderr
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "out/spm.model"))
    for split, count in {"train": 40, "valid": 6, "test": 5}.items():
        for language in ("de", "en"):
            pieces = [model.encode(line, out_type=str) for line in text(language, count)]
            assert lines(tmp_path / f"out/{split}.{language}") == [" ".join(sentence) for sentence in pieces]
        total = sum(map(len, pieces))
        assert lines(tmp_path / f"out/raw.{split}.en") == text("en", count)
        assert f"{split}: {count} sentence pairs, {total} en pieces" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1] == f"vocabulary: 60 pieces; written to {tmp_path / 'out'}"


def test_compressed_files_give_the_same(corpus, tmp_path):
    assert prepare(corpus, tmp_path / "plain", "--vocab-size", 60, "--limit", 5).returncode == 0
    for compress, name in ((gzip.compress, "train.de"), (bz2.compress, "test.en")):
        path = corpus / name
        path.with_name(name + {"train.de": ".gz", "test.en": ".bz2"}[name]).write_bytes(compress(path.read_bytes()))
        path.unlink()
    assert prepare(corpus, tmp_path / "packed", "--vocab-size", 60, "--limit", 5).returncode == 0
    for path in (tmp_path / "plain").glob("*.??"):
        assert len(lines(path)) == 5
        assert (tmp_path / "packed" / path.name).read_bytes() == path.read_bytes()


def test_nothing_is_replaced_unasked(corpus, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    done = prepare(corpus, tmp_path / "out", "--vocab-size", 60)
    assert done.returncode == 1 and "say --overwrite to replace it" in done.stderr and (tmp_path / "out/mine").exists()
    assert prepare(corpus, tmp_path / "out", "--vocab-size", 60, "--overwrite").returncode == 0
    assert not (tmp_path / "out/mine").exists()


@pytest.mark.parametrize(
    "name,content,message",
    [
        ("val.en", b"one\n", "val.de has 6 sentences and ends at line 6, .*val.en has 1 sentences"),
        ("test.de", b"one\ntwo\n\xff\n4\n5\n", r"test\.de, line 3: not UTF-8"),
        ("train.de", gzip.compress(b"one\n" * 40, mtime=0)[:-9], r"train\.de is cut short or broken"),
        ("test.en", None, r"must hold test\.de and test\.en, and does not"),
    ],
)
def test_bad_text_is_refused_and_nothing_is_left_behind(corpus, tmp_path, name, content, message):
    (corpus / name).unlink()
    if content is not None:
        (corpus / name).write_bytes(content)
    done = prepare(corpus, tmp_path / "out", "--vocab-size", 60)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert re.search(message, done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_other_things_that_are_refused(corpus, tmp_path):
    for split in ("train.de", "train.en"):
        (corpus / split).write_text("")
    assert "train.de is empty" in prepare(corpus, tmp_path / "out").stderr
    for split in ("train.de", "train.en"):
        (corpus / split).write_text("a b\n" * 9)
    done = prepare(corpus, tmp_path / "out", "--vocab-size", 4000)
    assert done.returncode == 1 and "--vocab-size 4000 does not fit the text" in done.stderr
    assert "does not exist" in prepare(tmp_path / "nowhere", tmp_path / "out").stderr
    assert "must be at least 1, got 0" in prepare(corpus, tmp_path / "out", "--limit", 0).stderr
