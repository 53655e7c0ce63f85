"""What the preparing scripts share: their output folder, which is replaced as a whole, and their limits."""

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqsearch_fairseq.data.columns import FormatError


@contextmanager
def replaced(output: Path, *inputs: Path) -> Iterator[Path]:
    """A folder to write to, which takes the place of `output` when all went well, and is gone when not.

    Args:
        output: the folder; what it holds is lost.
        inputs: files or folders that are read.

    Raises:
        FormatError: `output` is one of `inputs`, or a folder that one of them lies in.
    """
    for path in inputs:
        if output.resolve() in (path.resolve(), *path.resolve().parents):
            raise FormatError(f"the output folder {output} would be replaced, and holds the input {path}")
    temporary = output.with_name(output.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(output, ignore_errors=True)
        os.replace(temporary, output)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def at_least_one(text: str) -> int:
    """A number of things, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number
