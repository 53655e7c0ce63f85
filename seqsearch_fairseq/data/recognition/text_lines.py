"""Short lines of plain words, cut from a text with a sentence a line, for the splits of a made corpus.

A line is a piece of a sentence: words that follow each other there, so its bigrams are real. Its words are of a-z, in
lower case, and of the lexicon; any other token ends it. Sentences are of one split each.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqsearch_fairseq.data.files import FormatError, read_lines

WORD = re.compile(r"[a-z]+")
SPLITS = ("train", "valid", "test")

Line = list[str]


class Lengths(NamedTuple):
    """Words of a line."""

    least: int
    most: int


class TextLines(NamedTuple):
    lexicon: list[str]  # in alphabetical order
    of_split: dict[str, list[Line]]
    training_text: list[Line]  # all lines of the training sentences, for a language model


def text_lines(
    path: Path, counts: dict[str, int], lexicon_size: int, lengths: Lengths, draws: np.random.Generator
) -> TextLines:
    """Lines for each split.

    As many sentences as lines are wanted are held out for test and validation, chosen at random among those that have a
    line at all. The lexicon is the most frequent words of the others.

    Args:
        path: the text.
        counts: of each split, how many lines.

    Raises:
        FormatError: the text has not as many lines.
    """
    sentences = [sentence for sentence in map(words_of, read_lines(path)) if sentence]
    order = draws.permutation([i for i, one in enumerate(sentences) if has_line(one, lengths)])
    needed = counts["test"] + counts["valid"] + 1
    if len(order) < needed:
        raise FormatError(
            f"{path} must have at least {needed} sentences with {lengths.least} words of a-z in a row, as test and "
            f"validation take {needed - 1} for themselves, got {len(order)}"
        )
    held_out, begin = dict[str, np.ndarray](), 0
    for split in ("test", "valid"):
        held_out[split] = order[begin : begin + counts[split]]
        begin += counts[split]
    others = np.delete(np.arange(len(sentences)), order[:begin])
    words = Counter(word for i in others for word in sentences[i] if word is not None)
    lexicon = sorted(words, key=lambda word: (-words[word], word))[:lexicon_size]
    known = set(lexicon)

    def cut(chosen: Iterable[int]) -> list[Line]:
        return [line for i in chosen for run in runs(sentences[i], known) for line in lines_of(run, lengths, draws)]

    held_out["train"] = draws.permutation(others)
    found = {split: cut(chosen) for split, chosen in held_out.items()}
    for split, lines in found.items():
        if len(lines) < counts[split]:
            raise FormatError(
                f"{path} has {len(lines)} lines of {lengths.least} to {lengths.most} words of a-z in the lexicon for "
                f"the {split} split, and {counts[split]} are wanted"
            )
    return TextLines(sorted(known), {split: found[split][: counts[split]] for split in SPLITS}, found["train"])


def words_of(text: str) -> list[str | None]:
    """The words of a sentence in lower case; None for a token that is no word of a-z."""
    return [token if WORD.fullmatch(token) else None for token in text.lower().split()]


def has_line(sentence: Sequence[str | None], lengths: Lengths) -> bool:
    return any(len(run) >= lengths.least for run in runs(sentence))


def runs(sentence: Sequence[str | None], known: set[str] | None = None) -> Iterator[Line]:
    """The longest sequences of words that follow each other in a sentence; only of words in `known`, if it is given."""
    run: Line = []
    for word in (*sentence, None):
        if word is not None and (known is None or word in known):
            run.append(word)
        elif run:
            yield run
            run = []


def lines_of(run: Line, lengths: Lengths, draws: np.random.Generator) -> Iterator[Line]:
    """A run cut into lines of random lengths; words that are left at its end, too few for a line, are left out."""
    begin = 0
    while len(run) - begin >= lengths.least:
        end = begin + int(draws.integers(lengths.least, lengths.most + 1))
        yield run[begin:end]
        begin = end
