"""Which versions of Python and torch are refused, and with what sentence."""

import pytest

from seqsearch_fairseq._versions import check_versions


@pytest.mark.parametrize("torch", ["2.6", "2.6.0", "2.13.0+cpu", "2.14.0.dev20260101+cu128", "2.99.1a0"])
def test_torch_in_the_range_is_accepted(torch):
    check_versions(python=(3, 11, 7), torch=torch)


@pytest.mark.parametrize("torch,shown", [("2.5.1", "2.5"), ("1.13.1+cu117", "1.13"), ("3.0.0", "3.0")])
def test_torch_out_of_the_range_is_refused(torch, shown):
    with pytest.raises(ImportError, match=f"needs torch >= 2.6 and < 3.0, and this is torch {shown}.*env.sh"):
        check_versions(python=(3, 11, 7), torch=torch)


@pytest.mark.parametrize("python", [(3, 11, 0), (3, 12, 1), (3, 13, 9)])
def test_python_in_the_range_is_accepted(python):
    check_versions(python=python, torch="2.13.0")


@pytest.mark.parametrize("python,shown", [((3, 10, 14), "3.10.14"), ((3, 14, 0), "3.14.0"), ((2, 7, 18), "2.7.18")])
def test_python_out_of_the_range_is_refused(python, shown):
    with pytest.raises(ImportError, match=f"needs Python >= 3.11 and < 3.14, and this is Python {shown}"):
        check_versions(python=python, torch="2.13.0")


def test_what_runs_now_is_accepted():
    check_versions()
