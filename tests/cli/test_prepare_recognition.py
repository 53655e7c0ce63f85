"""prepare_recognition.py: AN4 as published, folders of files with transcriptions, and bad input."""

import os
import shutil
import wave
from pathlib import Path

import pytest
import speech
from commands import script

AN4 = Path(os.environ.get("SEQSEARCH_DATA", "")) / "an4"
NAME = "prepare_recognition.py"


@pytest.fixture
def an4(tmp_path) -> Path:
    return speech.write_an4(tmp_path / "an4")


def prepared(output: Path, *flags) -> tuple[dict[str, list[str]], list[str]]:
    """What is written, by file, and what is said."""
    done = script(NAME, *flags, output)
    assert done.returncode == 0, done.stderr
    written = {path.name: path.read_text(encoding="utf-8").splitlines() for path in output.iterdir()}
    return written, done.stdout.splitlines()


def refusal(output: Path, *flags) -> str:
    """The message; nothing may be written."""
    done = script(NAME, output, *flags)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.startswith("error: ")
    assert not output.exists() and not list(output.parent.glob(f".{output.name}*"))
    return done.stderr


def test_an4_with_letters(tmp_path, an4):
    written, said = prepared(tmp_path / "out", "--valid-speakers", "mblb,mxyz", "--an4", an4)
    assert sorted(written) == sorted(
        [f"{split}.{kind}" for split in ("train", "valid", "test") for kind in ("tsv", "wrd", "ltr")]
        + ["dict.ltr.txt", "lexicon.txt", "ngram.arpa"]
    )
    feat = "feat/an4_clstk/fash/an{}-fash-b.mfc\t{}"
    assert written["train.tsv"] == [str(an4), feat.format(1, 20), feat.format(2, 21)]
    assert written["train.wrd"] == ["YES ZERO", "A"]
    assert written["train.ltr"] == ["Y E S | Z E R O |", "A |"]
    assert written["valid.wrd"] == ["ZERO ZERO", "YES"] and written["test.wrd"] == ["ZERO YES"]
    assert written["dict.ltr.txt"] == ["| 3", "E 2", "A 1", "O 1", "R 1", "S 1", "Y 1", "Z 1"]
    assert written["lexicon.txt"] == ["A\tA |", "YES\tY E S |", "ZERO\tZ E R O |"]
    assert written["ngram.arpa"][:3] == ["\\data\\", "ngram 1=6", "ngram 2=5"]
    assert said[:2] == [
        "train: 2 utterances, 3 words, 41 frames or samples",
        "valid: 2 utterances, 3 words, 45 frames or samples",
    ]
    assert said[3:6] == [
        "valid: speakers mblb, mxyz",
        "lexicon: 3 words in 3 spellings",
        "n-gram: 6 of order 1, 5 of order 2",
    ]
    assert said[6].startswith("valid: perplexity ") and said[7].startswith("test: perplexity ")


def test_an4_with_phones_takes_the_first_pronunciation_and_keeps_the_others(tmp_path, an4):
    written, _ = prepared(tmp_path / "out", "--an4", an4, "--units", "phones", "--order", 1, "--valid-share", 0.2)
    assert written["test.phn"] == ["Z IH R OW SIL Y EH S SIL"]
    assert written["lexicon.txt"] == [
        "A\tAH SIL",
        "A\tEY SIL",
        "YES\tY EH S SIL",
        *(f"ZERO\tZ {phone} R OW SIL" for phone in ("IH", "IY")),
    ]
    assert {"SIL", "EY", "IY"} <= {line.split()[0] for line in written["dict.phn.txt"]}
    assert "\\2-grams:" not in written["ngram.arpa"]


def test_the_validation_speakers_are_the_same_each_time(tmp_path, an4):
    one, said = prepared(tmp_path / "one", "--an4", an4)
    two, again = prepared(tmp_path / "two", "--an4", an4)
    assert one == two and said == again
    assert {len(one[f"{split}.wrd"]) for split in ("train", "valid")} in ({1, 3}, {2})


def test_a_folder_of_files_with_transcriptions(tmp_path):
    folder = speech.write_folder(tmp_path / "corpus", 8, seed=1)
    (tmp_path / "text").write_text("BEE LAB\n\nEEL OX\n")
    flags = ("--train", folder, "--test", folder, "--lm-text", tmp_path / "text", tmp_path / "text")
    written, said = prepared(tmp_path / "out", *flags, "--valid-speakers", "kim", "--limit", 3)
    assert [line.split("\t")[0] for line in written["train.tsv"][1:]] == [
        "lee/u001.mfc",
        "lee/u002.mfc",
        "lee/u003.mfc",
    ]
    assert [line.split("\t")[0] for line in written["valid.tsv"][1:]] == ["kim/u000.mfc", "kim/u004.mfc"]
    words = (folder / "lee/lee.trans.txt").read_text().splitlines()
    assert written["train.wrd"] == [line.partition(" ")[2] for line in words[:3]]
    assert written["valid.wrd"][0] == (folder / "kim/u000.txt").read_text().strip()
    assert any(line.split("\t")[1] == "OX" for line in written["ngram.arpa"] if "\t" in line)

    again, _ = prepared(tmp_path / "again", *flags[:4], "--valid", folder)
    assert len(again["valid.wrd"]) == len(again["test.wrd"]) == 8


