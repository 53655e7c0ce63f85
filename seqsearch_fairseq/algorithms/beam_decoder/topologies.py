"""Which unit may follow which: CTC and ASG, as a graph over the prefix tree.

A place is a node n together with the unit x of the latest frame; hypotheses are at a place, in a state of the language
model. One frame emits one unit u, the unit of the place that is reached:

    1. on to a child c of n, of unit u other than x: to (c, u) if c has children; and for each word that ends at c, to
       (root, u), where the word is paid for
    2. the same unit again, x if there is one and it is not the blank: to (n, x)
    3. the silence, from the root: to (root, silence), once, where 2 leads there too
    4. CTC's blank: to (n, blank)

In CTC the blank parts two equal units; ASG has no blank, a doubled unit is written with repetition symbols
(`lexicon.with_repetitions`), and transitions score each pair of neighbours.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.lexicon import NONE, ROOT, Lexicon, Rows

NO_WORD = -1
START = 0  # the place before the first frame: the root, and no unit yet


@dataclass(frozen=True)
class Graph:
    """The places of a lexicon in a topology, and the arcs between them. Built by `ctc` or `asg`."""

    unit_count: int  # U
    word_count: int
    silence: int | None
    blank: int | None  # None in ASG, which has transitions
    units: Tensor  # (P,) the unit of the frame in which a place is reached, NONE for START
    at_root: Tensor  # (P,) bool: a hypothesis that ends here is complete
    nodes: Tensor  # (P,)
    first_arcs: Tensor  # (P,) the arcs that leave a place follow each other: the number of the first
    degrees: Tensor  # (P,) and how many there are
    targets: Tensor  # (A,) the place that an arc leads to
    target_units: Tensor  # (A,) the unit of that place
    words: Tensor  # (A,) the word that it pays for, or NO_WORD
    speaks: Tensor  # (A,) bool: whether there is one
    resting_places: Tensor  # (2,), (1,) or (0,): those at the root with the blank and with the silence
    inner_places: Rows  # of each word: the places of its spellings, those at the root left out
    last_places: Rows  # of each word: the places at the root where its spellings end

    @property
    def place_count(self) -> int:
        return len(self.units)

    def unit_pairs(self) -> Tensor:
        """(A,) u' * U + u of each arc: the unit that it leaves, any one for START, and the one that it leads to."""
        before = self.units.clamp(min=0).repeat_interleave(self.degrees, output_size=len(self.targets))
        return before * self.unit_count + self.target_units

    def to(self, device: torch.device) -> "Graph":
        """The graph on another device."""
        if self.units.device == device:
            return self
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                moved[field.name] = value.to(device)
            elif isinstance(value, Rows):
                moved[field.name] = Rows(*(part.to(device) for part in value))
        return replace(self, **moved)


def ctc(lexicon: Lexicon, unit_count: int, blank: int, silence: int | None = None) -> Graph:
    """The graph of a lexicon in CTC.

    Args:
        lexicon: its spellings do not hold the blank.
        unit_count: U, the blank among them.
        blank, silence: units; the silence may be part of spellings, and None is no silence.

    Raises:
        ValueError: a unit of a spelling is the blank, or not in [0, U); the same of `blank` and `silence`.
    """
    _check_unit("blank", blank, unit_count)
    if silence == blank:
        raise ValueError(f"`silence` must not be the blank, got {silence}")
    held = lexicon.units == blank
    if bool(held.any()):
        raise ValueError(f"a spelling must not hold the blank, unit {blank}, but that of {_word(lexicon, held)!r} does")
    return _build(lexicon, unit_count, blank, silence)


def asg(lexicon: Lexicon, unit_count: int, silence: int | None = None) -> Graph:
    """The graph of a lexicon in ASG; see `ctc`.

    Raises:
        ValueError: a spelling has the same unit twice in a row; a unit is not in [0, U).
    """
    doubled = (lexicon.units == lexicon.units[lexicon.parents]) & (lexicon.parents > ROOT)
    if bool(doubled.any()):
        raise ValueError(
            "in ASG a doubled unit must be written with a repetition symbol, but the spelling of "
            f"{_word(lexicon, doubled)!r} repeats unit {int(lexicon.units[doubled][0])}"
        )
    return _build(lexicon, unit_count, None, silence)


TOPOLOGIES = {"ctc": ctc, "asg": asg}


def _check_unit(name: str, unit: int, unit_count: int) -> None:
    if not 0 <= unit < unit_count:
        raise ValueError(f"`{name}` must be in [0, {unit_count - 1}], got {unit}")


def _word(lexicon: Lexicon, nodes: Tensor) -> object:
    """A word with one of the nodes in a spelling, for messages; nodes (N,) bool."""
    words, inner = lexicon.ancestors()
    last = lexicon.spellings[nodes[lexicon.spellings[:, 1]], 0]
    return lexicon.words[int(torch.cat([last, words[nodes[inner]]])[0])]


