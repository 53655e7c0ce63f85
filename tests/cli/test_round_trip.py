"""From a published file through fairseq and back: the same lines, with the predicted labels, and their score."""

import os
import re
from pathlib import Path

import commands
import pytest
from commands import OPTIMIZER, TINY, script

DATA = os.environ.get("SEQSEARCH_DATA")  # a folder with real corpora, whole files of which take minutes

GERMEVAL = "".join(
    f"#\thttp://example.org/{i} [2010-01-0{i}]\n"
    f"1\tKim\tB-PER\tO\n2\tw{i}\tO\tB-ORG\n3\tLee\tB-PER{'part' * (i == 5)}\tO\n\n"
    for i in range(1, 7)
)
IOB1_SENTENCE = "Kim NNP I-NP I-PER\nLee NNP I-NP B-PER\nsang VBD I-VP O\n\n"
IOB1 = "-DOCSTART- -X- O O\n\n" + IOB1_SENTENCE * 6 + "New NN I-NP I-MISC\n"
AUTO = "ID=1\n(<T S 0 3> (<L NP PRP PRP it NP>) (<L S\\NP VBZ VBZ is S\\NP>) (<L . . . ! .>) )\n" * 6


def through_fairseq(folder: Path, files: dict[str, Path], *flags) -> tuple[Path, commands.Output]:
    """Prepare, preprocess, train for an update, generate; the file that fairseq-generate writes, and training's log."""
    splits = [part for split, path in files.items() for part in (f"--{split}", path)]
    done = script("prepare_tagging.py", folder / "text", *splits, "--valid-every", 3, *flags)
    assert done.returncode == 0, done.stderr
    paths = [f"--{split}pref={folder / 'text' / split}" for split in ("train", "valid", "test")]
    languages = ["--source-lang", "words", "--target-lang", "labels"]
    commands.run("preprocess", *languages, "--destdir", folder / "bin", *paths, "--thresholdsrc", 2)
    best = ["--best-checkpoint-metric", "accuracy_beam", "--maximize-best-checkpoint-metric", "--max-update", 1]
    shared = [*TINY["tagger_gru"], *OPTIMIZER, *best, "--criterion", "cross_entropy"]
    log = commands.train(folder / "bin", "search_tagging", folder, *shared)
    decoding = ["--decoder", "greedy", "--batch-size", 64, "--scoring", "tag_accuracy"]
    out = commands.generate(folder / "bin", "search_tagging", folder / "checkpoint_last.pt", *decoding)
    (folder / "generated").write_text(out.text, encoding="utf-8")
    return folder / "generated", log


def without_predictions(path: Path, separator: str, comment: str = "#\t") -> list[str]:
    """The lines of a file, those of tokens without their last column."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line if not line or line.startswith(comment) else line.rsplit(separator, 1)[0] for line in lines]


@pytest.mark.parametrize(
    "text,separator,flags",
    [(GERMEVAL, "\t", ["--layout", "germeval2014"]), (IOB1, " ", [])],
    ids=["germeval2014", "conll2003"],
)
def test_the_corpus_comes_back_line_for_line(tmp_path, text, separator, flags):
    (tmp_path / "corpus").write_text(text, encoding="utf-8")
    files = {"train": tmp_path / "corpus", "test": tmp_path / "corpus"}
    generated, log = through_fairseq(tmp_path, files, *flags)
    decoding = ["--gen-subset", "valid", "--decoder", "greedy", "--scoring", "chunk_f1"]
    valid = commands.generate(tmp_path / "bin", "search_tagging", tmp_path / "checkpoint_last.pt", *decoding)
    assert f"chunk F1: {log.logged('valid')[-1]['valid_chunk_f1_greedy']:.2f} %" in valid.text
    arguments = [tmp_path / "corpus", generated, tmp_path / "scored", *flags]
    done = script("score_tagging.py", *arguments, "--scoring", "tag_accuracy", "chunk_f1")
    assert done.returncode == 0, done.stderr
    assert without_predictions(tmp_path / "scored", separator) == text.splitlines()
    accuracy, f1 = done.stdout.splitlines()[:2]
    assert accuracy in generated.read_text() and f1.startswith("chunk F1: ")


def test_derivations_come_back_as_columns(tmp_path):
    (tmp_path / "corpus").write_text(AUTO, encoding="utf-8")
    files = {"train": tmp_path / "corpus", "test": tmp_path / "corpus"}
    generated, log = through_fairseq(tmp_path, files, "--layout", "auto")
    assert "valid_chunk_f1_beam" not in log.logged("valid")[-1]
    done = script("score_tagging.py", tmp_path / "corpus", generated, tmp_path / "scored", "--layout", "auto")
    assert done.returncode == 0 and done.stdout.startswith("tag accuracy: ")
    assert without_predictions(tmp_path / "scored", "\t") == ["it\tPRP\tNP", "is\tVBZ\tS\\NP", "!\t.\t.", ""] * 6


@pytest.mark.parametrize(
    "folder,train,test,separator",
    [
        ("conll2000", "train.txt", "test.txt", " "),
        ("german_ler", "dev.conll", "test.conll", " "),
        ("ccg_ewt", "train.tsv", "test.tsv", "\t"),
    ],
)
def test_real_corpora_come_back_with_the_same_words_and_breaks(tmp_path, folder, train, test, separator):
    files = {"train": Path(DATA or "") / folder / train, "test": Path(DATA or "") / folder / test}
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} in the folder that SEQSEARCH_DATA names")
    generated, _ = through_fairseq(tmp_path, files)
    done = script("score_tagging.py", files["test"], generated, tmp_path / "scored")
    assert done.returncode == 0, done.stderr
    original = [line.rstrip(" ") for line in files["test"].read_text(encoding="utf-8").splitlines()]
    assert without_predictions(tmp_path / "scored", separator, comment="no comments") == original
    assert done.stdout.strip() in generated.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "generated,message",
    [
        ("H-0\t0\tO\n", "corpus, line 3: .*generated holds no more predictions"),
        ("H-0\t0\tO\nH-1\t0\tO\n", "corpus, line 3: 2 words, but 1 predicted labels"),
        ("H-0\t0\tO\nH-1\t0\tO O\nH-2\t0\tO\n", "generated holds more sentences than .*corpus; is it of this file"),
    ],
)
def test_predictions_of_another_file_are_refused(tmp_path, generated, message):
    (tmp_path / "corpus").write_text("a O\n\nb O\nc O\n")
    (tmp_path / "generated").write_text(generated)
    done = script("score_tagging.py", tmp_path / "corpus", tmp_path / "generated", tmp_path / "scored")
    assert done.returncode == 1 and re.search(message, done.stderr)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "generated"]
