"""seqsearch-fairseq: train fairseq's sequence models through the search that decodes them.

This file is what ``--user-dir`` loads. It checks the versions and, where fairseq is loaded, registers what this package
adds to it. Elsewhere it imports neither fairseq nor torch, and the names are registered when fairseq is imported, or by
`register()`. `seqsearch_fairseq.algorithms` needs torch alone.
"""

import importlib

from seqsearch_fairseq._registration import ROOMS, is_loaded, register, watch_imports
from seqsearch_fairseq._versions import check_versions

__version__ = "0.1.0"
__all__ = ["register"]

check_versions()

if is_loaded("fairseq"):
    register()
else:
    watch_imports()


def __getattr__(name: str):
    """The rooms and `TaggerModel`, on first use, as if they had been imported here."""
    if name == "TaggerModel":
        register()
        return importlib.import_module(f"{__name__}.models.tagger").TaggerModel
    if name not in ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    register()
    return importlib.import_module(f"{__name__}.{name}")
