"""What the preparing scripts share: their output folder, which is replaced as a whole, and their limits."""

import argparse
from pathlib import Path

from seqsearch_fairseq.data.columns import FormatError


def check_output(output: Path, *inputs: Path) -> None:
    """Refuse an output folder that holds an input, because it would be replaced.

    Raises:
        FormatError: `output` is one of `inputs`, or a folder that one of them lies in.
    """
    for path in inputs:
        if output.resolve() in (path.resolve(), *path.resolve().parents):
            raise FormatError(f"the output folder {output} would be replaced, and holds the input {path}")


def at_least_one(text: str) -> int:
    """A number of things, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number