def _build(lexicon: Lexicon, unit_count: int, blank: int | None, silence: int | None) -> Graph:
    if silence is not None:
        _check_unit("silence", silence, unit_count)
    wrong = lexicon.units >= unit_count
    if bool(wrong.any()):
        raise ValueError(
            f"units must be in [0, {unit_count - 1}], but the spelling of {_word(lexicon, wrong)!r} has "
            f"{int(lexicon.units[wrong][0])}"
        )
    places = _places(lexicon, unit_count, blank, silence)
    arcs = _arcs(lexicon, places, blank, silence)
    degrees = torch.bincount(arcs.sources, minlength=len(places.nodes))
    words, inner = lexicon.ancestors()
    per_node = 1 if blank is None else 2
    inner_places = (places.of_node[inner].unsqueeze(1) + torch.arange(per_node)).flatten()
    word, last = lexicon.spellings.unbind(dim=1)
    ends = torch.stack([word, places.at_root[lexicon.units[last]]], dim=1).unique(dim=0)
    return Graph(
        unit_count=unit_count,
        word_count=len(lexicon.words),
        silence=silence,
        blank=blank,
        units=places.units,
        at_root=places.nodes == ROOT,
        nodes=places.nodes,
        first_arcs=degrees.cumsum(0) - degrees,
        degrees=degrees,
        targets=arcs.targets,
        target_units=places.units[arcs.targets],
        words=arcs.words,
        speaks=arcs.words != NO_WORD,
        resting_places=places.at_root[[unit for unit in (blank, silence) if unit is not None]],
        inner_places=Rows.of(words.repeat_interleave(per_node), inner_places, len(lexicon.words)),
        last_places=Rows.of(ends[:, 0], ends[:, 1], len(lexicon.words)),
    )


class _Places(NamedTuple):
    nodes: Tensor  # (P,)
    units: Tensor  # (P,)
    of_node: Tensor  # (N,) where the places of an inner node begin: that of its unit, in CTC then that of the blank
    at_root: Tensor  # (U,) the place at the root with each unit, NONE where there is none


def _places(lexicon: Lexicon, unit_count: int, blank: int | None, silence: int | None) -> _Places:
    """START, the other places at the root, then those of each node that has children."""
    at_root = torch.zeros(unit_count, dtype=torch.bool)
    at_root[lexicon.units[lexicon.spellings[:, 1]]] = True
    for unit in (blank, silence):
        if unit is not None:
            at_root[unit] = True
    root_units = at_root.nonzero().squeeze(1)
    of_unit = torch.full((unit_count,), NONE)
    of_unit[root_units] = 1 + torch.arange(len(root_units))

    inner = (lexicon.children.counts[1:] > 0).nonzero().squeeze(1) + 1
    inner_units = lexicon.units[inner].unsqueeze(1)
    if blank is not None:
        inner_units = torch.cat([inner_units, torch.full_like(inner_units, blank)], dim=1)
    begin = 1 + len(root_units)
    of_node = torch.full_like(lexicon.units, NONE)
    of_node[inner] = begin + inner_units.size(1) * torch.arange(len(inner))
    return _Places(
        nodes=torch.cat([torch.full((begin,), ROOT), inner.repeat_interleave(inner_units.size(1))]),
        units=torch.cat([torch.tensor([NONE]), root_units, inner_units.flatten()]),
        of_node=of_node,
        at_root=of_unit,
    )


class _Arcs(NamedTuple):
    sources: Tensor  # (A,)
    targets: Tensor  # (A,)
    words: Tensor  # (A,)

    @classmethod
    def without_word(cls, sources: Tensor, targets: Tensor) -> "_Arcs":
        return cls(sources, targets, torch.full_like(sources, NO_WORD))


def _arcs(lexicon: Lexicon, places: _Places, blank: int | None, silence: int | None) -> _Arcs:
    """The four moves, in the order of the place that they leave."""
    everywhere = torch.arange(len(places.nodes))
    source, child = lexicon.children.expand(places.nodes)
    allowed = lexicon.units[child] != places.units[source]
    source, child = source[allowed], child[allowed]
    on = places.of_node[child]
    has_children = on != NONE
    ending, word = lexicon.ends.expand(child)
    spoken = places.units >= 0
    if blank is not None:
        spoken &= places.units != blank
    moves = [
        _Arcs.without_word(source[has_children], on[has_children]),
        _Arcs(source[ending], places.at_root[lexicon.units[child[ending]]], word),
        _Arcs.without_word(everywhere[spoken], everywhere[spoken]),
    ]
    if silence is not None:
        elsewhere = everywhere[(places.nodes == ROOT) & (places.units != silence)]
        moves.append(_Arcs.without_word(elsewhere, places.at_root[silence].expand_as(elsewhere)))
    if blank is not None:
        at_blank = torch.where(places.nodes == ROOT, places.at_root[blank], places.of_node[places.nodes] + 1)
        moves.append(_Arcs.without_word(everywhere, at_blank))
    arcs = _Arcs(*(torch.cat(column) for column in zip(*moves, strict=True)))
    order = torch.argsort(arcs.sources, stable=True)
    return _Arcs(*(column[order] for column in arcs))
