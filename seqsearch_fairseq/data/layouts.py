"""How corpora of tagged words are laid out: who reads a file, and which columns hold the words and the labels."""

import argparse
import codecs
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from seqsearch_fairseq.data.ccgbank import read_auto, read_pipes
from seqsearch_fairseq.data.columns import Column, Sentence, pick, read_columns, values
from seqsearch_fairseq.data.conllu import COLUMNS, predicted_in_misc, read_conllu
from seqsearch_fairseq.data.encodings import AUTO
from seqsearch_fairseq.data.files import FormatError
from seqsearch_fairseq.data.jsonl import label_key, label_names, named, read_jsonl, with_predicted
from seqsearch_fairseq.data.rewriting import Rewrite, append_column

COUNTED = 3  # words 1, 2, 3 at a file's beginning are taken for numbers of tokens


class Layout(NamedTuple):
    read: Callable[[Iterable[str], str], Iterator[Sentence]]  # from a file's lines and its name
    word: Column  # column of the words
    label: Column | None  # column of the labels; -1 is the last one; None: it is found by its key
    rewrite: (
        Rewrite | None
    )  # puts predicted labels into a line of the file; None: there is no place, it becomes columns
    about: str
    names: tuple[str, ...] = ()  # of the columns, where they have names


read_commented = partial(read_columns, comments=True)
LAYOUTS = {
    "columns": Layout(
        read_columns, 0, -1, append_column, "word first, label last (CoNLL-2000, CoNLL-2002, CoNLL-2003, .tsv)"
    ),
    "conllu": Layout(
        read_conllu, 1, 3, predicted_in_misc, "CoNLL-U; the label is UPOS, or --label-column XPOS, DEPREL, ...", COLUMNS
    ),
    "jsonl": Layout(
        read_jsonl,
        "tokens",
        None,
        with_predicted,
        "a JSON object a line with tokens, and tags, ner_tags, pos_tags or the like",
    ),
    "germeval2014": Layout(
        read_commented, 1, 2, append_column, "number, word, outer label, inner label; # begins a comment"
    ),
    "germeval2014-inner": Layout(read_commented, 1, 3, append_column, "the same, its inner labels"),
    "auto": Layout(read_auto, 0, 2, None, "derivations of CCGbank"),
    "pipes": Layout(read_pipes, 0, 2, None, "word|POS|supertag, a sentence a line"),
}


class Reading:
    """How the options say that a corpus is to be read: its sentences, and their words, labels and factors.

    Args:
        args: what `add_layout_options` added, after `resolve_columns`.
    """

    def __init__(self, args: argparse.Namespace):
        self.layout = LAYOUTS[args.layout]
        self.word, self.label = args.word_column, args.label_column
        self.names: list[str] | None = args.label_names
        self.may_be_numbers = args.layout == "columns" and not args.word_column_is_given

    def sentences(self, lines: Iterable[str], name: str) -> Iterator[Sentence]:
        return self.layout.read(lines, name)

    def words(self, sentence: Sentence, name: str) -> list[str]:
        """The words of a sentence.

        Raises:
            FormatError: there is no such column, or it holds the numbers of the tokens.
        """
        words = pick(sentence, self.word, name)
        if self.may_be_numbers and len(words) >= COUNTED:
            self.may_be_numbers = False
            if words == [str(number) for number in range(1, len(words) + 1)]:
                raise FormatError(
                    f"{sentence.where(name, 0)}: column 0 numbers the tokens; --word-column names that of the words "
                    "(--word-column 0 takes the numbers), or --layout another layout"
                )
        return words

    def labels(self, sentence: Sentence, name: str) -> list[str]:
        """The labels of a sentence.

        Raises:
            FormatError: there is no such column, or it is that of the words; or ids without names.
        """
        if self.label is None:
            self.label = label_key(sentence, self.word, name)
        width = len(sentence.rows[0])
        if isinstance(self.label, str):
            same = self.label == self.word
        else:
            same = self.label % width == self.word % width if -width <= self.label < width else False
        if same:
            raise FormatError(f"{sentence.where(name, 0)}: {_one_column(self.label, self.word, width)}")
        if isinstance(self.label, str):
            ids = named(values(sentence, self.label, name), self.names, sentence.where(name, 0))
            return ["_".join(label.split()) or "_" for label in ids]
        return pick(sentence, self.label, name)


def _one_column(label: Column, word: Column, width: int) -> str:
    if width == 1:
        return "there is one column, and a word and its label must be two, separated by a tab or spaces"
    return (
        f"the labels must be in another column than the words, got --label-column {label} and --word-column {word} of "
        f"{width} columns"
    )


def add_layout_options(parser) -> None:
    """The options that say how a corpus is laid out."""
    about = "; ".join(f"{name}: {layout.about}" for name, layout in LAYOUTS.items())
    parser.add_argument("--layout", choices=list(LAYOUTS), default="columns", help=f"{about} (default: %(default)s)")
    parser.add_argument(
        "--encoding",
        type=encoding,
        default=AUTO,
        help="of the files; auto: UTF-8 where a file is UTF-8 as a whole, else Latin-1, and then it is said "
        "(default: %(default)s)",
    )
    add_column = partial(parser.add_argument, type=column, metavar="N")
    add_column("--word-column", help="of the words, from 0, if not the layout's; a name in conllu, a key in jsonl")
    add_column("--label-column", help="of the labels, counted or named in the same way; -1 is the last")
    parser.add_argument(
        "--label-names",
        metavar="NAMES",
        help="of label ids in jsonl, from 0: O,B-X,I-X or a file with a name a line, or with a JSON list",
    )


def column(text: str) -> Column:
    """A column's number, or its name."""
    return int(text) if text.removeprefix("-").isdecimal() else text


def resolve_columns(args: argparse.Namespace) -> None:
    """Where the options name no column, take the layout's; where they have a name for one, take its number.

    Raises:
        FormatError: the layout has no such column, or no ids.
    """
    layout = LAYOUTS[args.layout]
    args.word_column_is_given = args.word_column is not None
    for name in ("word", "label"):
        given = getattr(args, f"{name}_column")
        found = getattr(layout, name) if given is None else _resolved(given, args.layout, f"--{name}-column")
        setattr(args, f"{name}_column", found)
    if hasattr(args, "factor"):
        args.factor = [(name, _resolved(given, args.layout, f"--factor {name}")) for name, given in args.factor]
    if args.label_names is not None:
        if args.layout != "jsonl":
            raise FormatError(f"--label-names is for the ids of --layout jsonl, got --layout {args.layout}")
        args.label_names = label_names(args.label_names)


def _resolved(given: Column, layout: str, flag: str) -> Column:
    if layout == "jsonl":
        return str(given)
    if isinstance(given, int):
        return given
    names = LAYOUTS[layout].names
    if given.upper() not in names:
        of_it = (
            f"a number, or one of {', '.join(names)}" if names else f"a number, as {layout} has no names for columns"
        )
        raise FormatError(f"{flag} must be {of_it}, got {given!r}")
    return names.index(given.upper())


def encoding(name: str) -> str:
    """The value of --encoding, for argparse."""
    if name == AUTO:
        return AUTO
    try:
        fits = "a\n".encode(name) == b"a\n"  # lines are told apart before they are decoded
        if not fits:
            raise argparse.ArgumentTypeError(f"must write a line's end as one byte, which {name} does not")
    except LookupError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return codecs.lookup(name).name
