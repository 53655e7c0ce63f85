"""The beam, frame by frame, for all sentences and hypotheses at once and without gradient.

A frame expands each hypothesis along the arcs of its place, merges candidates of the same (place, language model
state), drops those that are more than `threshold` below the sentence's best, and keeps the K best of the rest.
"""

import itertools
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
    gold_inside: Tensor | None  # (B,) bool: a state of the watched gold is among the K best


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
def search(problem: Problem, settings: Settings, gold: Gold | None = None) -> Iterator[Frame]:
    """What each frame does. After its last frame a sentence has no hypotheses any more.

    Raises:
        ValueError: a setting breaks its rule.
    """
    settings.check()
    expansion, merger = Expansion(problem), Merger(problem.emissions.device)
    beam = first_beam(problem)
    for t in range(max(problem.lengths.tolist(), default=0)):
        frame = _frame(problem, settings, merger, expansion(beam, t), beam, None if gold is None else gold.keys[t], gold)
        yield frame
        beam = frame.beam


def _frame(
    problem: Problem,
    settings: Settings,
    merger: Merger,
    found: Candidates,
    before: Beam,
    gold_keys: Tensor | None,
    gold: Gold | None,
) -> Frame:
    """Merges the candidates, drops and keeps. The first candidate of a hypothesis stands for it."""
    count, numbers = len(found.keys), merger.numbers(len(found.keys))
    keys = found.keys if gold_keys is None else torch.cat([found.keys, gold_keys])
    first = merger.first_of_equals(keys)  # of gold keys too: the candidates that are in a gold state
    own = first[:count]
    totals = MERGES[settings.merge](found.scores, own, (own != numbers).nonzero().view(-1))
    kept = _within_beam(settings, found, before, totals, numbers)  # (C,) bool
    inside = None
    if gold is not None:
        in_gold = first[count:]
        in_gold = in_gold.masked_select(in_gold < count)
        owners = before.sentences.index_select(0, found.sources.index_select(0, in_gold))
        hits = kept.index_select(0, in_gold).long()
        inside = torch.zeros_like(problem.lengths).index_add_(0, owners, hits) > 0
        if gold.kept:
            kept.scatter_(0, in_gold, totals.index_select(0, in_gold) > -torch.inf)

    best = kept.nonzero().view(-1)  # (H,)
    in_graph, keys = found.in_graph.index_select(0, best), found.keys.index_select(0, best)
    beam = Beam(
        before.sentences.index_select(0, found.sources.index_select(0, best)),
        problem.graph.targets.index_select(0, in_graph),
        keys.bitwise_and_(problem.state_span - 1),
        totals.index_select(0, best),
    )
    through = kept.index_select(0, own).nonzero().view(-1)  # (A,) candidates
    ranks = torch.empty_like(own).scatter_(0, best, numbers[: len(best)])  # where no hypothesis is, no matter
    arcs = Arcs(
        found.sources.index_select(0, through),
        ranks.index_select(0, own.index_select(0, through)),
        found.scores.index_select(0, through),
        found.in_graph.index_select(0, through),
    )
    return Frame(beam, arcs, inside)


def _within_beam(
    settings: Settings, found: Candidates, before: Beam, totals: Tensor, numbers: Tensor
) -> Tensor:
    """Which candidates stand for the K best hypotheses within the threshold: (C,) bool.

    Args:
        totals: (C,) scores of the hypotheses; -inf for a candidate that stands for none.
    """
    table = _table(totals, found, before, numbers)  # (B, C of the largest)
    best = table if table.size(1) <= settings.beam_size else table.topk(settings.beam_size, sorted=False).values
    floors = totals.new_full((len(table), 1), torch.finfo(totals.dtype).min)
    if table.size(1) > settings.beam_size:
        floors = torch.maximum(floors, best.amin(dim=1, keepdim=True))
    if settings.threshold < math.inf and table.size(1):
        floors = torch.maximum(floors, best.amax(dim=1, keepdim=True) - settings.threshold)
    room = best >= floors  # at most K of each sentence
    floors = floors.view(-1)
    each = floors if len(table) == 1 else floors.index_select(0, before.sentences).index_select(0, found.sources)
    kept = totals >= each
    if int(kept.sum()) > int(room.sum()):
        _break_ties(kept, totals == each, found.counts, settings.beam_size)
    return kept


def _table(totals: Tensor, found: Candidates, before: Beam, numbers: Tensor) -> Tensor:
    """(B, C of the largest): the candidates of each sentence in a row, and -inf behind them."""
    counts = found.counts
    if len(counts) == 1:
        return totals.unsqueeze(0)
    width = max(counts)
    begins = itertools.accumulate(counts, initial=0)
    shift = torch.tensor([row * width - begin for row, begin in zip(range(len(counts)), begins, strict=False)])
    shift = shift.to(totals.device).index_select(0, before.sentences).index_select(0, found.sources)
    table = totals.new_full((len(counts) * width,), -torch.inf)
    return table.scatter_(0, shift.add_(numbers), totals).view(len(counts), width)


def _break_ties(kept: Tensor, tied: Tensor, counts: list[int], beam_size: int) -> None:
    """Where several hypotheses tie for the last places, the first of them stay; `kept` is changed in place."""
    for own, ties in zip(kept.split(counts), tied.split(counts), strict=True):
        room = beam_size - (own & ~ties).sum()
        own &= ~ties | (ties.cumsum(0) <= room)
