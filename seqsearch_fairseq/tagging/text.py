"""What `tag` reads and writes: sentences a line or in a corpus's layout, and their labels in one of four forms."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from seqsearch_fairseq.data.columns import Column, Sentence, is_document_mark, pick, values
from seqsearch_fairseq.data.files import FormatError, opened
from seqsearch_fairseq.data.layouts import Reading
from seqsearch_fairseq.data.preparation import replaced_file

LINES = "lines"  # the layout of plain text: a sentence a line
STANDARD_INPUT = "standard input"


class Source(NamedTuple):
    """How sentences are read."""

    reading: Reading | None  # of a corpus; None: of `LINES`
    tokenize: Callable[[str], list[str]]  # of `LINES`
    factors: dict[str, Column]  # name -> column

    def sentences(self, lines: Iterable[str], name: str) -> Iterator[Sentence]:
        """The sentences of a file, as a stream. An empty line of `LINES` is a sentence without words.

        Raises:
            FormatError: what the layout's reader refuses.
        """
        if self.reading is not None:
            yield from self.reading.sentences(lines, name)
            return
        for number, line in enumerate(lines, 1):
            words = self.tokenize(line)
            yield Sentence([number] * len(words), [[word] for word in words])

    def words(self, sentence: Sentence, name: str) -> list[str]:
        return pick(sentence, 0, name) if self.reading is None else self.reading.words(sentence, name)

    def tokens(self, sentence: Sentence) -> list[str]:
        """The words as they were read, white space and all."""
        return values(sentence, 0 if self.reading is None else self.reading.word, "")

    def is_mark(self, sentence: Sentence) -> bool:
        """Whether this is a corpus's mark of a document, and no sentence."""
        return self.reading is not None and is_document_mark(sentence)


@contextlib.contextmanager
def opened_input(path: Path | None) -> Iterator[tuple[BinaryIO, str]]:
    """The bytes of a file, or of standard input, and its name for messages."""
    if path is None or str(path) == "-":
        yield sys.stdin.buffer, STANDARD_INPUT
        return
    with opened(path) as raw:
        yield raw, str(path)


def moses(language: str) -> Callable[[str], list[str]]:
    """Moses's tokenizer, without its escapes (&amp;apos;)."""
    from sacremoses import MosesTokenizer

    tokenizer = MosesTokenizer(lang=language)
    return lambda line: tokenizer.tokenize(line, escape=False)


TOKENIZERS = {"none": lambda language: str.split, "moses": moses}


def as_columns(sentence: Sentence, labels: Sequence[str], source: Source) -> str:
    """A word and its label a line, and a blank line."""
    words = source.words(sentence, "")
    return "".join(f"{word}\t{label}\n" for word, label in zip(words, labels, strict=True)) + "\n"


def as_json(sentence: Sentence, labels: Sequence[str], source: Source) -> str:
    return json.dumps({"tokens": source.tokens(sentence), "labels": list(labels)}, ensure_ascii=False) + "\n"


def as_line(sentence: Sentence, labels: Sequence[str], source: Source) -> str:
    return " ".join(labels) + "\n"


APPEND = "append"
FORMS = {"columns": as_columns, "jsonl": as_json, "labels": as_line}
OUTPUTS = (*FORMS, APPEND)


@contextlib.contextmanager
def opened_output(path: Path | None, *inputs: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that is there when all went well, and not when not.

    Raises:
        FormatError: the file is one of `inputs`.
    """
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if path.is_file() and any(file is not None and file.resolve() == path.resolve() for file in inputs):
        raise FormatError(f"--out {path} would replace what is read")
    with replaced_file(path) as out:
        yield out
