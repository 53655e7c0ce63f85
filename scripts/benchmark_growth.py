"""`benchmark.py growth`: what the soft beam costs as one quantity grows, all others held. Not a program of its own.

The model is an LSTM of 256 units. `draw` makes the picture of its rows.
"""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from benchmark_measures import Cost, bytes_kept, forward_and_backward, median_ratio, times_of
from benchmark_problems import lstm, sharpen
from benchmark_updates import searched, teacher_forced
from results import replacing

AGAINST = "teacher forcing"


class Setting(NamedTuple):
    V: int = 4000
    K: int = 3
    T: int = 15
    B: int = 16
    alpha: float = 10.0


SWEEPS: dict[str, tuple[float, ...]] = {
    "V": (250, 1000, 4000, 16000),
    "K": (1, 2, 3, 5, 8),
    "T": (5, 10, 20, 40),
    "B": (4, 16, 64),
    "alpha": (1, 3, 10, 30, 100),
}
FORMS = {  # name -> local scores, top-k
    "log-probs, squared-distance": ("log-probs", "squared-distance"),
    "logits, squared-distance": ("logits", "squared-distance"),
    "log-probs, successive": ("log-probs", "successive"),
}


def sizes() -> list[str]:
    return list(SWEEPS)


def measure(size: str, runs: int, seed: int, sharpness: float, device: str, variant: str = "") -> Iterator[Cost]:
    """The rows of one of `sizes()`, of variants whose names hold `variant`, as in `V 250, log-probs, successive`."""
    for value in SWEEPS[size]:
        wanted = {form: how for form, how in FORMS.items() if variant in f"{size} {value:g}, {form}"}
        if not wanted:
            continue
        setting = Setting(**{size: value})
        torch.manual_seed(seed)
        given = lstm(setting.V, 256, setting.B, setting.T, device)
        sharpen(given, sharpness)
        updates = {AGAINST: partial(teacher_forced, given)}
        for name, (scores, top_k) in wanted.items():
            updates[name] = partial(searched, given._replace(scores=scores), top_k, setting.alpha, beam_size=setting.K)
        kept = {name: bytes_kept(update, given.model) for name, update in updates.items()}
        calls = {name: forward_and_backward(update, given.model) for name, update in updates.items()}
        times = times_of(calls, runs, device)
        for name in wanted:
            ratio = median_ratio(times[name], times[AGAINST])
            yield Cost(size, f"{size} {value:g}, {name}", AGAINST, ratio, kept[name] / kept[AGAINST])


def draw(rows: list, file: Path) -> None:
    """The rows of this work as curves, cross entropy being the line at 1."""
    import matplotlib

    logging.getLogger().setLevel(logging.WARNING)  # fairseq's import lets everybody's debug messages through
    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in SWEEPS if any(row.size == name for row in rows)]
    figure, grid = pyplot.subplots(
        2, len(names), figsize=(3 * len(names), 5.5), layout="constrained", sharex="col", sharey="row", squeeze=False
    )
    for quantity, (above, below) in zip(names, grid.T, strict=True):
        for number, form in enumerate(FORMS):
            found = [row for row in rows if row.size == quantity and row.variant.endswith(f", {form}")]
            places = [float(row.variant.split(",")[0].split()[1]) for row in found]
            for axes, ratios in (
                (above, [row.time_ratio for row in found]),
                (below, [row.bytes_ratio for row in found]),
            ):
                axes.plot(places, ratios, marker="osv"[number], label=form if axes is grid[0, 0] else None)
        for axes in (above, below):
            axes.axhline(1.0, color="black", linewidth=1, label="cross entropy" if axes is grid[0, 0] else None)
            axes.set_xscale("log")
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
        below.set_xlabel(quantity)
        below.set_xticks(SWEEPS[quantity], [f"{value:g}" for value in SWEEPS[quantity]])
        below.minorticks_off()
    grid[0, 0].set_ylabel("time of an update")
    grid[1, 0].set_ylabel("saved bytes")
    figure.legend(loc="outside lower center", ncols=min(4, len(names)), frameon=False)
    with replacing(file) as path:
        figure.savefig(
            path, dpi=120, format=file.suffix[1:], metadata={"Date": None} if file.suffix == ".svg" else None
        )
    pyplot.close(figure)
