"""The search of one utterance as a picture: frames from left to right. Nothing here knows a model."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from matplotlib import pyplot

RIGHT, WRONG, PARTIAL, INK = "#7fceb9", "#f2cf80", "#eeeeee", "#000000"
FEWEST_WORDS = 3  # rows of words
LEAST_PROBABILITY = 0.05  # units that never reach it have no row


class Moment(NamedTuple):
    """The best hypothesis after a frame."""

    words: list[str]
    begun: str  # the units of a word that is not complete


class Search(NamedTuple):
    """An utterance of T frames after subsampling."""

    title: str
    seen: np.ndarray | None  # (F, numbers of a frame) what the model reads; None for a waveform
    probabilities: np.ndarray  # (T, U)
    units: list[str]  # (U,)
    gold_path: list[int] | None  # T units; None where no path says the gold
    gold_ends: list[int] | None  # of each gold word the frame that it is complete after, likewise
    gold: list[str]
    moments: list[Moment]  # T


class Run(NamedTuple):
    """Frames in which one text stands in a row."""

    first: int
    last: int
    text: str


def draw(search: Search):
    """The figure."""
    shown = shown_units(search)
    rows = max([FEWEST_WORDS, len(search.gold), *(len(one.words) + bool(one.begun) for one in search.moments)])
    heights = [1.2, 0.16 * len(shown), 0.3 * rows, 0.3]
    if search.seen is None:
        heights = heights[1:]
    width = min(max(7.0, 0.14 * len(search.moments)), 24.0)
    figure, panels = pyplot.subplots(
        len(heights),
        1,
        figsize=(width, sum(heights) + 1.4),
        height_ratios=heights,
        sharex=True,
        layout="constrained",
    )
    figure.suptitle(search.title, fontsize=9, x=0.01, ha="left")
    *above, units, words, gold = panels
    for axes in above:
        draw_seen(axes, search)
    draw_units(units, search, shown)
    draw_words(words, search, rows)
    draw_gold(gold, search)
    gold.set_xlim(0, len(search.moments))
    gold.set_xlabel("frames, after subsampling", fontsize=8)
    return figure


def shown_units(search: Search) -> list[int]:
    """Those that some frame finds probable, and those of the gold's path."""
    probable = (search.probabilities.max(axis=0) >= LEAST_PROBABILITY).nonzero()[0]
    return sorted({*probable.tolist(), *(search.gold_path or ())})


def draw_seen(axes, search: Search) -> None:
    assert search.seen is not None
    extent = (0, len(search.moments), search.seen.shape[1], 0)
    axes.imshow(search.seen.T, aspect="auto", cmap="Greys", extent=extent, interpolation="nearest")
    axes.set_yticks([])
    axes.set_ylabel("input", fontsize=8)


def draw_units(axes, search: Search, shown: list[int]) -> None:
    extent = (0, len(search.moments), len(shown), 0)
    shades = search.probabilities[:, shown].T
    axes.imshow(shades, aspect="auto", cmap="Blues", vmin=0, vmax=1, extent=extent, interpolation="nearest")
    axes.set_yticks([row + 0.5 for row in range(len(shown))], [search.units[unit] for unit in shown], fontsize=6)
    axes.set_ylabel("units", fontsize=8)
    if search.gold_path is not None:
        rows = [shown.index(unit) + 0.5 for unit in search.gold_path]
        frames = [frame + 0.5 for frame in range(len(rows))]
        axes.plot(frames, rows, color="#d55e00", lw=0.8, marker="o", markersize=2)
        axes.set_title(
            "probabilities of the units, and the best path that says the gold", fontsize=7, loc="left", pad=3
        )


def runs(texts: list[str]) -> Iterator[Run]:
    """Frames that follow each other with one text; those with none are left out."""
    begin = 0
    for text, group in itertools.groupby(texts):
        end = begin + len(list(group))
        if text:
            yield Run(begin, end - 1, text)
        begin = end


def draw_words(axes, search: Search, rows: int) -> None:
    for row in range(rows):
        complete = [one.words[row] if row < len(one.words) else "" for one in search.moments]
        begun = [f"{one.begun}-" if one.begun and row == len(one.words) else "" for one in search.moments]
        gold = search.gold[row] if row < len(search.gold) else None
        for run in runs(complete):
            box(axes, run, row, RIGHT if run.text == gold else WRONG)
        for run in runs(begun):
            box(axes, run, row, PARTIAL)
    axes.set_ylim(rows, 0)
    axes.set_yticks([row + 0.5 for row in range(rows)], [str(row + 1) for row in range(rows)], fontsize=6)
    axes.set_ylabel("words", fontsize=8)
    axes.set_title("the best hypothesis after each frame, and at the end", fontsize=7, loc="left", pad=3)
    for row, word in enumerate(search.moments[-1].words):
        place = len(search.moments) + 0.3, row + 0.5
        axes.text(*place, word, fontsize=6, va="center", parse_math=False)


def draw_gold(axes, search: Search) -> None:
    axes.set_ylim(1, 0)
    axes.set_yticks([])
    axes.set_ylabel("gold", fontsize=8, rotation=0, ha="right", va="center")
    if search.gold_ends is None:
        axes.text(0.2, 0.5, " ".join(search.gold), fontsize=7, va="center", parse_math=False)
        return
    begin = 0
    for word, end in zip(search.gold, search.gold_ends, strict=True):
        box(axes, Run(begin, end, word), 0, RIGHT)
        begin = end + 1


def box(axes, run: Run, row: int, color: str) -> None:
    """A text in its frames, as far as it fits."""
    wide = run.last - run.first + 1
    axes.barh(row + 0.5, wide, left=run.first, height=0.86, color=color, edgecolor="white", linewidth=0.5)
    middle = run.first + wide / 2
    if wide * 2 >= len(run.text):  # a frame has room for about two letters
        axes.text(middle, row + 0.5, run.text, fontsize=6, ha="center", va="center", parse_math=False, clip_on=True)
