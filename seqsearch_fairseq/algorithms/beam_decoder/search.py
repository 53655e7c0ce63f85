"""The beam, frame by frame, for all sentences and hypotheses at once and without gradient.

A frame expands each hypothesis along the arcs of its place, merges candidates of the same (place, language model
state), drops those that are more than `threshold` below the sentence's best, and keeps the K best of the rest.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.lexicon import NONE
from seqsearch_fairseq.algorithms.beam_decoder.merging import Merger
from seqsearch_fairseq.algorithms.beam_decoder.scoring import Problem, log_add, maximum
from seqsearch_fairseq.algorithms.beam_decoder.topologies import NO_WORD, START

MERGES: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {"log-add": log_add, "max": maximum}


class Beam(NamedTuple):
    """The hypotheses after a frame, those of a sentence side by side."""

    sentences: Tensor  # (H,)
    places: Tensor  # (H,)
    states: Tensor  # (H,) of the language model
    scores: Tensor  # (H,)


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


class _Candidates(NamedTuple):
    sources: Tensor  # (C,) hypotheses
    in_graph: Tensor  # (C,) arcs
    keys: Tensor  # (C,)
    scores: Tensor  # (C,)
    rows: Tensor  # (C,) the sentences' candidates as rows of a table: the place in it
    counts: Tensor  # (B,)


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
    expansion, merger = _Expansion(problem), Merger(problem.emissions.device)
    beam = first_beam(problem)
    last_frames = set(problem.lengths.tolist())
    for t in range(max(last_frames, default=0)):
        frame = _select(problem, settings, merger, expansion(beam, t), beam, gold, t)
        yield frame
        beam = frame.beam


def first_beam(problem: Problem) -> Beam:
    """Before the first frame."""
    sentences = torch.arange(problem.batch_size, device=problem.emissions.device)
    start = torch.full_like(sentences, problem.reading.start)
    scores = problem.emissions.new_zeros(problem.batch_size)
    return Beam(sentences, torch.full_like(sentences, START), start, scores)


class _Expansion:
    """All that the hypotheses of the sentences that are longer than t frames can go on to."""

    def __init__(self, problem: Problem):
        self.problem = problem
        self.shortest = min(problem.lengths.tolist(), default=0)
        self.target_keys = problem.graph.targets * problem.reading.state_limit  # (A,)
        self.numbers = torch.empty(0, dtype=torch.long)

    def __call__(self, beam: Beam, t: int) -> _Candidates:
        problem, graph = self.problem, self.problem.graph
        degrees = graph.degrees.index_select(0, beam.places)
        if t >= self.shortest:
            degrees = degrees * (problem.lengths > t).index_select(0, beam.sentences)
        ends = degrees.cumsum(0)
        total = int(ends[-1]) if len(ends) else 0
        sources = torch.repeat_interleave(degrees, output_size=total)
        numbers = self._numbers(total, sources.device)
        in_graph = (graph.first_arcs.index_select(0, beam.places) - ends + degrees).index_select(0, sources) + numbers

        units = graph.target_units.index_select(0, in_graph)
        heard = (beam.sentences * graph.unit_count).index_select(0, sources) + units
        scores = problem.emissions[:, t].flatten().index_select(0, heard) + beam.scores.index_select(0, sources)
        if problem.weights.transitions is not None and t > 0:
            latest = (graph.units.index_select(0, beam.places) * graph.unit_count).index_select(0, sources)
            scores += problem.weights.transitions.flatten().index_select(0, latest + units)
        keys = problem.pack(beam.sentences, torch.zeros_like(beam.states), beam.states).index_select(0, sources)
        keys += self.target_keys.index_select(0, in_graph)
        self._speak(beam, sources, in_graph, scores, keys)

        counts = torch.zeros_like(problem.lengths).index_add_(0, beam.sentences, degrees)
        firsts = counts.cumsum(0) - counts
        width = int(counts.max())
        shift = torch.arange(0, width * len(counts), width, device=counts.device) if width else counts
        rows = (shift - firsts).index_select(0, beam.sentences).index_select(0, sources) + numbers
        return _Candidates(sources, in_graph, keys, scores, rows, counts)

    def _numbers(self, total: int, device: torch.device) -> Tensor:
        """0, 1, 2, ..."""
        if total > len(self.numbers):
            self.numbers = torch.arange(2 * total, device=device)
        return self.numbers[:total]

    def _speak(self, beam: Beam, sources: Tensor, in_graph: Tensor, scores: Tensor, keys: Tensor) -> None:
        """Adds what words pay and where they lead to, in place."""
        words = self.problem.graph.words.index_select(0, in_graph)
        spoken = (words != NO_WORD).nonzero().squeeze(1)
        states = beam.states.index_select(0, sources.index_select(0, spoken))
        said = self.problem.reading.advance(states, words.index_select(0, spoken))
        scores.index_add_(0, spoken, self.problem.lm_terms(said.scores, word_score=True))
        keys.index_add_(0, spoken, said.states - states)


def _select(
    problem: Problem, settings: Settings, merger: Merger, found: _Candidates, before: Beam, gold: Gold | None, t: int
) -> Frame:
    """Merges the candidates, drops and keeps. The first candidate of a hypothesis stands for it."""
    count, keys = len(found.keys), found.keys
    if gold is not None:
        keys = torch.cat([keys, gold.keys[t]])  # so that they find the candidates that are in a gold state
    first = merger.first_of_equals(keys)
    own = first[:count]
    totals = MERGES[settings.merge](found.scores, own, count)
    best, sentences = _within_beam(settings, found, totals)
    inside = None
    if gold is not None:
        is_gold = torch.zeros_like(keys, dtype=torch.bool).index_fill_(0, first[count:], True)
        hits = torch.zeros_like(found.counts).index_add_(0, sentences, is_gold.index_select(0, best).long())
        inside = hits > 0
        if gold.kept:
            kept = (is_gold[:count] & (totals > -torch.inf)).index_fill_(0, best, True)
            best = kept.nonzero().squeeze(1)
            sentences = before.sentences.index_select(0, found.sources.index_select(0, best))

    places = problem.graph.targets.index_select(0, found.in_graph.index_select(0, best))
    states = found.keys.index_select(0, best) % problem.reading.state_limit
    numbers = torch.full_like(own, NONE).scatter_(0, best, torch.arange(len(best), device=best.device))
    targets = numbers.index_select(0, own)  # (C,)
    arcs = (targets != NONE).nonzero().squeeze(1)
    return Frame(
        Beam(sentences, places, states, totals.index_select(0, best)),
        Arcs(*(column.index_select(0, arcs) for column in (found.sources, targets, found.scores, found.in_graph))),
        inside,
    )


def _within_beam(settings: Settings, found: _Candidates, totals: Tensor) -> tuple[Tensor, Tensor]:
    """The candidates that stand for the K best hypotheses within the threshold, in their order; and their sentences.

    Args:
        totals: (C,) scores of the hypotheses; -inf for a candidate that stands for none.
    """
    batch = len(found.counts)
    width = int(found.counts.max())
    table = totals.new_full((batch * width,), -torch.inf).scatter_(0, found.rows, totals).view(batch, width)
    floors = totals.new_full((batch,), torch.finfo(totals.dtype).min)
    if width > settings.beam_size:
        floors = torch.maximum(floors, table.topk(settings.beam_size, sorted=False).values.amin(dim=1))
    if settings.threshold < math.inf and width:
        floors = torch.maximum(floors, table.amax(dim=1) - settings.threshold)
    kept = table >= floors.unsqueeze(1)
    owners, columns = kept.nonzero().unbind(dim=1)
    firsts = found.counts.cumsum(0) - found.counts
    best = columns + firsts.index_select(0, owners)
    if len(best) <= settings.beam_size or int(kept.sum(dim=1).max()) <= settings.beam_size:
        return best, owners
    untied = _untied(totals.index_select(0, best), owners, floors, settings.beam_size)
    return best[untied], owners[untied]


def _untied(scores: Tensor, owners: Tensor, floors: Tensor, beam_size: int) -> Tensor:
    """Where several hypotheses tie for the last places, the first of them stay: (H,) bool."""
    tied = scores == floors[owners]
    ties = torch.bincount(owners[tied], minlength=len(floors))
    room = beam_size - torch.bincount(owners[~tied], minlength=len(floors))
    earlier = tied.cumsum(0) - (ties.cumsum(0) - ties)[owners]
    return ~tied | (earlier <= room[owners])
