"""Which types a fairseq checkpoint may hold.

torch >= 2.6 unpickles tensors and plain containers only, so that a checkpoint cannot run code. fairseq also keeps an
`argparse.Namespace` in its checkpoints and, with --eval-bleu, the numpy arrays that it counts in. Both are plain
records: allow-listing them keeps the protection.
"""

import argparse

import numpy as np
import torch

_multiarray = np._core.multiarray
ALLOWED_TYPES = [
    argparse.Namespace,
    np.ndarray,
    np.dtype,
    _multiarray._reconstruct,
    _multiarray.scalar,
    *(type(np.dtype(name)) for name in ("int64", "float64")),
]


def allow_fairseq_types() -> None:
    """Allow-list, for this process, the types of `ALLOWED_TYPES` in `torch.load`."""
    torch.serialization.add_safe_globals(ALLOWED_TYPES)
