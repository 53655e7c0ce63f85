"""What fairseq and its libraries say at every start about their own code, and a user can do nothing about.

Each is named by its text, and by its module where that does not depend on who calls. Any other warning is shown.
"""

import logging
import warnings
from typing import NamedTuple


class Known(NamedTuple):
    message: str  # regular expressions of how they begin, without colons, which pytest's filters take for separators
    module: str = ""
    category: type[Warning] = UserWarning


KNOWN = (
    # fairseq 0.12 calls hydra as it was in version 1.0
    Known(r"hydra\.experimental\.(initialize|compose)\(\) is no longer experimental", r"hydra\.experimental"),
    Known(r"\s*The version_base parameter is not specified", r"hydra\.experimental|fairseq|fairseq_cli"),
    Known(r"In '.*'. Usage of deprecated keyword in package header", r"hydra\.core"),
    Known(r"\s*'.*' is validated against ConfigStore schema with the same name"),
    Known(r"\s*The strict flag in the compose API is deprecated", r"hydra\.compose"),
    # and torch as it was in version 1.x
    Known(r"'pin_memory' argument is set as true but no accelerator is found", r"torch\.utils\.data"),
    Known(r"Support for mismatched key_padding_mask and attn_mask is deprecated", r"torch\.nn"),
    Known(r"`torch\.jit\.script` is deprecated", r"torch\.jit", DeprecationWarning),
    Known(r"`torch\.nn\.utils\.weight_norm` is deprecated", r"torch\.nn", FutureWarning),
    Known(r"Positional args are being deprecated, use kwargs instead", r"fairseq\.modules", FutureWarning),
    Known(r"`torch\.(cuda|cpu)\.amp\.\w+\(args\.\.\.\)` is deprecated", r"fairseq\b", FutureWarning),
)


def hide_known() -> None:
    """Filter these warnings in this process, and hydra's messages for its own developers."""
    for known in KNOWN:
        warnings.filterwarnings("ignore", known.message, known.category, known.module)
    logging.getLogger("hydra").setLevel(logging.INFO)  # fairseq's import lets everybody's debug messages through
