"""Scoring of files: what fairseq-generate writes, and plain files with a sentence a line."""

import itertools
from collections.abc import Iterator
from pathlib import Path

from fairseq.scoring import BaseScorer, build_scorer

from seqsearch_fairseq.data.files import FormatError, read_lines
from seqsearch_fairseq.errors import UsageError


def score_files(scoring: str, reference: Path, system: Path) -> BaseScorer:
    """A scorer that holds both files, line by line.

    Raises:
        FormatError: one has fewer lines than the other, both are empty, or a line breaks the scorer's rule.
    """
    scorer = build_scorer(scoring, None)
    pairs = itertools.zip_longest(read_lines(reference), read_lines(system))
    for number, (gold, predicted) in enumerate(pairs, 1):
        if gold is None or predicted is None:
            shorter = reference if gold is None else system
            raise FormatError(f"{shorter} has {number - 1} lines and the other file more; they must be parallel")
        try:
            scorer.add_string(gold, predicted)
        except UsageError as error:
            raise FormatError(f"{system}, line {number}: {error}") from error
    if not scorer.ref:
        raise FormatError(f"{reference} holds no line")
    return scorer


def read_hypotheses(path: Path) -> dict[int, list[str]]:
    """The best hypothesis of each sentence that fairseq-generate wrote: from its number in the data, from 0, to tokens.

    Raises:
        FormatError: a line `H-...` of another form, or none at all.
    """
    found: dict[int, list[str]] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.startswith("H-"):
            continue
        head, *rest = line[2:].split("\t")
        if not head.isdecimal() or len(rest) != 2:
            raise FormatError(f"{path}, line {number}: must be H-NUMBER, score and tokens, got {line[:60]!r}")
        found.setdefault(int(head), rest[1].split())
    if not found:
        raise FormatError(f"{path} holds no line H-..., which fairseq-generate writes for each sentence")
    return found


def in_order(hypotheses: dict[int, list[str]], path: Path) -> Iterator[list[str]]:
    """Those of sentences 0, 1, 2, ...

    Raises:
        FormatError: one is missing between others.
    """
    for number in range(len(hypotheses)):
        if number not in hypotheses:
            raise FormatError(f"{path}: sentence {number} is missing, and there are {len(hypotheses)} in all")
        yield hypotheses[number]
