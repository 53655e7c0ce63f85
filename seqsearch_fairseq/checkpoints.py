"""Which types a fairseq checkpoint may hold, and what is wrong with one that cannot be loaded.

torch >= 2.6 unpickles tensors and plain containers only, so that a checkpoint cannot run code. fairseq also keeps an
`argparse.Namespace` in its checkpoints and, with --eval-bleu, the numpy arrays that it counts in. Both are plain
records: allow-listing them keeps the protection.
"""

import argparse
import importlib
import os
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from seqsearch_fairseq.errors import UsageError, frames, sentence

_multiarray = importlib.import_module("numpy._core.multiarray")  # numpy says nothing of it to type checkers
ALLOWED_TYPES = [
    argparse.Namespace,
    np.ndarray,
    np.dtype,
    _multiarray._reconstruct,
    _multiarray.scalar,
    *(type(np.dtype(name)) for name in ("int64", "float64")),
]

# fairseq's functions that load a checkpoint, by module and name, and how they call its path.
LOADERS = {
    ("fairseq.checkpoint_utils", "load_checkpoint_to_cpu"): "path",
    ("fairseq.checkpoint_utils", "load_model_ensemble_and_task"): "filename",
    ("fairseq.checkpoint_utils", "load_checkpoint"): "checkpoint_path",
    ("fairseq.trainer", "load_checkpoint"): "filename",
}
MAKES_DATA = "get_train_iterator"  # load_checkpoint calls it too, and what goes wrong there is not the checkpoint's
# What a file of any content may raise when it is read.
KINDS: tuple[type[Exception], ...] = (pickle.UnpicklingError, RuntimeError, LookupError, ValueError, TypeError)
KINDS += (AttributeError, OSError, EOFError, AssertionError, OverflowError)


def allow_fairseq_types() -> None:
    """Allow-list, for this process, the types of `ALLOWED_TYPES` in `torch.load`."""
    torch.serialization.add_safe_globals(ALLOWED_TYPES)


@contextmanager
def loading(path) -> Iterator[None]:
    """Around code that loads the checkpoint `path`: what goes wrong is a `UsageError` that names it and says why."""
    try:
        yield
    except Exception as error:
        text = sentence(error)
        if text is None and _is_of_content(error):
            text = describe(path, error)
        if text is None or isinstance(error, UsageError):
            raise
        raise UsageError(text) from error


def explained(error: BaseException) -> str | None:
    """What is wrong with the checkpoint in whose loading fairseq raised `error`; None if that was elsewhere."""
    if type(error) is Exception and error.__context__ is not None:  # the trainer's, around the real one
        path, error = _path_of(error), error.__context__
    else:
        path = _path_of(error)
    if path is None or not _is_of_content(error):
        return None
    return describe(path, error)


def describe(path, error: BaseException) -> str:
    """One sentence: the file, what is wrong with it, and what to do."""
    return f"the checkpoint {path} {_wrong_with_file(os.fspath(path)) or _wrong_with_content(error)}"


def missing(path) -> str | None:
    """What keeps `path` from being a checkpoint, before it is opened; None if it is a file."""
    if os.path.isfile(path):
        return None
    return f"the checkpoint {path} {_wrong_with_file(os.fspath(path))}"


def _path_of(error: BaseException):
    """The checkpoint that was being loaded."""
    path = None
    for frame in frames(error):
        place = frame.f_globals.get("__name__"), frame.f_code.co_name
        if place in LOADERS:
            path = frame.f_locals.get(LOADERS[place], path)
        elif frame.f_code.co_name == MAKES_DATA:
            return None
    return path


def _is_of_content(error: BaseException) -> bool:
    return isinstance(error, KINDS) and not isinstance(error, torch.OutOfMemoryError)


def _wrong_with_file(path: str) -> str | None:
    if not os.path.lexists(path):
        return "does not exist; fairseq-train writes checkpoint_best.pt and checkpoint_last.pt into its --save-dir"
    if os.path.isdir(path):
        return "is a folder; name a file in it, checkpoint_best.pt for instance"
    if not os.access(path, os.R_OK):
        return "cannot be read: no permission"
    if os.path.getsize(path) == 0:
        return "is empty; take another one of the run"
    with open(path, "rb") as file:
        if not file.read(4).startswith((b"PK\x03\x04", b"\x80")):  # a zip archive, or a pickle as torch < 1.6 wrote it
            return "is no checkpoint; name a file that fairseq-train wrote"
    return None


def _wrong_with_content(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, PermissionError):
        return "cannot be read: no permission"
    if found := re.search(r"(?:GLOBAL|but got|reduce for unrecognized function) <?(?:class )?'?([\w.]+)", text):
        if isinstance(error, pickle.UnpicklingError):
            return f"is refused: it asks for {found[1]}, which fairseq-train never writes and which may run code"
    if "TorchScript" in text:
        return "is a TorchScript archive; name a file that fairseq-train wrote"
    if "PytorchStreamReader" in text or isinstance(error, EOFError) or "Ran out of input" in text:
        return "is cut off or damaged; copy it again, or take another one of the run"
    if "loading state_dict" in text:
        return _other_model(text)
    first = " ".join((text.splitlines() or [""])[0].split())[:120]
    return f"is no checkpoint of fairseq-train, or is damaged ({type(error).__name__}: {first})"


def _other_model(text: str) -> str:
    """Of torch's list of differences the number and the first, in the order: sizes, parameters that one side lacks."""
    todo = "give the --arch and the sizes that it was trained with, and data of the same dictionaries"
    sizes = re.findall(r"size mismatch for (\S+): .*?Size\(\[([\d, ]*)\]\).*?Size\(\[([\d, ]*)\]\)", text)
    if sizes:
        name, theirs, ours = sizes[0]
        return (
            f"does not fit this model: {len(sizes)} sizes differ, {name} is ({theirs}) there and ({ours}) here; {todo}"
        )
    names = re.findall(r'"([^"]+)"', text)
    first = f", {names[0]} for instance" if names else ""
    return f"does not fit this model: it is of another architecture ({len(names)} parameters{first}); {todo}"
