"""The score of all that the beam kept: log-add over its complete hypotheses, and the share of each arc in it.

The search's scores are the forward sums. Going back through the frames, a hypothesis hands its share to those that it
came from, in proportion to what they brought:

    share(arc) = share(target) * exp(score(arc) - score(target))        share(source) = sum of share(its arcs)
"""

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.language_models import END
from seqsearch_fairseq.algorithms.beam_decoder.scoring import PathSum, Problem, WordTerms, log_add
from seqsearch_fairseq.algorithms.beam_decoder.search import Beam, Frame, Gold, Settings, first_beam, search
from seqsearch_fairseq.algorithms.beam_decoder.topologies import NO_WORD


class Lattice(NamedTuple):
    paths: PathSum
    gold_outside: Tensor  # (B,) bool: at some frame no state of the watched gold was among the K best


class Complete(NamedTuple):
    """The hypotheses that are complete at the last frame of their sentence."""

    places: Tensor  # (F,) in the frame's beam
    sentences: Tensor  # (F,)
    states: Tensor  # (F,) of the language model
    end_scores: Tensor  # (F,) of the language model
    scores: Tensor  # (F,) the end included


def complete(problem: Problem, beam: Beam, t: int, at_root: bool = True) -> Complete:
    """The hypotheses of sentences that end with frame t: the complete ones, or all if not `at_root`."""
    ending = problem.lengths[beam.sentences] == t + 1
    if at_root:
        ending &= problem.graph.at_root[beam.places]
    places = ending.nonzero().squeeze(1)
    states = beam.states[places]
    scores = problem.reading.scores(states, torch.full_like(states, END))
    total = beam.scores[places] + problem.lm_terms(scores, word_score=False)
    return Complete(places, beam.sentences[places], states, scores, total)


@torch.no_grad()
def beam_paths(problem: Problem, settings: Settings, gold: Gold | None, with_shares: bool) -> Lattice:
    """Searches, and sums over what is complete. `with_shares` is for the gradient."""
    last_frames = set(problem.lengths.tolist())
    frames: list[Frame] = []
    ends: dict[int, Complete] = {}
    inside: list[Tensor] = []  # of each frame
    for t, frame in enumerate(search(problem, settings, gold)):
        if frame.gold_inside is not None:
            inside.append(frame.gold_inside)
        if t + 1 in last_frames:
            ends[t] = complete(problem, frame.beam, t)
        if with_shares:
            frames.append(frame)
    outside = torch.zeros_like(problem.lengths, dtype=torch.bool)
    if gold is not None:
        frame_numbers = torch.arange(len(inside), device=outside.device).unsqueeze(1)
        outside = gold.exists & (~torch.stack(inside) & (frame_numbers < problem.lengths)).any(dim=0)
    finals = Complete(*(torch.cat(column) for column in zip(*ends.values(), strict=True)))
    scores = log_add(finals.scores, finals.sentences, problem.batch_size)
    shares = (finals.scores - scores[finals.sentences]).exp()
    at_end = WordTerms(finals.sentences, finals.states, torch.full_like(finals.states, END), finals.end_scores, shares)
    if not with_shares:
        return Lattice(PathSum(scores, at_end, None, None), outside)
    return Lattice(_with_shares(problem, frames, ends, scores, at_end), outside)


def _with_shares(
    problem: Problem, frames: list[Frame], ends: dict[int, Complete], scores: Tensor, at_end: WordTerms
) -> PathSum:
    graph, batch, units = problem.graph, problem.batch_size, problem.graph.unit_count
    transitions = None
    if problem.weights.transitions is not None:
        transitions = scores.new_zeros(batch * units * units)
    shares: list[Tensor] = []  # of the hypotheses of each frame, the last one first
    through: list[Tensor] = []  # of the arcs of each frame, likewise
    handed = None  # what the hypotheses of this frame get from those of the next
    for t in reversed(range(len(frames))):
        beam, arcs, _ = frames[t]
        own = torch.zeros_like(beam.scores) if handed is None else handed
        if t in ends:
            own.scatter_(0, ends[t].places, (ends[t].scores - scores[ends[t].sentences]).exp())
        passed = (arcs.scores - beam.scores.index_select(0, arcs.targets)).exp_()
        passed *= own.index_select(0, arcs.targets)
        shares.append(own)
        through.append(passed)
        if t == 0:
            break
        before = frames[t - 1].beam
        handed = torch.zeros_like(before.scores).index_add_(0, arcs.sources, passed)
        if transitions is not None:
            latest = graph.units.index_select(0, before.places) + units * before.sentences
            pairs = latest.index_select(0, arcs.sources) * units + graph.target_units.index_select(0, arcs.in_graph)
            transitions.index_add_(0, pairs, passed)
    said = _said(problem, frames, torch.cat(through[::-1]))
    words = WordTerms(*(torch.cat(column) for column in zip(said, at_end, strict=True)))
    return PathSum(
        scores=scores,
        words=words,
        units=_unit_shares(problem, frames, torch.cat(shares[::-1])),
        transitions=None if transitions is None else transitions.view(batch, units, units),
    )


def _said(problem: Problem, frames: list[Frame], through: Tensor) -> WordTerms:
    """The words of all arcs with a share; `through` (A,) are the shares of the arcs of all frames."""
    words = problem.graph.words.index_select(0, torch.cat([frame.arcs.in_graph for frame in frames]))
    counting = ((words != NO_WORD) & (through > 0)).nonzero().squeeze(1)
    first = first_beam(problem)
    befores = [first, *(frame.beam for frame in frames[:-1])]
    begins = itertools.accumulate((len(beam.scores) for beam in befores), initial=0)
    sources = torch.cat([frame.arcs.sources + begin for begin, frame in zip(begins, frames, strict=False)])
    sources, words = sources.index_select(0, counting), words.index_select(0, counting)
    states = torch.cat([beam.states for beam in befores]).index_select(0, sources)
    sentences = torch.cat([beam.sentences for beam in befores]).index_select(0, sources)
    scores = problem.reading.scores(states, words)
    return WordTerms(sentences, states, words, scores, through.index_select(0, counting))


def _unit_shares(problem: Problem, frames: list[Frame], shares: Tensor) -> Tensor:
    """(B, T, U) from the shares (H,) of the hypotheses of all frames."""
    batch, length, units = problem.emissions.shape
    sizes = torch.tensor([len(frame.beam.scores) for frame in frames], device=shares.device)
    frame_numbers = torch.arange(len(frames), device=shares.device).repeat_interleave(sizes, output_size=len(shares))
    sentences = torch.cat([frame.beam.sentences for frame in frames])
    reached = problem.graph.units.index_select(0, torch.cat([frame.beam.places for frame in frames]))
    cells = (sentences * length + frame_numbers) * units + reached
    return shares.new_zeros(batch * length * units).index_add_(0, cells, shares).view(batch, length, units)
