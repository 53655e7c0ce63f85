"""Which types a fairseq checkpoint may hold.

torch >= 2.6 unpickles tensors and plain containers only, so that a checkpoint cannot run code. fairseq also keeps an
`argparse.Namespace` in its checkpoints. It is a plain record: allow-listing it keeps the protection.
"""

import argparse

import torch

ALLOWED_TYPES = [argparse.Namespace]


def allow_fairseq_types() -> None:
    """Allow-list, for this process, the types of `ALLOWED_TYPES` in `torch.load`."""
    torch.serialization.add_safe_globals(ALLOWED_TYPES)
