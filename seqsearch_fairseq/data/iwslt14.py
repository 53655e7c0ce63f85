"""IWSLT'14 German-English: the official archive, and what the usual recipe makes of its text.

The recipe is that of MIXER (Ranzato et al. 2016), which fairseq's example follows with longer sentences: the lines of a
talk, its title and its description are the training text; it is tokenised as Moses does, pairs that are too long or
too unlike in length are left out, and it is lower-cased; every 23rd pair of the rest is for validation. The test set is
five official sets, one after the other, whole.
"""

import functools
import hashlib
import re
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from seqsearch_fairseq.data.files import FormatError, opened, read_lines
from seqsearch_fairseq.data.parallel import Line, find_pair, plain_lines
from seqsearch_fairseq.data.preparation import escaped

LANGUAGES = ("de", "en")
TRAIN = "train.tags.de-en"
TESTS = tuple(
    f"IWSLT14.{name}.de-en" for name in ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
)
MEMBERS = tuple(
    f"{name}.{language}{suffix}"
    for name, suffix in ((TRAIN, ""), *((name, ".xml") for name in TESTS))
    for language in LANGUAGES
)

# Plain files by split: any of these names.
PLAIN = {"train": ("train", "train_sample"), "valid": ("valid", "val", "dev"), "test": ("test",)}

# Lines about a talk, which are no text; and the tags around a text that is.
ABOUT = re.compile(r"\s*</?(?:url|keywords|talkid|speaker|reviewer|translator|doc)\b")
TAG = re.compile(r"</?(?:title|description)>")
SEGMENT = re.compile(r"<seg\b[^>]*>(.*?)</seg>")

MIXER_LENGTH, FAIRSEQ_LENGTH = 50, 175  # tokens
MAX_RATIO, VALID_EVERY = 1.5, 23
# Sentence pairs that the recipe is known to give, by maximum length; for MIXER's training set there is no sure number.
DOCUMENTED = {
    MIXER_LENGTH: {"valid": 6969, "test": 6750},
    FAIRSEQ_LENGTH: {"train": 160239, "valid": 7283, "test": 6750},
}


# -------------------------------------------------------------------------------------------------------- the files


class Part(NamedTuple):
    """Two files, and how they are read."""

    paths: tuple[Path, Path]  # source, target
    read: Callable[[Path], Iterator[Line]]


class Corpus(NamedTuple):
    train: list[Part]
    valid: list[Part]  # none: every n-th training pair is for validation
    test: list[Part]
    notes: list[str]  # what is not as one would expect

    @property
    def official(self) -> bool:
        return not self.valid


def find_corpus(folder: Path) -> Corpus:
    """The corpus in a folder: as in the archive, or plain files {train,valid,test}.{de,en}.

    Raises:
        FormatError: the folder does not exist or a file is missing.
    """
    if not folder.is_dir():
        raise FormatError(f"the folder {folder} does not exist")
    for root in (folder, folder / "de-en"):
        if any((root / name).is_file() for name in MEMBERS):
            return _official(root)
    pairs = {split: find_pair(folder, names, LANGUAGES) for split, names in PLAIN.items()}
    found = {split: pair for split, pair in pairs.items() if pair is not None}
    for split in ("train", "valid"):
        if split not in found:
            raise FormatError(f"{folder} must hold {split}.de and {split}.en, or {MEMBERS[0]} and what goes with it")
    notes = []
    if found["train"][0].name.startswith("train_sample"):
        notes.append("there is no train split: train is train_sample, a part of it")
    if "test" not in found:
        notes.append("there is no test split: test is valid")
        found["test"] = found["valid"]
    train, valid, test = ([Part(found[split], plain_lines)] for split in ("train", "valid", "test"))
    return Corpus(train, valid, test, notes)


def _official(root: Path) -> Corpus:
    for name in MEMBERS:
        if not (root / name).is_file():
            raise FormatError(f"{root} has no file {name}")
    train, *tests = ((root / first, root / second) for first, second in zip(MEMBERS[::2], MEMBERS[1::2], strict=True))
    return Corpus([Part(train, tagged_lines)], [], [Part(paths, segments) for paths in tests], [])


def unpack(archive: Path, folder: Path) -> None:
    """Write the files that count of the archive to `folder`. The archive is read to its end, where its checksum is.

    Raises:
        FormatError: the archive is cut short or broken, or lacks a file.
    """
    with opened(archive) as inner:
        try:
            with tarfile.open(fileobj=inner, mode="r|") as members:
                for member in members:
                    name = Path(member.name).name
                    if member.isfile() and name in MEMBERS:
                        with (folder / name).open("wb") as out:
                            content = members.extractfile(member)
                            assert content is not None  # a file has one
                            shutil.copyfileobj(content, out)
        except tarfile.TarError as error:
            raise FormatError(f"{archive} is cut short or broken: {error}") from error
        while inner.read(1 << 16):
            pass
    for name in MEMBERS:
        if not (folder / name).is_file():
            raise FormatError(f"{archive} has no file de-en/{name}")


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tagged_lines(path: Path) -> Iterator[Line]:
    """The sentences of a training file: no lines about a talk, and its title and description without their tags."""
    for number, text in enumerate(read_lines(path), 1):
        if not ABOUT.match(text):
            yield Line(number, TAG.sub("", text))


def segments(path: Path) -> Iterator[Line]:
    """The sentences of a test file: what <seg> encloses, curly apostrophes written as straight ones, as in training."""
    for number, text in enumerate(read_lines(path), 1):
        found = SEGMENT.findall(text)
        if len(found) != text.count("<seg") or len(found) != text.count("</seg>"):
            raise FormatError(f"{path}, line {number}: each <seg> must end with </seg> on its line; got {text!r}")
        yield from (Line(number, segment.replace("\u2019", "'")) for segment in found)


# --------------------------------------------------------------------------------------------------------- the text


@functools.cache
def _moses(language: str):
    from sacremoses import MosesTokenizer  # here: it takes half a second, which --help should not

    return MosesTokenizer(lang=language)


def tokenise(text: str, language: str) -> str:
    """Moses tokens, lower-cased, single spaces between; & < > | ' \" [ ] are written as &amp; and so on."""
    return words(_moses(language).tokenize(text, return_str=True))


def words(text: str) -> str:
    """The same of text that is tokenised already."""
    return " ".join(map(escaped, text.lower().split()))


def fault(source: str, target: str, max_length: int, max_ratio: float) -> str | None:
    """Why a pair of tokenised sentences is left out of training; None if it is not."""
    short, long = sorted((len(source.split()), len(target.split())))
    if short == 0:
        return "pairs with an empty side left out"
    if long > max_length:
        return f"pairs of more than {max_length} tokens left out"
    if long / short > max_ratio:
        return f"pairs of a length ratio above {max_ratio:g} left out"
    return None


def most_frequent(sentences: Iterable[str], size: int) -> set[str]:
    """The words that occur most often; of equally frequent ones, those that come first."""
    counts = Counter(word for sentence in sentences for word in sentence.split())
    return {word for word, _ in counts.most_common(size)}


def undocumented(counts: dict[str, int], max_length: int) -> list[str]:
    """What differs from the numbers that are known of the recipe, a sentence each."""
    return [
        f"{counts[split]} sentence pairs for {split}, the recipe is known to give {number}"
        for split, number in DOCUMENTED.get(max_length, {}).items()
        if counts[split] != number
    ]