def test_audio_needs_no_features(tmp_path):
    pytest.importorskip("soundfile", reason="audio is read by the package soundfile")
    for speaker in "ab":
        (tmp_path / "corpus" / speaker).mkdir(parents=True)
        with wave.open(str(tmp_path / "corpus" / speaker / "one.wav"), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(16_000)
            out.writeframes(bytes(2 * 1000))
        (tmp_path / "corpus" / speaker / "one.txt").write_text("HI THERE\n")
    written, _ = prepared(tmp_path / "out", "--train", tmp_path / "corpus", "--test", tmp_path / "corpus")
    assert written["test.tsv"][1:] == ["a/one.wav\t1000", "b/one.wav\t1000"]


@pytest.mark.parametrize(
    "file,text,message",
    [
        ("etc/an4_train.transcription", "YES ZERO (an1-fash-b)\n", "transcription has 1 lines, and .*fileids 4"),
        ("etc/an4_test.transcription", "ZERO YES\n", "transcription, line 1: must be words and then (UTTERANCE), got"),
        ("etc/an4_test.transcription", "ZERO (an2-fcaw-b)\n", "line 1: is of an2-fcaw-b, and line 1 of "),
        ("etc/an4.dic", "YES Y EH S\nZERO\n", "an4.dic, line 2: the word 'ZERO' has no pronunciation"),
        ("feat/an4test_clstk/fcaw/an1-fcaw-b.mfc", "", "an1-fcaw-b.mfc: must be a count and as many numbers"),
        ("etc/an4.dic", None, "an4.dic does not exist; AN4's folder holds etc/ and feat/"),
        ("etc/an4_test.fileids", None, "an4_test.fileids does not exist; AN4's folder holds etc/ and feat/"),
        ("feat/an4_clstk/mxyz/an1-mxyz-b.mfc", None, "an1-mxyz-b.mfc does not exist"),
        ("etc/an4_test.transcription", "A|B (an1-fcaw-b)\n", "line 1: the word 'A|B' holds '|', which separates words"),
    ],
)
def test_a_corpus_that_breaks_its_format_is_refused(tmp_path, an4, file, text, message):
    (an4 / file).unlink() if text is None else (an4 / file).write_text(text)
    said = refusal(tmp_path / "out", "--an4", an4)
    assert all(part in said for part in message.split(".*"))


def test_a_word_without_phones_is_refused(tmp_path, an4):
    (an4 / "etc/an4.dic").write_text("ZERO Z IH R OW\n")
    said = refusal(tmp_path / "out", "--an4", an4, "--units", "phones", "--valid-speakers", "mxyz")
    assert "an4_train.transcription, line 1: the word 'YES' is not in the lexicon, so its phones are unknown" in said


def test_a_folder_without_transcriptions_or_speakers_is_refused(tmp_path):
    folder = speech.write_folder(tmp_path / "corpus", 8, seed=1)
    both = ("--train", folder, "--test", folder)
    assert "--valid-speakers tom: no such speaker in the training split; there are kim, lee" in refusal(
        tmp_path / "out", *both, "--valid-speakers", "tom"
    )
    assert "there is no utterance for the train split" in refusal(
        tmp_path / "out", *both, "--valid-speakers", "kim,lee"
    )
    assert "no n-gram of order 9" in refusal(tmp_path / "out", *both, "--order", 9)
    assert "would be replaced, and holds the input" in script(NAME, tmp_path, *both, "--overwrite").stderr
    assert "nowhere does not exist, or is no folder" in refusal(
        tmp_path / "out", *both[:2], "--test", tmp_path / "nowhere"
    )
    shutil.rmtree(folder / "lee")
    assert "speakers cannot be split off for validation: there is only kim" in refusal(tmp_path / "out", *both)
    (folder / "kim/u000.txt").unlink()
    assert "u000.mfc has no transcription: neither u000.txt nor *.trans.txt" in refusal(tmp_path / "out", *both)
    (tmp_path / "empty").mkdir()
    assert "holds no file that ends in .mfc, .npy" in refusal(
        tmp_path / "out", "--train", tmp_path / "empty", *both[2:]
    )


@pytest.mark.parametrize(
    "flags,message",
    [
        ([], "the corpus must be given: --an4 FOLDER, or --train FOLDER and --test FOLDER"),
        (["--an4", "a", "--train", "b"], "the corpus must be given"),
        (["--train", "a"], "--train FOLDER and --test FOLDER must both be given, got only train"),
        (["--train", "a", "--test", "b", "--valid", "c", "--valid-speakers", "d"], "leave one of them out"),
        (["--train", "a", "--test", "b", "--units", "phones"], "--units phones needs --lexicon FILE"),
        (["--an4", "a", "--valid-share", "1"], "must be between 0 and 1, got 1"),
        (["--an4", "a", "--order", "0"], "must be at least 1, got 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, flags, message):
    done = script(NAME, tmp_path / "out", *flags)
    assert done.returncode == 2 and message in done.stderr


def test_the_published_corpus(tmp_path):
    if not AN4.is_dir():
        pytest.skip("AN4 is not there: SEQSEARCH_DATA must name a folder that holds an4/")
    written, said = prepared(tmp_path / "out", "--an4", AN4, "--units", "phones")
    assert said[2] == "test: 130 utterances, 773 words, 35570 frames or samples"
    assert len(written["train.wrd"]) + len(written["valid.wrd"]) == 948
