"""What holds for every test: the package and the helpers of this folder can be imported, and draws are repeatable."""

import os
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

for folder in (Path(__file__).parent, Path(__file__).parents[1]):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from seqsearch_fairseq._warnings import KNOWN, hide_known  # noqa: E402  (found through the paths above)

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # kernels run in Python; has to be said before anything imports triton

hide_known()  # while test modules are imported, which pytest's own filters do not cover

settings.register_profile("suite", deadline=None, max_examples=25, derandomize=True, database=None)
settings.load_profile("suite")


def pytest_configure(config):
    """What is said of other packages' code at every start, and hidden from users, is hidden here too."""
    for known in KNOWN:
        line = f"ignore:{known.message}:{known.category.__name__}:{known.module}"
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(autouse=True)
def _same_draws_in_every_test():
    torch.manual_seed(0)
