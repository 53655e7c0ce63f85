"""The record of what preparation did to the words: it goes with them to the data folder and into each checkpoint.

`scripts/prepare_tagging.py` writes `preparation.json` beside its texts, fairseq-preprocess carries it into the data
folder (with `--user-dir seqsearch_fairseq --task search_tagging`; otherwise the file is found from the folder's
preprocess.log), and a task that trains puts it into its checkpoints. Who tags with one of them does the same to words.
"""

import argparse
import ast
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from seqsearch_fairseq.data.preparation import Words, escaped
from seqsearch_fairseq.errors import UsageError

FILE = "preparation.json"
VERSION = 1
LOG = "preprocess.log"  # of fairseq-preprocess, in its --destdir
TEXT = r"('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"  # as Python writes a string


@dataclass(frozen=True)
class Preparation:
    """What was done to words, and where they, their labels and factors came from."""

    lowercase: bool = False
    digits: bool = False
    words: str = "words"  # names of the files: train.words, train.labels
    labels: str = "labels"
    layout: str = "columns"
    word_column: int | str = 0  # a number, or a key in JSON lines
    scheme: str | None = None  # of the labels; None where they are not of chunks
    factors: dict[str, int | str] = field(default_factory=dict)  # name -> column
    version: int = VERSION

    def __call__(self, words: Iterable[str]) -> list[str]:
        """The words as the training text has them; rare ones are left to the dictionary."""
        options = argparse.Namespace(lowercase=self.lowercase, digits=self.digits, min_count=1)
        return Words(options).plain(map(escaped, words))

    def as_dict(self) -> dict:
        """Plain values, for a checkpoint or a file."""
        return asdict(self)

    def save(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> Preparation | None:
    """The record in a folder; None if there is none.

    Raises:
        UsageError: the file is no such record, or of a later version.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} must be the record that prepare_tagging.py writes: {error}") from error
    return from_dict(values, str(path))


def from_dict(values: object, where: str) -> Preparation:
    """The record that `as_dict` made.

    Raises:
        UsageError: other names or kinds of values than a record has, or a later version.
    """
    if not isinstance(values, dict) or not isinstance(values.get("version"), int):
        raise UsageError(f"{where} must be a record of how words were prepared, with a version, got {values!r:.80}")
    if values["version"] > VERSION:
        raise UsageError(
            f"{where} is of version {values['version']}, and this seqsearch_fairseq reads versions up to {VERSION}"
        )
    known = {entry.name: entry for entry in fields(Preparation)}
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"{where} has an entry {name!r}, which a record of words does not have")
        if not _fits(name, value):
            raise UsageError(f"{where}: {name} must not be {value!r}")
    return Preparation(**values)


def _fits(name: str, value: object) -> bool:
    if name == "factors":
        return isinstance(value, dict) and all(isinstance(column, int | str) for column in value.values())
    if name == "word_column":
        return isinstance(value, int | str)
    if name == "scheme":
        return value is None or isinstance(value, str)
    return type(value) is type(getattr(Preparation(), name))


def of_texts(files: Iterable[str]) -> Preparation | None:
    """The record beside one of these texts that is of its words: TEXT/train.words with TEXT/preparation.json."""
    for file in map(Path, files):
        found = load(file.parent)
        if found is not None and file.name.endswith(f".{found.words}"):
            return found
    return None


def of_data(folder: Path, words: str) -> tuple[Preparation | None, str | None]:
    """The record of a data folder's words, and a sentence about a record that was found and not taken.

    It is in the folder, or beside the training text that the folder's preprocess.log names.

    Args:
        folder: what fairseq-preprocess wrote.
        words: name of the words' files, the source language.
    """
    found = load(folder)
    if found is None:
        text = _training_text(folder, words)
        found = None if text is None else load(text)
        if text is not None and found is not None and _is_newer(text / FILE, folder / LOG):
            return None, (
                f"{text} was prepared again after {folder} was made, so the checkpoints will not hold how its words "
                "were prepared; run fairseq-preprocess again"
            )
    return (found, None) if found is not None and found.words == words else (None, None)


def _training_text(folder: Path, words: str) -> Path | None:
    """The folder of the text that the data folder was made of, if its log tells and it is still there."""
    log = folder / LOG
    if not log.is_file():
        return None
    found = None
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            prefix, source, destination = (_entry(line, name) for name in ("trainpref", "source_lang", "destdir"))
            if prefix is not None and source == words:
                found = prefix, destination
    if found is None:
        return None
    given, whole = Path(found[1] or ".").parts, folder.resolve().parts
    base = Path()
    if given != whole and whole[len(whole) - len(given) :] == given:
        base = Path(*whole[: len(whole) - len(given)])  # where fairseq-preprocess was started
    return (base / found[0]).parent


def _entry(line: str, name: str) -> str | None:
    """A text of the options that fairseq-preprocess writes into its log: `Namespace(trainpref='text/train', ...)`."""
    match = re.search(rf"\b{name}={TEXT}", line)
    return ast.literal_eval(match[1]) if match else None


def _is_newer(file: Path, than: Path) -> bool:
    return file.stat().st_mtime > than.stat().st_mtime
