"""Mistakes of the user: an exception that is shown as one sentence, without a stack trace."""

import sys

# Where fairseq checks flags and data: what it raises there, with a text, is addressed to the user.
CHECKS: tuple[str, ...] = ("fairseq_cli.", "fairseq.options", "fairseq.search", "fairseq.sequence_generator")
CHECKS += ("fairseq.tasks.", "fairseq.checkpoint_utils", "fairseq.data.data_utils")


class UsageError(ValueError):
    """What the user asked for cannot be done. The message gives the name, the rule and the value."""


def install_excepthook() -> None:
    """Let an uncaught mistake of the user end the program with one sentence and exit status 1; leave all else."""
    previous = sys.excepthook

    def hook(kind, value, traceback):
        text = sentence(value)
        if text is None:
            previous(kind, value, traceback)
        else:
            print(f"error: {text}", file=sys.stderr)

    sys.excepthook = hook


def sentence(error: BaseException) -> str | None:
    """What is to be shown of an exception instead of its stack trace; None if it is no mistake of the user."""
    from seqsearch_fairseq import checkpoints

    if type(error) is Exception and isinstance(error.__context__, UsageError):
        error = error.__context__  # fairseq's trainer wraps what goes wrong when it loads a checkpoint
    if isinstance(error, UsageError):
        return str(error)
    return _fairseqs_check(error) or checkpoints.explained(error) or _wrong_file(error)


def frames(error: BaseException):
    """The frames of the stack trace, from the outermost to the one that raised."""
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _wrong_file(error: BaseException) -> str | None:
    """Of a file or folder that a flag of fairseq names: which, and what the system says."""
    if not isinstance(error, OSError) or error.filename is None:
        return None
    places = [_place(frame) for frame in frames(error)]
    return f"{error.filename}: {error.strerror}" if any(place.startswith("fairseq_cli.") for place in places) else None


def _place(frame) -> str:
    """The module of a frame, that of a command too where it was started with `python -m`."""
    name = (frame.f_globals.get("__spec__") and frame.f_globals["__spec__"].name) or frame.f_globals.get("__name__", "")
    return f"{name}."


def _fairseqs_check(error: BaseException) -> str | None:
    """The text of a check that fairseq makes with `assert`, or with an exception of a general kind."""
    text = str(error).strip()
    if type(error) not in (AssertionError, ValueError, Exception) or " " not in text or error.__context__ is not None:
        return None
    places = [_place(frame) for frame in frames(error)]
    if not places or not places[-1].startswith(CHECKS):
        return None
    return text.split(": {", 1)[0]  # some end in the whole configuration
