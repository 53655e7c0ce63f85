"""How the programs of this project end."""

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn


def run_program(main: Callable[[], int]) -> NoReturn:
    """Exit with the status that `main` returns; without a word where the reader of the output has gone, as `head` does.

    The status is then that of a program that SIGPIPE ended, as with the tools of the system. The signal itself stays
    ignored: it would end a download too, and leave behind what was begun.
    """
    status: str | int | None
    try:
        try:
            status = main()
        except SystemExit as end:  # argparse, after --help for instance
            status = end.code
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be written at the exit
        status = 128 + signal.SIGPIPE
    sys.exit(status)
