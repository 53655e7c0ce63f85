"""A recurrent language model as a file: a plain dict of texts, numbers and tensors, which can run no code.

format, version                             what it is
words                                       those that the model knows, in the order of their numbers
embedding_dim, hidden_dim, layers, dropout  of `RecurrentLanguageModel`
parameters                                  its parameters by their names
"""

import pickle
import re
from collections.abc import Sequence
from os import PathLike
from typing import IO, NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.recurrent import RecurrentLanguageModel

FORMAT, VERSION = "recurrent word language model of seqsearch_fairseq", 1
ZIP = b"PK\x03\x04"  # the first bytes of such a file, as of all that torch.save writes
SIZES = ("embedding_dim", "hidden_dim", "layers")


class RecurrentFile(NamedTuple):
    name: str  # of the file, for messages
    words: list[str]
    sizes: dict[str, int]
    dropout: float
    parameters: dict[str, Tensor]

    def model(self, words: Sequence[str]) -> RecurrentLanguageModel:
        """The model, for searches among the words of a lexicon; those that it does not know are one word to it."""
        model = RecurrentLanguageModel(len(self.words), **self.sizes, dropout=self.dropout)
        model.load_state_dict(self.parameters)
        own = {word: number for number, word in enumerate(self.words)}
        return model.over(own.get(word, model.word_count) for word in words)


def write_recurrent(out: IO[bytes], model: RecurrentLanguageModel, words: Sequence[str]) -> None:
    """Write a model that knows these words."""
    assert len(words) == model.word_count
    known = {
        "format": FORMAT,
        "version": VERSION,
        "words": list(words),
        "embedding_dim": model.embedding.embedding_dim,
        "hidden_dim": model.lstm.hidden_size,
        "layers": model.lstm.num_layers,
        "dropout": model.dropout,
        "parameters": {name: parameter.detach().cpu().clone() for name, parameter in model.named_parameters()},
    }
    torch.save(known, out)


def is_recurrent(head: bytes) -> bool:
    """Whether a file with these first bytes is of torch.save, and so no text."""
    return head.startswith(ZIP)


def read_recurrent(path: str | PathLike) -> RecurrentFile:
    """Read such a file.

    Raises:
        ValueError: it is cut off, or something else; the message names the file and the reason.
    """
    damaged = f"{path} is cut off or damaged: no archive that torch.save wrote as a whole"
    with open(path, "rb") as file:
        try:
            found = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            asked = re.search(r"(?:GLOBAL|but got|unrecognized function) <?(?:class )?'?([\w.]+)", str(error))
            if asked is None:
                raise ValueError(damaged) from error
            raise ValueError(f"{path} is refused: it asks for {asked[1]}, which no language model holds") from error
        except (RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, OSError) as error:
            raise ValueError(damaged) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"{path} is no language model: scripts/train_recognition_lm.py writes those that are not ARPA")
    wrong = _wrong(found)
    if wrong is not None:
        raise ValueError(f"{path} is no whole language model: {wrong}")
    sizes = {name: found[name] for name in SIZES}
    return RecurrentFile(str(path), found["words"], sizes, found["dropout"], found["parameters"])


def _wrong(found: dict) -> str | None:
    """What breaks the format, in a file that claims to have it."""
    if found.get("version") != VERSION:
        return f"`version` must be {VERSION}, got {found.get('version')}"
    words = found.get("words")
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        return "`words` must be a list of words"
    if len(set(words)) != len(words):
        return "`words` must hold each word once"
    parameters = found.get("parameters")
    if not isinstance(parameters, dict) or not all(isinstance(tensor, Tensor) for tensor in parameters.values()):
        return "`parameters` must be tensors by their names"
    for name in SIZES:
        if type(found.get(name)) is not int or found[name] < 1:
            return f"`{name}` must be a whole number of at least 1, got {found.get(name)}"
    if found["layers"] > len(parameters):  # so that nothing large is made of a false number
        return f"`layers` is {found['layers']}, but there are only {len(parameters)} parameters"
    if type(found.get("dropout")) is not float or not 0 <= found["dropout"] < 1:
        return f"`dropout` must be in [0, 1), got {found.get('dropout')}"
    with torch.device("meta"):
        like = RecurrentLanguageModel(len(words), *(found[name] for name in SIZES))
    wanted = {name: tuple(parameter.shape) for name, parameter in like.named_parameters()}
    extra = sorted(map(str, parameters.keys() - wanted.keys()))
    if extra:
        return f"it has no parameter {extra[0]}"
    for name, shape in wanted.items():
        theirs = parameters.get(name)
        size = None if theirs is None else tuple(theirs.shape)
        if theirs is None or size != shape:
            return f"the parameter {name} must be of size {shape}, got {size}"
        if not theirs.is_floating_point() or not bool(theirs.isfinite().all()):
            return f"the parameter {name} must hold numbers only"
    return None
