"""The algorithms need torch alone."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "seqsearch_fairseq" / "algorithms").rglob("*.py"))
GLUE = {"adapters", "checkpoints", "criterions", "data", "errors", "generation", "models", "scoring", "tasks"}

BLOCKED = """
import importlib, sys
sys.modules["fairseq"] = None  # any import of it is a ModuleNotFoundError now
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path) -> set[str]:
    """All that `path` imports, at any depth of its code, by full name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import, which this test does not resolve"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def needs_triton(path: Path) -> bool:
    return "triton" in {name.split(".")[0] for name in imported_modules(path)}


def test_every_module_can_be_imported_where_fairseq_is_missing():
    with_triton = [path for path in FILES if needs_triton(path)]
    assert {path.parent.name for path in with_triton} == {"kernels"}
    skipped = with_triton if importlib.util.find_spec("triton") is None else []
    names = [module_name(path) for path in FILES if path not in skipped]
    assert "seqsearch_fairseq.algorithms.soft_beam" in names
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, *names],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_torch_is_the_only_package_that_the_beam_decoder_needs():
    files = [path for path in FILES if path.parent.name == "beam_decoder"]
    assert {"decoding", "recurrent", "search"} <= {path.stem for path in files}
    packages = {name.split(".")[0] for path in files for name in imported_modules(path)}
    assert packages - sys.stdlib_module_names == {"torch", "seqsearch_fairseq"}


@pytest.mark.parametrize("path", FILES, ids=[module_name(path) for path in FILES])
def test_no_module_imports_fairseq_or_the_rooms_that_do(path):
    for name in imported_modules(path):
        parts = name.split(".")
        assert parts[0] != "fairseq"
        assert not (parts[0] == "seqsearch_fairseq" and GLUE & set(parts[1:2])), name


def test_a_search_by_torch_does_not_import_triton():
    names = [module_name(path) for path in FILES if not needs_triton(path)]
    code = BLOCKED.replace("fairseq", "triton")
    done = subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
