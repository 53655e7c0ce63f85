"""From a published file through fairseq and back: the same lines, with the predicted labels, and their score."""

import os
import re
import subprocess
import sys
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
        ("conll2000", "train.txt", "test.txt", b" "),
        ("german_ler", "dev.conll", "test.conll", b" "),
        ("ccg_ewt", "train.tsv", "test.tsv", b"\t"),
    ],
)
def test_real_corpora_come_back_byte_for_byte(tmp_path, folder, train, test, separator):
    files = {"train": Path(DATA or "") / folder / train, "test": Path(DATA or "") / folder / test}
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} in the folder that SEQSEARCH_DATA names")
    generated, _ = through_fairseq(tmp_path, files)
    done = script("score_tagging.py", files["test"], generated, tmp_path / "scored", "--scoring", "tag_accuracy")
    assert done.returncode == 0, done.stderr
    pairs = zip(*(path.read_bytes().splitlines(True) for path in (files["test"], tmp_path / "scored")), strict=True)
    for line, scored in pairs:
        end = line[len(line.rstrip(b"\r\n")) :]
        assert scored == line or scored.removesuffix(end).rsplit(separator, 1)[0] + end == line
    assert done.stdout.strip() in generated.read_text(encoding="utf-8")


def scored(folder: Path, corpus: bytes, predictions: list[str], *flags) -> tuple[bytes, list[str]]:
    """What score_tagging.py writes and says of these predictions, one for each sentence."""
    (folder / "corpus").write_bytes(corpus)
    lines = [f"H-{number}\t-0.1\t{labels}\n" for number, labels in enumerate(predictions)]
    (folder / "generated").write_text("".join(reversed(lines)), encoding="utf-8")
    done = script("score_tagging.py", folder / "corpus", folder / "generated", folder / "scored", *flags)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["corpus", "generated", "scored"]
    return (folder / "scored").read_bytes(), done.stdout.splitlines()


@pytest.mark.parametrize(
    "corpus,written",
    [
        (b"\xef\xbb\xbfa B-X\r\n\r\n  \r\nb O", b"\xef\xbb\xbfa B-X B-X\r\n\r\n  \r\nb O O"),
        ("\u00f3\tB-X  \n\nb\tO".encode("iso-8859-1"), "\u00f3\tB-X  \tB-X\n\nb\tO\tO".encode("iso-8859-1")),
    ],
)
def test_every_byte_comes_back(tmp_path, corpus, written):
    assert scored(tmp_path, corpus, ["B-X", "O"])[0] == written


@pytest.mark.parametrize(
    "labels,predictions,flags,said",
    [
        (["B-X", "O"], ["B-X", "O"], [], ["chunk F1: 100.00 %", "  X: 100.00 %"]),
        (["N", "V"], ["N", "N"], [], ["tag accuracy: 50.00 % (1 of 2 labels)"]),
        (["O", "O"], ["O", "O"], [], ["tag accuracy: 100.00 % (2 of 2 labels)"]),
        (["B-X", "O"], ["<unk>", "O"], [], ["chunk F1: 0.00 %", "  <unk>: 0.00", "  X: 0.00 %"]),
        (["B-X", "O"], ["B-X", "O"], ["--scoring", "tag_accuracy"], ["tag accuracy: 100.00 %"]),
    ],
)
def test_the_score_is_that_of_the_kind_of_labels(tmp_path, labels, predictions, flags, said):
    corpus = "".join(f"w {label}\n\n" for label in labels).encode()
    lines = scored(tmp_path, corpus, predictions, *flags)[1]
    assert len(lines) == len(said) and all(map(str.startswith, lines, said))


@pytest.mark.parametrize(
    "line",
    [
        "--scoring chunk_f1 CORPUS GENERATED OUTPUT",
        "CORPUS --scoring chunk_f1 GENERATED OUTPUT",
        "--scoring tag_accuracy chunk_f1 CORPUS --scheme iob2 GENERATED OUTPUT",
        "CORPUS GENERATED --scheme iob2 OUTPUT --scoring chunk_f1",
    ],
)
def test_options_stand_in_any_order(tmp_path, line):
    scored(tmp_path, b"a B-X\n", ["B-X"])
    places = {"CORPUS": tmp_path / "corpus", "GENERATED": tmp_path / "generated", "OUTPUT": tmp_path / "again"}
    done = script("score_tagging.py", *(places.get(part, part) for part in line.split()))
    assert done.returncode == 0 and "chunk F1: 100.00 %" in done.stdout
    assert ("tag accuracy" in done.stdout) == ("tag_accuracy" in line)


def test_chunk_f1_of_other_labels_is_refused_and_nothing_written(tmp_path):
    (tmp_path / "corpus").write_text("a NN\n")
    (tmp_path / "generated").write_text("H-0\t0\tNN\n")
    files = [tmp_path / "corpus", tmp_path / "generated", tmp_path / "scored"]
    done = script("score_tagging.py", *files, "--scoring", "chunk_f1")
    assert done.returncode == 1 and "chunk_f1 needs labels of chunks" in done.stderr and not files[2].exists()


def test_a_pipe_and_a_device_will_do(tmp_path):
    (tmp_path / "generated").write_text("H-0\t0\tNN\n")
    argv = [
        sys.executable,
        commands.ROOT / "scripts" / "score_tagging.py",
        "/dev/stdin",
        tmp_path / "generated",
        "/dev/stdout",
    ]
    done = subprocess.run(argv, input=b"a NN\n", capture_output=True, env=commands.ENVIRONMENT, timeout=120)
    assert done.stdout.startswith(b"a NN NN\n") and b"tag accuracy: 100.00 %" in done.stdout and done.returncode == 0


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    peaks = []
    for sentences in (1_000, 20_000):
        (tmp_path / "corpus").write_text("".join(f"word{i} A\nb B\nc C\nd D\n\n" for i in range(sentences)))
        lines = (f"S-{i}\tword b c d\nH-{i}\t-0.1\tA B C C\n" for i in reversed(range(sentences)))
        (tmp_path / "generated").write_text("".join(lines))
        files = [tmp_path / name for name in ("corpus", "generated", "scored")]
        process = subprocess.Popen(
            [sys.executable, commands.ROOT / "scripts" / "score_tagging.py", *files], stdout=subprocess.PIPE
        )
        with process.stdout as out:
            assert out.read().startswith(b"tag accuracy: 75.00 %")
        _, process.returncode, usage = os.wait4(process.pid, 0)
        peaks.append(usage.ru_maxrss)
    assert peaks[1] < peaks[0] + 4_000, f"kilobytes: {peaks}"


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
