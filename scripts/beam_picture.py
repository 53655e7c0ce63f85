"""A search as a picture: rows of beams over columns of steps, with lines between them. Nothing here knows a model."""

import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Outline
from matplotlib.textpath import text_to_path


class Cell(NamedTuple):
    """A hypothesis after one step."""

    tokens: list[tuple[str, float, bool]]  # name, weight and whether it is the gold one; heaviest first
    score: float


class Panel(NamedTuple):
    """One search of T steps with K beams."""

    title: str
    caption: str
    cells: list[list[Cell | None]]  # T of K; None where there was no such beam
    lines: list[list[list[float]]]  # T of K of K: how much of beam j is beam i of the step before
    path: list[int]  # T rows: how the best final beam came about
    ends: list[list[str]]  # K of lines of text beside the final beams
    coincide: list[bool]  # T: whether all beams are one


class Picture(NamedTuple):
    title: str
    source: str | None  # to stand above, where its words have no columns
    words: list[str] | None  # T words, one over each column
    gold: list[str] | None  # T tokens, one below each column
    panels: list[Panel]
    first: int  # steps to draw, from 1
    last: int


# Colours that the colour-blind can tell apart (Okabe and Ito 2008); what stands on them is black.
GOLD, OTHER, SAME, PALE, INK = "#7fceb9", "#f2cf80", "#ecd5e2", "#a8a8a8", "#000000"
TOKEN, SMALL, WORD, CAPTION, TITLE = 7.0, 6.0, 8.0, 7.5, 8.5  # sizes of text, in points
LINE, SMALL_LINE = 0.15, 0.12  # heights of lines of text, in inches as all that follows
LEFT, RIGHT, TOP, BOTTOM, GAP = 0.5, 0.85, 0.15, 0.15, 0.4
NARROWEST, WIDEST, LEAST_WIDTH = 0.6, 1.25, 7.0  # cells, and the whole picture
NUMBER = 0.24  # room for a weight beside a token
THICK = 4.5  # points: the width of a line that weighs 1
LEAST_LINE = 0.02  # lines that weigh less are left out
FALLBACKS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Noto Sans Arabic", "Noto Sans Devanagari")


