"""Mistakes of the user: an exception that is shown as one sentence, without a stack trace."""

import sys


class UsageError(ValueError):
    """What the user asked for cannot be done. The message gives the name, the rule and the value."""


def install_excepthook() -> None:
    """Let an uncaught `UsageError` end the program with its message and exit status 1; leave all else as it is."""
    previous = sys.excepthook

    def hook(kind, value, traceback):
        if kind is Exception and isinstance(value.__context__, UsageError):
            value = value.__context__  # fairseq's trainer wraps what goes wrong when it loads a checkpoint
        if isinstance(value, UsageError):
            print(f"error: {value}", file=sys.stderr)
        else:
            previous(kind, value, traceback)

    sys.excepthook = hook
