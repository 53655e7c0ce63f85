"""Scoring of plain files with a sentence a line."""

import itertools
from pathlib import Path

from fairseq.scoring import BaseScorer, build_scorer

from seqsearch_fairseq.data.files import FormatError, read_lines
from seqsearch_fairseq.errors import UsageError


def score_files(scoring: str, reference: Path, system: Path) -> BaseScorer:
    """A scorer that has counted both files, line by line.

    Raises:
        FormatError: one has fewer lines than the other, both are empty, or a line breaks the scorer's rule.
    """
    scorer, number = build_scorer(scoring, None), 0
    pairs = itertools.zip_longest(read_lines(reference), read_lines(system))
    for number, (gold, predicted) in enumerate(pairs, 1):
        if gold is None or predicted is None:
            shorter = reference if gold is None else system
            raise FormatError(f"{shorter} has {number - 1} lines and the other file more; they must be parallel")
        try:
            scorer.add_string(gold, predicted)
        except UsageError as error:
            raise FormatError(f"{system}, line {number}: {error}") from error
    if number == 0:
        raise FormatError(f"{reference} holds no line")
    return scorer
