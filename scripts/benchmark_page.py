"""How benchmark.py shows its rows: lines of a table, JSON objects, a page in Markdown. Not a program of its own."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TITLES = {
    "soft-beam": "The soft beam, K = 3",
    "dss": "Differentiable scheduled sampling, without any gold input",
    "searnn": "SEARNN, at the sizes of the authors' code",
    "rivals": "The rivals, with a beam of 10",
    "dbd": "The differentiable beam search decoder, and decoding by its search",
    "decode": "Decoding, against fairseq's own beam search of width 5",
    "growth": "How the cost of the soft beam grows",
    "kernel": "The soft beam by Triton's kernels",
    "data": "Preparation and scoring, against 10 s and 1 s",
}
OF_WORK = {"searnn": {"costs_changed": "costs changed"}}  # as EXTRAS, of a work's rows whatever the flags
ROOT = Path(__file__).resolve().parents[1]
EXTRAS = {  # flag -> what it adds to a row, and how the table heads it
    "memory": {"memory_ratio": "process", "memory_above_model_ratio": "above the model"},
    "bound": {
        "roll_out_rows": "rows rolled out",
        "roll_out_gflop": "their GFLOP",
        "gflop_a_second": "best GFLOP a second",
        "bound_ratio": "lower bound",
    },
}


class Row(NamedTuple):
    work: str
    size: str
    variant: str
    against: str
    time_ratio: float
    bytes_ratio: float | None  # None where bytes are not measured
    runs: int
    costs_changed: float | None = None  # of searnn: the share that roll-outs in bfloat16 change
    memory_ratio: float | None = None  # with --memory: the peak of the process
    memory_above_model_ratio: float | None = None  # and what of it lies above what it holds before an update
    roll_out_rows: int | None = None  # with --bound: see `benchmark_bound.py`
    roll_out_gflop: float | None = None
    gflop_a_second: float | None = None
    bound_ratio: float | None = None


def added(work: str, extras: list[str]) -> dict[str, str]:
    """What rows of a work have beside what all have, and how the table heads it."""
    return OF_WORK.get(work, {}) | {name: head for extra in extras for name, head in EXTRAS[extra].items()}


def heading(work: str, extras: list[str]) -> list[str]:
    columns = ["size", "variant", "against", "time", "saved bytes", *added(work, extras).values()]
    return [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]


def as_line(row: Row, extras: list[str]) -> str:
    names = ["time_ratio", "bytes_ratio", *added(row.work, extras)]
    return f"| {' | '.join([row.size, row.variant, row.against, *(shown(row, name) for name in names)])} |"


def shown(row: Row, name: str) -> str:
    figure = getattr(row, name)
    if figure is None:
        return "–"
    if name == "costs_changed":
        return f"{figure:.2%}"
    return f"{figure:,}" if isinstance(figure, int) else f"{figure:.2f}"


def as_json(row: Row, extras: list[str]) -> str:
    known = {name for names in (*EXTRAS.values(), *OF_WORK.values()) for name in names}
    left_out = known - added(row.work, extras).keys()
    return json.dumps({name: value for name, value in row._asdict().items() if name not in left_out})


def page(rows: list[Row], command: str, circumstances: str, extras: list[str], picture: str | None) -> Iterator[str]:
    """The lines of a page: a table for each work.

    Args:
        command: that measured the rows.
        circumstances: of the measurement, a sentence or more.
        picture: of the work `growth`, relative to the page.
    """
    yield from ("# What does it cost?", "", "`scripts/benchmark.py` wrote this page:", "")
    yield from ("```bash", command, "```", "")
    yield from (circumstances, "")
    yield "A figure is a ratio to what the column *against* names, measured in the same run: a median over the turns."
    yield "[cost.md](cost.md) says what is measured, and how cost is kept low."
    for work in dict.fromkeys(row.work for row in rows):
        yield from ("", f"## {TITLES[work]}", "")
        if work == "growth" and picture is not None:
            yield from (f"![Time and saved bytes of an update against V, K, T, B and alpha]({picture})", "")
        yield from heading(work, extras)
        yield from (as_line(row, extras) for row in rows if row.work == work)


def load() -> float:
    """How many processes of the machine wanted to run, on average over the last minute."""
    return os.getloadavg()[0]


def said_of(measured: str, threads: int, loads: list[float]) -> str:
    """What is said of the circumstances: `measured`, and whether the machine was idle."""
    cores = os.cpu_count() or 1
    idle = max(loads) <= threads + 0.5
    return (
        f"{measured}. The machine has {cores} cores; its load average was between {min(loads):.1f} and "
        f"{max(loads):.1f}: it was {'idle but for this' if idle else 'not idle, so the second digit is uncertain'}."
    )


def commit() -> str:
    argv = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(argv, capture_output=True, text=True)
    return f", commit {done.stdout.strip()}" if done.returncode == 0 else ""
