"""What the preparing scripts share: their output folder, which is written as a whole, and what may be done to words."""

import argparse
import errno
import os
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from seqsearch_fairseq.data.files import FormatError
from seqsearch_fairseq.errors import UsageError

NUMBER, UNKNOWN = "<num>", "<unk>"
SYMBOLS = ("<s>", "<pad>", "</s>")  # fairseq's own: as a word of the text they would end or shorten a sentence
DIGITS = re.compile(r"\d+(?:[.,:/-]\d+)*")


# --------------------------------------------------------------------------------------------------------- the output


@contextmanager
def replaced(output: Path, *inputs: Path, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write to, which becomes `output` when all went well, and is gone when not.

    Args:
        output: the folder, or a link to it.
        inputs: files or folders that are read.
        overwrite: whether `output` may exist and hold something, which is then lost.

    Raises:
        FormatError: `output` is there already, or is one of `inputs`, or a folder that one of them lies in.
    """
    named, output = output, output.resolve()
    for path in inputs:
        if output in (path.resolve(), *path.resolve().parents):
            raise FormatError(f"the output folder {named} would be replaced, and holds the input {path}")
    if output.exists() and not output.is_dir():
        raise FormatError(f"the output folder {named} is a file")
    if not overwrite and output.is_dir() and any(output.iterdir()):
        raise FormatError(f"the output folder {named} exists already: remove it, or say --overwrite to replace it")
    made = [parent for parent in output.parents if not parent.exists()]
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except PermissionError as error:
        raise FormatError(f"the output folder {named} cannot be written: no permission in {output.parent}") from error
    temporary.chmod(0o755)
    try:
        yield temporary
        _put_in_place(temporary, output)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):
            for parent in made:
                parent.rmdir()
        raise


@contextmanager
def replaced_file(output: Path) -> Iterator[BinaryIO]:
    """A file to write to, which becomes `output` when all went well, and is gone when not.

    A device or a pipe is written to as it is.
    """
    if output.exists() and not output.is_file():
        with output.open("wb") as out:
            yield out
        return
    if not output.parent.is_dir():
        raise FormatError(f"{output} cannot be written: there is no folder {output.parent}")
    output = output.resolve()  # what a link names is replaced, and not the link
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as out:
            yield out
        os.replace(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)


def _put_in_place(temporary: Path, output: Path) -> None:
    """Rename; what `output` was before is removed last, and comes back if it cannot be replaced."""
    aside = temporary.with_name(temporary.name + ".old")
    if output.exists():
        os.replace(output, aside)
    try:
        os.replace(temporary, output)
    except OSError:
        if aside.exists():
            os.replace(aside, output)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def run(work: Callable[[], Iterable[str]], stopped: str = "nothing was written") -> int:
    """Print what `work` returns, line by line, or its error as one; return the exit status.

    An unfinished output is also removed when the process is interrupted or told to end.

    Args:
        stopped: what is to be said of the output then.
    """
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        for line in work():
            print(line)
    except BrokenPipeError:
        raise  # to `run_program`: nothing went wrong
    except (UsageError, OSError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        print(f"error: {error}{f'; {stopped}' if full else ''}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"interrupted; {stopped}", file=sys.stderr)
        return 128 + signal.SIGINT
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


# -------------------------------------------------------------------------------------------------------- the options


def add_output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output_dir", metavar="OUTPUT_DIR", type=Path, help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace OUTPUT_DIR as a whole if it exists")
    parser.add_argument(
        "--limit", type=at_least_one, metavar="N", help="use only the first N of each split (for a trial run)"
    )


def parsed(parser: argparse.ArgumentParser, options: Mapping[str, Callable[[str], bool]]) -> argparse.Namespace:
    """The command line, some of whose options may have several values: see `spread`."""
    args, others = parser.parse_known_args(spread(sys.argv[1:], options))
    if others:
        several = f"{', '.join(options)} may have several values, but all after the first must exist"
        parser.error(f"unrecognized arguments: {' '.join(others)} ({several})")
    return args


def spread(arguments: Sequence[str], options: Mapping[str, Callable[[str], bool]]) -> list[str]:
    """A command line whose options have one value each: `--train a b OUT` as `--train a --train b OUT`.

    argparse would give an option with several values all that follow it, the positional arguments too.

    Args:
        arguments: the command line, without the program's name.
        options: the options that may have several values, each with what tells whether a value after its first one is
            its own; the others are positional.
    """
    found: list[str] = []
    option, had = "", 0  # the last option, and how many values it has had
    for place, argument in enumerate(arguments):
        if argument == "--":
            return [*found, *arguments[place:]]
        if argument.startswith("-") and argument != "-":
            option, equals, _ = argument.partition("=")
            had = len(equals)
        elif option in options:
            if had and options[option](argument):
                found.append(option)
            elif had:
                option = ""
            had += 1
        found.append(argument)
    return found


def is_input(text: str) -> bool:
    """Whether this names something that can be read, and no folder."""
    path = Path(text)
    return path.exists() and not path.is_dir()


def escaped(token: str) -> str:
    """The token, changed where fairseq would take it for a symbol of its own."""
    return f"{token}_" if token in SYMBOLS else token


def add_word_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lowercase", action="store_true", help="lower-case the words")
    parser.add_argument("--digits", action="store_true", help=f"write {NUMBER} for numbers: 7, 1,500.5, 12:30, 3/4")
    parser.add_argument(
        "--min-count",
        type=at_least_one,
        default=1,
        metavar="N",
        help=f"write {UNKNOWN} for words that the training split holds fewer times",
    )
    parser.add_argument(
        "--max-length", type=at_least_one, metavar="N", help="leave out training sentences of more words"
    )


def at_least_one(text: str) -> int:
    """A number of things, for argparse."""
    return at_least(1)(text)


def at_least(least: int) -> Callable[[str], int]:
    """A whole number that is not smaller than `least`, for argparse."""

    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        return int(text)

    return number


class Words:
    """What the options of `add_word_options` do to words."""

    def __init__(self, args: argparse.Namespace):
        self.lowercase, self.digits, self.min_count = args.lowercase, args.digits, args.min_count
        self.known: set[str] | None = None  # None is all
        self.unknown = 0  # words so far that became UNKNOWN

    def __call__(self, words: Iterable[str]) -> list[str]:
        """The words as they are to be written."""
        words = self.plain(words)
        if self.known is None:
            return words
        written = [word if word in self.known else UNKNOWN for word in words]
        self.unknown += sum(word not in self.known for word in words)
        return written

    def plain(self, words: Iterable[str]) -> list[str]:
        """The words with case and digits changed, and rare ones left."""
        words = list(words)
        if self.lowercase:
            words = [word.lower() for word in words]
        if self.digits:
            words = [NUMBER if word[-1:].isdigit() and DIGITS.fullmatch(word) else word for word in words]
        return words

    def learn(self, sentences: Callable[[], Iterable[Iterable[str]]]) -> None:
        """Look at the training sentences for what is rare, if that matters."""
        if self.min_count > 1:
            counts = Counter(word for sentence in sentences() for word in self.plain(sentence))
            self.known = {word for word, count in counts.items() if count >= self.min_count}


def shortened(names: Iterable[str], most: int = 5, length: int = 20) -> str:
    """The first of these names, in order; what is left out is shown as `...`."""
    names = sorted(names)
    shown = [name if len(name) <= length else f"{name[:length]}..." for name in names[:most]]
    return ", ".join(shown + ["..."] * (len(names) > most))


class Summary:
    """What became of a split: counted, and why something was left out."""

    def __init__(self, name: str, sentences: str = "sentences", tokens: str = "tokens", count_labels: bool = False):
        self.name, self.units, self.count_labels = name, (sentences, tokens), count_labels
        self.sentences = self.tokens = 0
        self.labels: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()  # what else there is to say, and how often it was so

    def add(self, tokens: Sequence[str]) -> None:
        """Count one sentence with these labels, or other tokens."""
        self.sentences, self.tokens = self.sentences + 1, self.tokens + len(tokens)
        if self.count_labels:
            self.labels.update(tokens)

    def __str__(self) -> str:
        parts = [f"{self.sentences} {self.units[0]}", f"{self.tokens} {self.units[1]}"]
        if self.count_labels:
            parts.append(f"{len(self.labels)} labels")
        parts += [f"{count} {note}" for note, count in self.notes.items() if count]
        return f"{self.name}: {', '.join(parts)}"
