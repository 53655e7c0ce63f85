"""The beam, frame by frame, for all sentences and hypotheses at once and without gradient.

A frame expands each hypothesis along the arcs of its place, merges candidates of the same (place, language model
state), drops those that are more than `threshold` below the sentence's best, and keeps the K best of the rest.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.expansion import Beam, Candidates, Expansion, first_beam
from seqsearch_fairseq.algorithms.beam_decoder.merging import MERGES, Merger
from seqsearch_fairseq.algorithms.beam_decoder.scoring import Problem


class Arcs(NamedTuple):
    """The arcs from the hypotheses of one frame to those of the next."""

    sources: Tensor  # (A,) hypotheses before the frame
    targets: Tensor  # (A,) hypotheses after it
    scores: Tensor  # (A,) of the paths through the arc, up to here
    in_graph: Tensor  # (A,) which arc of the graph it is


class Frame(NamedTuple):
    beam: Beam
    arcs: Arcs
    gold_inside: Tensor | None  # (G,) bool: which states of the watched gold are among the K best


class Gold(NamedTuple):
    """The states that the gold can be in, to be watched or kept."""

    keys: list[Tensor]  # of each frame, (G,) as `Problem.pack` makes them
    exists: Tensor  # (B,) bool: whether the sentence has any
    kept: bool  # whether they stay in the beam whatever their rank


class Settings(NamedTuple):
    beam_size: int  # K
    threshold: float = math.inf
    merge: str = "log-add"

    def check(self) -> None:
        """Raises ValueError where a setting breaks its rule."""
        if self.beam_size < 1:
            raise ValueError(f"`beam_size` must be at least 1, got {self.beam_size}")
        if not self.threshold >= 0:
            raise ValueError(f"`threshold` must be at least 0, got {self.threshold}")
        if self.merge not in MERGES:
            raise ValueError(f"`merge` must be one of {', '.join(MERGES)}, got {self.merge}")


@torch.no_grad()
def search(problem: Problem, settings: Settings, gold: Gold | None = None, best_arcs: bool = False) -> Iterator[Frame]:
    """What each frame does. After its last frame a sentence has no hypotheses any more.

    Args:
        gold: states to be watched.
        best_arcs: where hypotheses are merged by `max`: a frame has the best arc to each hypothesis only, in their
            order, of equal ones the first.

    Raises:
        ValueError: a setting breaks its rule.
    """
    settings.check()
    merger = Merger(problem.emissions.device, problem.key_limit)
    expansion = Expansion(problem, merger)
    beam = first_beam(problem)
    for t in range(max(problem.lengths.tolist(), default=0)):
        frame = _frame(problem, settings, merger, expansion(beam, t), beam, gold, t, best_arcs)
        yield frame
        beam = frame.beam


def _frame(
    problem: Problem,
    settings: Settings,
    merger: Merger,
    found: Candidates,
    before: Beam,
    gold: Gold | None,
    t: int,
    best_arcs: bool,
) -> Frame:
    """Merges the candidates, drops and keeps. The first candidate of a hypothesis stands for it."""
    count, keys, scores = len(found.keys), found.keys, found.scores
    if gold is not None:  # its keys go along, so that they find the candidates that are in a gold state
        keys = torch.cat([keys, gold.keys[t]])
        scores = torch.constant_pad_nd(scores, (0, len(keys) - count), -torch.inf)
    first = merger.first_of_equals(keys)
    own, in_gold = first[:count], first[count:]
    totals = MERGES[settings.merge](scores, first)
    kept = _within_beam(settings, merger, found, before, totals[:count])  # (C,) bool
    inside = None
    if gold is not None:
        kept = torch.constant_pad_nd(kept, (0, len(keys) - count))
        inside = kept.index_select(0, in_gold)
        if gold.kept:
            kept.scatter_(0, in_gold, totals.index_select(0, in_gold) > -torch.inf)

    best = kept.nonzero().view(-1)  # (H,)
    sentences = before.sentences.index_select(0, found.sources.index_select(0, best))
    places = problem.graph.targets.index_select(0, found.in_graph.index_select(0, best))
    states = keys.index_select(0, best).floor_divide_(problem.graph.place_count)
    states -= sentences * problem.reading.state_limit
    beam = Beam(sentences, places, states, totals.index_select(0, best))
    if best_arcs:
        return Frame(beam, _best_arcs(merger, found, own, best, totals), inside)
    return Frame(beam, _all_arcs(merger, found, own, best, kept), inside)


def _all_arcs(merger: Merger, found: Candidates, own: Tensor, best: Tensor, kept: Tensor) -> Arcs:
    """To the hypotheses that `best` (H,) of the candidates stand for."""
    through = kept.index_select(0, own).nonzero().view(-1)  # (A,) candidates
    ranks = torch.empty_like(own).scatter_(0, best, merger.count(len(best)))  # elsewhere nobody looks
    return Arcs(
        found.sources.index_select(0, through),
        ranks.index_select(0, own.index_select(0, through)),
        found.scores.index_select(0, through),
        found.in_graph.index_select(0, through),
    )


def _best_arcs(merger: Merger, found: Candidates, own: Tensor, best: Tensor, totals: Tensor) -> Arcs:
    """To each hypothesis the largest, of equal ones the first, where merging is by `max`."""
    count = len(own)
    places = torch.where(found.scores == totals.index_select(0, own), merger.count(count), count)
    through = torch.full_like(own, count).scatter_reduce_(0, own, places, "amin").index_select(0, best)  # (H,)
    sources, in_graph = found.sources.index_select(0, through), found.in_graph.index_select(0, through)
    return Arcs(sources, merger.count(len(best)), found.scores.index_select(0, through), in_graph)


def _within_beam(settings: Settings, merger: Merger, found: Candidates, before: Beam, totals: Tensor) -> Tensor:
    """Which candidates stand for the K best hypotheses within the threshold: (C,) bool.

    Args:
        totals: (C,) scores of the hypotheses; -inf for a candidate that stands for none.
    """
    beam_size, lowest = settings.beam_size, torch.finfo(totals.dtype).min
    batch, width = len(found.counts), found.most
    if width <= beam_size and settings.threshold == math.inf:
        return totals >= lowest
    cells, table = None, totals.unsqueeze(0)  # (B, C of the largest), -inf behind a sentence's own
    if batch > 1:
        shift = merger.count(batch) * width - found.counts.cumsum(0) + found.counts
        cells = shift.index_select(0, before.sentences).index_select(0, found.sources)
        cells += merger.count(len(totals))
        table = totals.new_full((batch * width,), -torch.inf).scatter_(0, cells, totals).view(batch, width)
    floors = totals.new_full((1, 1), lowest)
    if width > beam_size:
        floors = table.topk(beam_size, dim=1, sorted=False).values.amin(dim=1, keepdim=True).clamp_(min=lowest)
    if settings.threshold < math.inf and width:
        floors = torch.maximum(floors, table.amax(dim=1, keepdim=True) - settings.threshold)
    kept = table >= floors
    tied = width > beam_size and int(kept.sum() if batch == 1 else kept.sum(dim=1).amax()) > beam_size
    kept = kept.view(-1)
    if cells is not None:
        kept = kept.index_select(0, cells)
    if tied:
        own_floors = floors.view(-1).index_select(0, before.sentences).index_select(0, found.sources)
        _break_ties(kept, totals == own_floors, found.counts.tolist(), beam_size)
    return kept


def _break_ties(kept: Tensor, tied: Tensor, counts: list[int], beam_size: int) -> None:
    """Where several hypotheses tie for the last places, the first of them stay; `kept` is changed in place."""
    for own, ties in zip(kept.split(counts), tied.split(counts), strict=True):
        room = beam_size - (own & ~ties).sum()
        own &= ~ties | (ties.cumsum(0) <= room)
