"""Speech as it is published: AN4 with its cepstra, and folders of files with transcriptions beside them."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from seqsearch_fairseq.data.files import FormatError, read_lines
from seqsearch_fairseq.data.recognition.features import ENDINGS
from seqsearch_fairseq.data.recognition.lexicon import Lexicon, read_cmu_lexicon

AN4_SPLITS = ("train", "test")
AN4_LINE = re.compile(r"(.*)\(([^()\s]+)\)\s*$")  # the words, and in brackets the utterance
AN4_MARKS = ("<s>", "</s>", "<sil>")  # some copies have them around the words
TRANSCRIPTION = ".txt"  # beside the file of an utterance
TRANSCRIPTIONS = "*.trans.txt"  # of a folder, as LibriSpeech has them: a name and its words a line


class Utterance(NamedTuple):
    """One recording and what is said in it."""

    path: Path
    words: list[str]
    speaker: str
    where: str  # the transcription's file and line


def read_an4(folder: Path, split: str) -> Iterator[Utterance]:
    """The utterances of AN4 in the order of its lists.

    Args:
        folder: it holds etc/ and feat/.
        split: a name of `AN4_SPLITS`.

    Raises:
        FormatError: a list is missing or breaks its format, or the two lists do not name the same utterances.
    """
    files, texts = folder / "etc" / f"an4_{split}.fileids", folder / "etc" / f"an4_{split}.transcription"
    for path in (files, texts):
        if not path.is_file():
            raise FormatError(f"{path} does not exist; AN4's folder holds etc/ and feat/")
    names, lines = [line.strip() for line in read_lines(files)], list(read_lines(texts))
    if len(names) != len(lines):
        raise FormatError(f"{texts} has {len(lines)} lines, and {files} {len(names)}; they must be parallel")
    for number, (name, line) in enumerate(zip(names, lines, strict=True), 1):
        where = f"{texts}, line {number}"
        found = AN4_LINE.fullmatch(line)
        if found is None:
            raise FormatError(f"{where}: must be words and then (UTTERANCE), got {line[:60]!r}")
        if found[2] != name.rpartition("/")[2] or "/" not in name:
            raise FormatError(f"{where}: is of {found[2]}, and line {number} of {files} names {name!r}")
        words = [word for word in found[1].split() if word not in AN4_MARKS]
        yield Utterance(folder / "feat" / f"{name}.mfc", words, name.split("/")[-2], where)


def read_an4_lexicon(folder: Path) -> Lexicon:
    """The pronunciations of AN4."""
    path = folder / "etc" / "an4.dic"
    if not path.is_file():
        raise FormatError(f"{path} does not exist; AN4's folder holds etc/ and feat/")
    return read_cmu_lexicon(path)


def read_folder(folder: Path) -> Iterator[Utterance]:
    """The utterances of a folder, by the order of their paths: audio, .mfc or .npy files, at any depth.

    The words of NAME.wav stand in NAME.txt beside it, or in a file NAMES.trans.txt beside it, as a line `NAME words`.
    Its speaker is the folder that it lies in.

    Raises:
        FormatError: a file without a transcription, a transcription without words' file, or no file at all.
    """
    if not folder.is_dir():
        raise FormatError(f"{folder} does not exist, or is no folder")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if not paths:
        raise FormatError(f"{folder} holds no file that ends in {', '.join(ENDINGS)}")
    listed: dict[Path, tuple[str, list[str]]] = {}
    for file in sorted(folder.rglob(TRANSCRIPTIONS)):
        for number, line in enumerate(read_lines(file), 1):
            name, *words = line.split() or [""]
            if name:
                listed[file.parent / name] = f"{file}, line {number}", words
    for path in paths:
        beside = path.with_suffix(TRANSCRIPTION)
        if path.with_suffix("") in listed:
            where, words = listed[path.with_suffix("")]
        elif beside.is_file():
            where, words = str(beside), [word for line in read_lines(beside) for word in line.split()]
        else:
            raise FormatError(
                f"{path} has no transcription: neither {beside.name} nor {TRANSCRIPTIONS} beside it names it"
            )
        yield Utterance(path, words, path.parent.name, where)


def valid_speakers(utterances: Iterable[Utterance], share: float) -> list[str]:
    """Speakers whose utterances are at least this share of all, chosen by a hash of their names; one is left.

    Raises:
        FormatError: there is one speaker only.
    """
    count: dict[str, int] = {}
    for utterance in utterances:
        count[utterance.speaker] = count.get(utterance.speaker, 0) + 1
    if len(count) < 2:
        raise FormatError(f"speakers cannot be split off for validation: there is only {', '.join(count)}")
    chosen: list[str] = []
    for speaker in sorted(count, key=lambda name: hashlib.sha1(name.encode()).hexdigest())[:-1]:
        if sum(count[name] for name in chosen) >= share * sum(count.values()):
            break
        chosen.append(speaker)
    return sorted(chosen)