def write_picture(picture: Picture, path: Path, kind: str) -> list[str]:
    """Write a picture in the format `kind`, png or svg. The same picture gives the same bytes.

    Returns:
        What there is to say of it.
    """
    # Text stays text in SVG: it can be searched, and its reader has the fonts.
    with (
        matplotlib.rc_context({"font.family": families(), "svg.fonttype": "none", "svg.hashsalt": "beam"}),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        figure = Drawing(picture).figure
        figure.savefig(path, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    missing = {str(warning.message) for warning in caught if "missing from font" in str(warning.message)}
    if missing and kind == "png":
        return [
            f"{len(missing)} characters are in no font here and are drawn as boxes; an .svg leaves that to its reader"
        ]
    return []


class Drawing:
    """The picture's sheet, in inches from its upper left corner."""

    def __init__(self, picture: Picture):
        self.picture = picture
        self.steps = range(picture.first - 1, picture.last)
        self.cell = self._cell_width()
        columns = len(self.steps) * (self.cell + GAP)
        self.width = max(LEFT + columns + RIGHT, LEAST_WIDTH)
        self.heights = [self._row_height(panel) for panel in picture.panels]
        self.figure = Figure(figsize=(self.width, 1.0))
        FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.axis("off")

        y = self._header(TOP)
        for panel, height in zip(picture.panels, self.heights, strict=True):
            y = self._panel(panel, y, height)
        y = self._legend(self._gold(y)) + BOTTOM
        self.figure.set_size_inches(self.width, y)
        self.axes.set(xlim=(0, self.width), ylim=(y, 0))

    # ---------------------------------------------------------------------------------------------------------- sizes

    def _cell_width(self) -> float:
        names = {name for panel in self.picture.panels for t in self.steps for cell in panel.cells[t] if cell
                 for name, _, _ in cell.tokens}  # fmt: skip
        return min(max([NARROWEST, *(width_of(name, TOKEN) + NUMBER + 0.12 for name in names)]), WIDEST)

    def _row_height(self, panel: Panel) -> float:
        most = max(len(cell.tokens) for t in self.steps for cell in panel.cells[t] if cell)
        return most * LINE + SMALL_LINE + 0.18

    def _x(self, t: int) -> float:
        """The left edge of the cells of step t."""
        return LEFT + (t - self.steps[0]) * (self.cell + GAP)

    # ---------------------------------------------------------------------------------------------------------- parts

    def _header(self, y: float) -> float:
        y = self._lines(self.picture.title, y, TITLE, weight="bold")
        if self.picture.source is not None:
            y = self._lines(f"source: {self.picture.source}", y + 0.05, CAPTION)
        y += 0.22
        for t in self.steps:
            middle = self._x(t) + self.cell / 2
            self._text(middle, y, str(t + 1), SMALL, ha="center", color="#666666")
            if self.picture.words is not None:
                word = cut(self.picture.words[t], WORD, self.cell + GAP - 0.1, weight="bold")
                self._text(middle, y + 0.18, word, WORD, ha="center", weight="bold")
        return y + (0.28 if self.picture.words is not None else 0.1)

    def _panel(self, panel: Panel, y: float, height: float) -> float:
        y = self._lines(panel.title, y + 0.12, TITLE, weight="bold")
        y = self._lines(panel.caption, y, CAPTION) + 0.06
        bottom = y + height * len(panel.ends)
        self._shade(panel, y, bottom)
        self._connect(panel, y, height)
        for t in self.steps:
            for j, cell in enumerate(panel.cells[t]):
                if cell is not None:
                    self._cell(cell, self._x(t), y + j * height)
        if self.steps[-1] + 1 == len(panel.cells):
            x = self._x(self.steps[-1]) + self.cell + 0.1
            for j, lines in enumerate(panel.ends):
                for n, line in enumerate(lines):
                    self._text(x, y + j * height + 0.13 + n * LINE, line, TOKEN)
        return bottom

    def _shade(self, panel: Panel, top: float, bottom: float) -> None:
        for t in self.steps:
            if panel.coincide[t]:
                corner = (self._x(t) - GAP / 2, top - 0.04)
                wide = self.cell + GAP / 2 + (GAP / 2 if t < self.steps[-1] else 0.04)
                self.axes.add_patch(Rectangle(corner, wide, bottom - top, color=SAME, lw=0, zorder=0))

    def _connect(self, panel: Panel, y: float, height: float) -> None:
        """The soft backpointers of each step. Those of the best beam's own path are dark."""

        def middle(row: int, t: int) -> float:
            most = max(len(cell.tokens) for cell in panel.cells[t] if cell)
            cell = panel.cells[t][row]
            lines = len(cell.tokens) if cell else most
            return y + row * height + (lines * LINE + SMALL_LINE + 0.06) / 2

        for t in self.steps:
            for j, weights in enumerate(panel.lines[t]):
                for i, weight in enumerate(weights):
                    if weight < LEAST_LINE or panel.cells[t][j] is None:
                        continue
                    right = self._x(t), middle(j, t)
                    left = (right[0] - GAP, middle(i, t - 1) if t > 0 else middle(0, 0))
                    chosen = j == panel.path[t] and (t == 0 or i == panel.path[t - 1])
                    self._line(left, right, weight, INK if chosen else PALE, 2 if chosen else 1)
        if self.steps[0] == 0:
            self.axes.plot([LEFT - GAP], [middle(0, 0)], marker="o", markersize=5, color=INK, zorder=3)

    def _cell(self, cell: Cell, x: float, y: float) -> None:
        height = len(cell.tokens) * LINE + SMALL_LINE + 0.06
        box = {"facecolor": "white", "edgecolor": "#666666", "linewidth": 0.6, "zorder": 3}
        self.axes.add_patch(Rectangle((x, y), self.cell, height, **box))
        several = len(cell.tokens) > 1 or cell.tokens[0][1] < 0.995
        for n, (name, weight, is_gold) in enumerate(cell.tokens):
            top = y + 0.02 + n * LINE
            color = GOLD if is_gold else OTHER
            self.axes.add_patch(
                Rectangle((x + 0.02, top + 0.01), weight * (self.cell - 0.04), LINE - 0.02, color=color, lw=0, zorder=4)
            )
            room = self.cell - 0.1 - (NUMBER if several else 0)
            self._text(x + 0.05, top + 0.115, cut(name, TOKEN, room), TOKEN)
            if several:
                self._text(x + self.cell - 0.04, top + 0.115, in_short(weight), TOKEN, ha="right")
        self._text(x + self.cell - 0.04, y + height - 0.035, f"{cell.score:.2f}", SMALL, ha="right", color="#444444")

    def _gold(self, y: float) -> float:
        if self.picture.gold is None:
            return y
        y += 0.22
        self._text(LEFT - 0.06, y, "gold", WORD, ha="right", weight="bold")
        for t in self.steps:
            name = cut(self.picture.gold[t], TOKEN, self.cell + GAP - 0.1, weight="bold")
            self._text(self._x(t) + self.cell / 2, y, name, TOKEN, ha="center", weight="bold")
        return y

    def _legend(self, y: float) -> float:
        """Samples of what lines, bars and shades mean, in as many rows as they need."""
        items = [(f"soft backpointer of weight {weight:g}", (PALE, weight)) for weight in (1, 0.5, 0.1)]
        items.append(("path of the best beam", (INK, 0.5)))
        items += [("gold token", GOLD), ("other token", OTHER)] if self.picture.gold is not None else [("token", OTHER)]
        if any(panel.coincide[t] for panel in self.picture.panels for t in self.steps):
            items.append(("all beams choose the same", SAME))
        items.append(("in a cell: tokens with their weights, and the score", None))
        x, y = 0.15, y + 0.35
        for text, sample in items:
            wide = width_of(text, TOKEN) + (0.4 if sample else 0)
            if x + wide > self.width - 0.1:
                x, y = 0.15, y + 0.18
            if isinstance(sample, tuple):
                self._line((x, y - 0.04), (x + 0.3, y - 0.04), sample[1], sample[0], 1)
            elif sample:
                self.axes.add_patch(Rectangle((x, y - 0.1), 0.3, 0.12, color=sample, lw=0))
            self._text(x + (0.35 if sample else 0), y, text, TOKEN)
            x += wide + 0.2
        return y

    # ------------------------------------------------------------------------------------------------------ primitives

    def _text(self, x: float, y: float, text: str, size: float, **options) -> None:
        self.axes.text(x, y, printable(text), fontsize=size, va="baseline", parse_math=False, zorder=5, **options)

    def _lines(self, text: str, y: float, size: float, **options) -> float:
        """Text in as many lines as it needs; returns where the next ones begin."""
        for line in wrapped(text, size, self.width - 0.3, **options):
            self._text(0.15, y + 0.12, line, size, **options)
            y += 0.16
        return y

    def _line(self, left: tuple, right: tuple, weight: float, color: str, order: int) -> None:
        middle = (left[0] + right[0]) / 2
        points = [left, (middle, left[1]), (middle, right[1]), right]
        curve = Outline(points, [Outline.MOVETO, *[Outline.CURVE4] * 3])
        self.axes.add_patch(
            PathPatch(curve, fill=False, edgecolor=color, linewidth=THICK * weight, capstyle="butt", zorder=order)
        )


# --------------------------------------------------------------------------------------------------------------- text


@cache
def families() -> list[str]:
    """The fonts to look a character up in, one after the other: those that are here."""
    present = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in FALLBACKS if name in present)]


@cache
def width_of(text: str, size: float, weight: str = "normal") -> float:
    """Inches."""
    font = FontProperties(size=size, weight=weight, family=families())
    return text_to_path.get_text_width_height_descent(printable(text), font, ismath=False)[0] / 72


@cache
def cut(text: str, size: float, room: float, weight: str = "normal") -> str:
    """The text, or as much of its beginning and its end as fits into `room` inches."""
    for kept in range(len(text), 1, -1):
        head = (kept + 1) // 2
        shorter = text if kept == len(text) else f"{text[:head]}…{text[len(text) - kept + head :]}"
        if width_of(shorter, size, weight) <= room:
            return shorter
    return text[:1]


def wrapped(text: str, size: float, room: float, weight: str = "normal") -> Iterator[str]:
    """Lines of whole words that fit into `room` inches; a word that does not is cut."""
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and width_of(longer, size, weight) > room:
            yield line
            longer = word
        line = cut(longer, size, room, weight) if longer == word else longer
    if line:
        yield line


def printable(text: str) -> str:
    """The text without what a picture cannot hold: control characters, for instance."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def in_short(weight: float) -> str:
    """Two digits: .07, or 1."""
    return "1" if weight >= 0.995 else f"{weight:.2f}".removeprefix("0")
