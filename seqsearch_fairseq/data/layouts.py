"""How corpora of tagged words are laid out: who reads a file, and which columns hold the words and the labels."""

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
