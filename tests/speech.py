"""A tiny corpus of speech for tests: each letter is a vector of cepstra, held for some frames, with noise."""

from pathlib import Path

import commands
import numpy as np

from seqsearch_fairseq.data.recognition.features import write_cepstra

WORDS = ("ABLE", "BEE", "EEL", "LAB", "ALL")
LETTERS = "ABEL"


def frames_for(words: list[str], draws: np.random.Generator) -> np.ndarray:
    """(T, 13): 4 to 6 frames a letter, 2 to 4 of silence after a word."""
    shapes = np.random.default_rng(0).normal(size=(len(LETTERS) + 1, 13)) * 3
    held = []
    for word in words:
        for letter in word:
            held += [LETTERS.index(letter)] * int(draws.integers(4, 7))
        held += [len(LETTERS)] * int(draws.integers(2, 5))
    return shapes[held] + draws.normal(size=(len(held), 13)) * 0.3 + 5.0


def write_folder(folder: Path, utterances: int, seed: int) -> Path:
    """.mfc files of two speakers, one with .txt files beside them, the other with a .trans.txt."""
    draws = np.random.default_rng(seed)
    for speaker in ("kim", "lee"):
        (folder / speaker).mkdir(parents=True, exist_ok=True)
    listed = []
    for number in range(utterances):
        words = [str(word) for word in draws.choice(WORDS, size=int(draws.integers(1, 4)))]
        speaker = "kim" if number % 4 == 0 else "lee"
        path = folder / speaker / f"u{number:03}.mfc"
        write_cepstra(path, frames_for(words, draws))
        if speaker == "kim":
            path.with_suffix(".txt").write_text(" ".join(words) + "\n")
        else:
            listed.append(f"{path.stem} {' '.join(words)}\n")
    (folder / "lee" / "lee.trans.txt").write_text("".join(listed))
    return folder


def write_an4(folder: Path) -> Path:
    """AN4's layout: three training speakers, one of the test, and a dictionary with two ways to say ZERO."""
    said = {
        "an4_clstk/fash/an1-fash-b": "YES ZERO",
        "an4_clstk/fash/an2-fash-b": "A",
        "an4_clstk/mblb/an1-mblb-b": "ZERO ZERO",
        "an4_clstk/mxyz/an1-mxyz-b": "YES",
        "an4test_clstk/fcaw/an1-fcaw-b": "ZERO YES",
    }
    (folder / "etc").mkdir(parents=True)
    for split in ("train", "test"):
        chosen = [name for name in said if name.startswith("an4test" if split == "test" else "an4_")]
        (folder / f"etc/an4_{split}.fileids").write_text("".join(f"{name}\n" for name in chosen))
        (folder / f"etc/an4_{split}.transcription").write_text(
            "".join(f"{said[name]} ({name.rpartition('/')[2]})\n" for name in chosen)
        )
    for number, name in enumerate(said):
        path = folder / "feat" / f"{name}.mfc"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_cepstra(path, np.random.default_rng(number).normal(size=(20 + number, 13)))
    (folder / "etc/an4.dic").write_text(
        "A                    AH\nA(2)                 EY\nYES  Y EH S\nZERO    Z IH R OW\nZERO(2)  Z IY R OW\n"
    )
    return folder


TINY = ["--arch", "recognizer_lstm", "--encoder-channels", "24", "--encoder-hidden-size", "24", "--encoder-layers", "1"]
TINY += ["--encoder-subsampling", "2", "--dropout", "0.1", "--criterion", "ctc", "--optimizer", "adam", "--lr", "0.02"]
TINY += ["--clip-norm", "5", "--batch-size", "8"]


def prepare(folder: Path) -> Path:
    """The corpus in fairseq's format: 40 utterances to train on, 8 for validation, the same ones to test."""
    train, test = write_folder(folder / "train", 40, seed=1), write_folder(folder / "test", 8, seed=2)
    flags = ("--train", train, "--valid", test, "--test", test)
    done = commands.script("prepare_recognition.py", folder / "data", *flags)
    assert done.returncode == 0, done.stderr
    return folder / "data"


def train_lm(data: Path, path: Path, *flags) -> None:
    """A recurrent language model of the corpus."""
    sizes = ("--embed-dim", 6, "--hidden-size", 8, "--epochs", 3, "--cpu")
    done = commands.script("train_recognition_lm.py", data, "--output", path, *sizes, *flags)
    assert done.returncode == 0, done.stderr
