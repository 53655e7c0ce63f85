"""The beam, frame by frame, for all sentences and hypotheses at once and without gradient.

A frame expands each hypothesis along the arcs of its place, merges candidates of the same (place, language model
state), drops those that are more than `threshold` below the sentence's best, and keeps the K best of the rest.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.lexicon import NONE, expand
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


class Spoken(NamedTuple):
    """Those among the arcs at which a word is paid for."""

    arcs: Tensor  # (M,)
    words: Tensor  # (M,)
    states: Tensor  # (M,) of the language model, before the word
    scores: Tensor  # (M,) of the language model


class Frame(NamedTuple):
    beam: Beam
    arcs: Arcs
    spoken: Spoken
    gold_outside: Tensor | None  # (B,) bool: no state of the watched gold is among the K best


class Gold(NamedTuple):
    """The states that the gold can be in, to be watched or kept."""

    keys: list[Tensor]  # of each frame, (G,) as `Problem.pack` makes them
    exists: Tensor  # (B,) bool: whether the sentence has any
    kept: bool  # whether they stay in the beam whatever their rank


class _Candidates(NamedTuple):
    sentences: Tensor  # (C,)
    sources: Tensor  # (C,) hypotheses
    places: Tensor  # (C,)
    keys: Tensor  # (C,)
    scores: Tensor  # (C,)
    counts: Tensor  # (B,)
    spoken: Spoken


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
    beam, merger = _first_beam(problem), Merger(problem.emissions.device)
    last_frames = set(problem.lengths.tolist())
    for t in range(max(last_frames, default=0)):
        found = _expand(problem, beam, t)
        frame = _select(problem, settings, merger, found, gold, t)
        yield frame
        beam = frame.beam


def _first_beam(problem: Problem) -> Beam:
    sentences = torch.arange(problem.batch_size, device=problem.emissions.device)
    start = torch.full_like(sentences, problem.reading.start)
    scores = problem.emissions.new_zeros(problem.batch_size)
    return Beam(sentences, torch.full_like(sentences, START), start, scores)


def _expand(problem: Problem, beam: Beam, t: int) -> _Candidates:
    """All that the hypotheses of the sentences that are longer than t frames can go on to."""
    graph, transitions = problem.graph, problem.weights.transitions
    going = problem.lengths > t
    degrees = graph.degrees.index_select(0, beam.places) * going.index_select(0, beam.sentences)
    sources, arcs = expand(graph.first_arcs.index_select(0, beam.places), degrees)
    places = graph.targets.index_select(0, arcs)
    sentences = beam.sentences.index_select(0, sources)
    units = graph.units.index_select(0, places)
    heard = problem.emissions[:, t].flatten().index_select(0, sentences * graph.unit_count + units)
    scores = beam.scores.index_select(0, sources) + heard
    if transitions is not None and t > 0:
        latest = (graph.units.index_select(0, beam.places) * graph.unit_count).index_select(0, sources)
        scores += transitions.flatten().index_select(0, latest + units)
    keys = (
        problem.pack(beam.sentences, torch.zeros_like(beam.states), beam.states).index_select(0, sources)
        + places * problem.reading.state_limit
    )

    words = graph.words.index_select(0, arcs)
    spoken = (words != NO_WORD).nonzero().squeeze(1)
    words = words.index_select(0, spoken)
    states = beam.states.index_select(0, sources.index_select(0, spoken))
    said = problem.reading.advance(states, words)
    scores.index_add_(0, spoken, problem.lm_terms(said.scores, word_score=True))
    keys.index_add_(0, spoken, said.states - states)
    counts = degrees.new_zeros(problem.batch_size).index_add_(0, beam.sentences, degrees)
    return _Candidates(sentences, sources, places, keys, scores, counts, Spoken(spoken, words, states, said.scores))


def _select(
    problem: Problem, settings: Settings, merger: Merger, found: _Candidates, gold: Gold | None, t: int
) -> Frame:
    """Merges the candidates, drops and keeps. The first candidate of a hypothesis stands for it."""
    count, keys = len(found.keys), found.keys
    if gold is not None:
        keys = torch.cat([keys, gold.keys[t]])  # so that they find the candidates that are in a gold state
    first = merger.first_of_equals(keys)
    totals = MERGES[settings.merge](found.scores, first[:count], count)
    best = _within_beam(settings, found, totals)
    outside = None
    if gold is not None:
        is_gold = torch.zeros(len(keys), dtype=torch.bool, device=keys.device)
        is_gold[first[count:]] = True
        inside = torch.zeros_like(gold.exists)
        inside[found.sentences[best[is_gold[best]]]] = True
        outside = gold.exists & (problem.lengths > t) & ~inside
        if gold.kept:
            is_gold = is_gold[:count] & (totals > -torch.inf)
            is_gold[best] = True
            best = is_gold.nonzero().squeeze(1)

    numbers = torch.full_like(found.keys, NONE)
    numbers[best] = torch.arange(len(best), device=best.device)
    targets = numbers.index_select(0, first[:count])  # (C,)
    alive = targets != NONE
    arcs = alive.nonzero().squeeze(1)
    beam = Beam(
        found.sentences.index_select(0, best),
        found.places.index_select(0, best),
        found.keys.index_select(0, best) % problem.reading.state_limit,
        totals.index_select(0, best),
    )
    said = found.spoken
    heard = alive.index_select(0, said.arcs).nonzero().squeeze(1)
    places = (alive.cumsum(0) - 1).index_select(0, said.arcs)
    spoken = Spoken(places, said.words, said.states, said.scores)
    return Frame(
        beam,
        Arcs(found.sources.index_select(0, arcs), targets.index_select(0, arcs), found.scores.index_select(0, arcs)),
        Spoken(*(column.index_select(0, heard) for column in spoken)),
        outside,
    )


def _within_beam(settings: Settings, found: _Candidates, totals: Tensor) -> Tensor:
    """The candidates that stand for the K best hypotheses within the threshold, in their order.

    Args:
        totals: (C,) scores of the hypotheses; -inf for a candidate that stands for none.
    """
    width, batch = int(found.counts.max()), len(found.counts)
    starts = found.counts.cumsum(0) - found.counts
    columns = torch.arange(len(totals), device=totals.device) - starts.index_select(0, found.sentences)
    table = totals.new_full((batch, width), -torch.inf)
    table.view(-1)[found.sentences * width + columns] = totals
    floors = totals.new_full((batch,), torch.finfo(totals.dtype).min)
    if width > settings.beam_size:
        floors = torch.maximum(floors, table.topk(settings.beam_size, sorted=False).values.amin(dim=1))
    if settings.threshold < math.inf:
        floors = torch.maximum(floors, table.amax(dim=1) - settings.threshold)
    kept = (totals >= floors.index_select(0, found.sentences)).nonzero().squeeze(1)
    owners = found.sentences.index_select(0, kept)
    if int(torch.bincount(owners, minlength=batch).max()) <= settings.beam_size:
        return kept
    return kept[_untied(totals.index_select(0, kept), owners, floors, settings.beam_size)]


def _untied(scores: Tensor, owners: Tensor, floors: Tensor, beam_size: int) -> Tensor:
    """Where several hypotheses tie for the last places, the first of them stay: (H,) bool."""
    tied = scores == floors[owners]
    ties = torch.bincount(owners[tied], minlength=len(floors))
    room = beam_size - torch.bincount(owners[~tied], minlength=len(floors))
    earlier = tied.cumsum(0) - (ties.cumsum(0) - ties)[owners]
    return ~tied | (earlier <= room[owners])
