"""The versions of Python and torch that this package is tested with, and the refusal of any other."""

import sys
from importlib.metadata import PackageNotFoundError, version

PYTHON_RANGE = ((3, 11), (3, 14))  # at least, below
TORCH_RANGE = ((2, 6), (3, 0))


def check_versions(python: tuple[int, ...] | None = None, torch: str | None = None) -> None:
    """Refuse a Python or a torch out of the tested range.

    Args:
        python: version to check, e.g. `(3, 12, 1)`; the running one by default.
        torch: version text to check, e.g. `"2.13.0+cpu"`; the installed one by default.

    Raises:
        ImportError: with the name, the range and the version found.
    """
    python = tuple(sys.version_info[:3]) if python is None else python
    _check("Python", python, PYTHON_RANGE)
    _check("torch", _parse(_installed_torch() if torch is None else torch), TORCH_RANGE)


def _installed_torch() -> str:
    """The version, without importing torch, which takes a second."""
    try:
        return version("torch")
    except PackageNotFoundError as error:
        raise ImportError(
            "seqsearch-fairseq needs torch, and it is not installed. `bash scripts/env.sh` does."
        ) from error


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
