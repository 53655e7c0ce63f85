"""The versions of Python and torch that this package is tested with, and the refusal of any other."""

import sys

PYTHON_RANGE = ((3, 11), (3, 12))  # at least, below
TORCH_RANGE = ((2, 6), (3, 0))


def check_versions(python: tuple[int, ...] | None = None, torch: str | None = None) -> None:
    """Refuse a Python or a torch out of the tested range.

    Args:
        python: version to check, e.g. `(3, 11, 7)`; the running one by default.
        torch: version text to check, e.g. `"2.13.0+cpu"`; the installed one by default.

    Raises:
        ImportError: with the name, the range and the version found.
    """
    python = tuple(sys.version_info[:3]) if python is None else python
    _check("Python", python, PYTHON_RANGE)
    if torch is None:
        from torch import __version__ as torch
    _check("torch", _parse(str(torch)), TORCH_RANGE)


def _parse(version: str) -> tuple[int, ...]:
    digits = version.split("+")[0].split(".")[:2]
    return tuple(int(part) for part in digits)


def _check(name: str, found: tuple[int, ...], allowed: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    low, high = allowed
    if not low <= found < high:
        show = [".".join(map(str, version)) for version in (low, high, found)]
        raise ImportError(
            f"seqsearch-fairseq needs {name} >= {show[0]} and < {show[1]}, and this is {name} {show[2]}. "
            "`bash scripts/env.sh` builds an environment with the tested versions."
        )
