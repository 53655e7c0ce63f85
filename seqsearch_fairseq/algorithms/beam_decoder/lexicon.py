"""The lexicon: words and their spellings in units, as a prefix tree of tensors.

A word may have several spellings (pronunciations), and a spelling several words (homophones). Equal pairs count once.
Nodes are numbered so that the children of a node follow each other, in the order of their units.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

ROOT, NONE = 0, -1


class Rows(NamedTuple):
    """A list of numbers for each of R rows: row r holds `values[starts[r] : starts[r + 1]]`."""

    starts: Tensor  # (R + 1,)
    values: Tensor

    @classmethod
    def of(cls, rows: Tensor, values: Tensor, count: int) -> "Rows":
        """`values[i]` belongs to row `rows[i]`; within a row their order stays."""
        order = torch.argsort(rows, stable=True)
        starts = torch.bincount(rows, minlength=count).cumsum(0)
        return cls(torch.nn.functional.pad(starts, (1, 0)), values[order])

    @property
    def counts(self) -> Tensor:
        """(R,)"""
        return self.starts.diff()

    def expand(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """All numbers of the rows `rows` (H,): which of the H each belongs to, and the numbers, both (C,)."""
        source, places = expand(self.starts[rows], self.counts[rows])
        return source, self.values[places]


def expand(starts: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The places of H slices that begin at `starts` and hold `counts`: which slice each is of, and where, both (C,)."""
    ends = counts.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    source = torch.repeat_interleave(counts, output_size=total)
    shift = starts - ends + counts  # of a slice against the row of all slices
    return source, shift.index_select(0, source) + torch.arange(total, device=counts.device)


@dataclass(frozen=True)
class Lexicon:
    """Words and the prefix tree of their spellings. Built by `Lexicon.build`."""

    words: list[Hashable]  # (W,) a word's number is its place here
    parents: Tensor  # (N,) NONE for the root
    units: Tensor  # (N,) the unit that leads to the node, NONE for the root
    children: Rows  # of each node: nodes
    ends: Rows  # of each node: the words that end there
    spellings: Tensor  # (S, 2) word and its last node, of each distinct pair

    @classmethod
    def build(cls, pairs: Iterable[tuple[Hashable, Sequence[int]]]) -> "Lexicon":
        """The lexicon of pairs (word, units of a spelling). Words are numbered as they first appear.

        Raises:
            ValueError: there is no pair, a spelling is empty, or one of its units is negative.
        """
        numbers: dict[Hashable, int] = {}
        owners: list[int] = []
        lengths: list[int] = []
        flat: list[int] = []
        for word, units in pairs:
            if len(units) == 0:
                raise ValueError(f"a spelling must have at least one unit, but that of {word!r} is empty")
            if min(units) < 0:
                raise ValueError(f"units must not be negative, got {list(units)} for {word!r}")
            owners.append(numbers.setdefault(word, len(numbers)))
            lengths.append(len(units))
            flat += units
        if not owners:
            raise ValueError("a lexicon must have at least one word, got none")
        tree = _Tree(torch.tensor(flat), torch.tensor(lengths))
        spellings = torch.stack([torch.tensor(owners), tree.last], dim=1).unique(dim=0)
        nodes = len(tree.parents)
        below_root = torch.arange(1, nodes)
        return cls(
            words=list(numbers),
            parents=tree.parents,
            units=tree.units,
            children=Rows.of(tree.parents[1:], below_root, nodes),
            ends=Rows.of(spellings[:, 1], spellings[:, 0], nodes),
            spellings=spellings,
        )

    def numbers(self) -> dict[Hashable, int]:
        """The number of each word."""
        return {word: number for number, word in enumerate(self.words)}

    def ancestors(self) -> tuple[Tensor, Tensor]:
        """The nodes strictly between the root and the last node of each spelling: words and nodes, each pair once."""
        words, nodes = self.spellings.unbind(dim=1)
        found = []
        while len(nodes):
            nodes = self.parents[nodes]
            inner = nodes != ROOT
            words, nodes = words[inner], nodes[inner]
            found.append(torch.stack([words, nodes], dim=1))
        words, nodes = torch.cat(found).unique(dim=0).unbind(dim=1)
        return words, nodes


class _Tree:
    """Numbers the prefixes of all spellings, one length after the other.

    Args:
        flat: the units of all spellings in a row.
        lengths: (S,) how many units each has.
    """

    def __init__(self, flat: Tensor, lengths: Tensor):
        starts = lengths.cumsum(0) - lengths
        symbols = int(flat.max()) + 1
        self.last = torch.zeros_like(lengths)  # (S,) the node that each spelling has come to
        parents, units = [torch.tensor([NONE])], [torch.tensor([NONE])]
        nodes = 1
        for place in range(int(lengths.max())):
            longer = (lengths > place).nonzero().squeeze(1)
            prefixes = self.last[longer] * symbols + flat[starts[longer] + place]
            new, numbers = torch.unique(prefixes, return_inverse=True)  # sorted, so by parent and then by unit
            self.last[longer] = nodes + numbers
            parents.append(new // symbols)
            units.append(new % symbols)
            nodes += len(new)
        self.parents, self.units = torch.cat(parents), torch.cat(units)


def with_repetitions(units: Sequence[int], repetitions: Sequence[int]) -> list[int]:
    """A spelling for ASG: a run of equal units becomes the unit and a symbol that says how often it is repeated.

    Args:
        units: the spelling.
        repetitions: the symbols for one repetition, two, and so on up to R; a longer run begins anew after R.

    With one symbol, `h e l l o` becomes `h e l 1 o`, and `l l l` becomes `l 1 l`.
    """
    written: list[int] = []
    repeated, latest = 0, None
    for unit in units:
        if unit == latest and repeated < len(repetitions):
            written[-1 if repeated else len(written) :] = [repetitions[repeated]]
            repeated += 1
        else:
            written.append(unit)
            repeated, latest = 0, unit
    return written


def without_repetitions(units: Sequence[int], repetitions: Sequence[int]) -> list[int]:
    """A spelling as it was before `with_repetitions`. A symbol that follows no unit stands for nothing."""
    counts = {symbol: count for count, symbol in enumerate(repetitions, 1)}
    plain: list[int] = []
    for unit in units:
        plain += plain[-1:] * counts[unit] if unit in counts else [unit]
    return plain
