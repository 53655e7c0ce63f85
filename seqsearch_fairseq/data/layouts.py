"""How corpora of tagged words are laid out: who reads a file, and which columns hold the words and the labels."""

import argparse
import codecs
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from seqsearch_fairseq.data.ccgbank import read_auto, read_pipes
from seqsearch_fairseq.data.columns import Sentence, read_columns


class Layout(NamedTuple):
    read: Callable[[Iterable[str], str], Iterator[Sentence]]  # from a file's lines and its name
    word: int  # column of the words
    label: int  # column of the labels; -1 is the last one
    line_a_token: bool  # otherwise a sentence is a line
    about: str


LAYOUTS = {
    "columns": Layout(read_columns, 0, -1, True, "word first, label last (CoNLL-2000, CoNLL-2002, CoNLL-2003, .tsv)"),
    "germeval2014": Layout(
        partial(read_columns, comments=True), 1, 2, True, "number, word, outer label, inner label; # begins a comment"
    ),
    "germeval2014-inner": Layout(partial(read_columns, comments=True), 1, 3, True, "the same, its inner labels"),
    "auto": Layout(read_auto, 0, 2, False, "derivations of CCGbank"),
    "pipes": Layout(read_pipes, 0, 2, False, "word|POS|supertag, a sentence a line"),
}


def add_layout_options(parser) -> None:
    """The options that say how a corpus is laid out."""
    about = "; ".join(f"{name}: {layout.about}" for name, layout in LAYOUTS.items())
    parser.add_argument("--layout", choices=list(LAYOUTS), default="columns", help=f"{about} (default: %(default)s)")
    parser.add_argument(
        "--encoding", type=_encoding, default="utf-8", help="iso-8859-1 for CoNLL-2002 and 2003 (default: %(default)s)"
    )
    parser.add_argument("--word-column", type=int, metavar="N", help="of the words, from 0, if not the layout's")
    parser.add_argument("--label-column", type=int, metavar="N", help="of the labels, likewise; -1 is the last")


def resolve_columns(args: argparse.Namespace) -> None:
    """Where the options name no column, take the layout's."""
    layout = LAYOUTS[args.layout]
    args.word_column = layout.word if args.word_column is None else args.word_column
    args.label_column = layout.label if args.label_column is None else args.label_column


def _encoding(name: str) -> str:
    try:
        fits = "a\n".encode(name) == b"a\n"  # lines are told apart before they are decoded
        if not fits:
            raise argparse.ArgumentTypeError(f"must write a line's end as one byte, which {name} does not")
    except LookupError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return codecs.lookup(name).name
