"""The score of all that the beam kept: log-add over its complete hypotheses, and the share of each arc in it.

The search's scores are the forward sums. Going back through the frames, a hypothesis hands its share to those that it
came from, in proportion to what they brought:

    share(arc) = share(target) * exp(score(arc) - score(target))        share(source) = sum of share(its arcs)
"""

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.expansion import Beam, first_beam
from seqsearch_fairseq.algorithms.beam_decoder.language_models import END
from seqsearch_fairseq.algorithms.beam_decoder.scoring import PathSum, Problem, WordTerms, log_add
from seqsearch_fairseq.algorithms.beam_decoder.search import Arcs, Frame, Gold, Settings, search


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
    inside: list[Tensor] = []  # of each frame: (G,)
    for t, frame in enumerate(search(problem, settings, gold)):
        if frame.gold_inside is not None:
            inside.append(frame.gold_inside)
        if t + 1 in last_frames:
            ends[t] = complete(problem, frame.beam, t)
        if with_shares:
            frames.append(frame)
    outside = torch.zeros_like(problem.lengths, dtype=torch.bool)
    if gold is not None:
        outside = gold.exists & (_seen(problem, gold, inside) < problem.lengths)
    finals = Complete(*(torch.cat(column) for column in zip(*ends.values(), strict=True)))
    scores = log_add(finals.scores, finals.sentences, problem.batch_size)
    shares = (finals.scores - scores[finals.sentences]).exp()
    at_end = WordTerms(finals.sentences, finals.states, torch.full_like(finals.states, END), finals.end_scores, shares)
    if not with_shares:
        return Lattice(PathSum(scores, at_end, None, None), outside)
    return Lattice(_with_shares(problem, frames, ends, scores, at_end), outside)


def _seen(problem: Problem, gold: Gold, inside: list[Tensor]) -> Tensor:
    """(B,) in how many frames a state of the gold was among the K best."""
    counts = torch.tensor([len(keys) for keys in inside], device=problem.lengths.device)
    found = torch.cat(inside).nonzero().view(-1)
    frame_numbers = torch.arange(len(inside), device=found.device).repeat_interleave(counts).index_select(0, found)
    of_sentence = problem.graph.place_count * problem.reading.state_limit
    sentences = torch.cat(gold.keys[: len(inside)]).index_select(0, found) // of_sentence
    hits = torch.zeros(len(inside), problem.batch_size, dtype=torch.bool, device=found.device)
    return hits.index_put_((frame_numbers, sentences), hits.new_ones(())).sum(dim=0)


class _Kept(NamedTuple):
    """The hypotheses before and after all frames, one frame behind the other, and all arcs between them."""

    beam: Beam  # (H,) those before the first frame among them
    arcs: Arcs  # (A,) their ends are numbered through all frames
    sizes: list[int]  # hypotheses before the first frame, after it, and so on
    arc_sizes: list[int]  # of each frame


def _kept(problem: Problem, frames: list[Frame]) -> _Kept:
    beams = [first_beam(problem), *(frame.beam for frame in frames)]
    sizes, arc_sizes = [len(beam.scores) for beam in beams], [len(frame.arcs.scores) for frame in frames]
    arcs = Arcs(*(torch.cat(column) for column in zip(*(frame.arcs for frame in frames), strict=True)))
    counts = torch.tensor(arc_sizes, device=arcs.scores.device)
    begins = torch.tensor([0, *itertools.accumulate(sizes)][: len(sizes)], device=counts.device)
    through = [begin.repeat_interleave(counts, output_size=len(arcs.scores)) for begin in (begins[:-1], begins[1:])]
    arcs = arcs._replace(sources=through[0].add_(arcs.sources), targets=through[1].add_(arcs.targets))
    return _Kept(Beam(*(torch.cat(column) for column in zip(*beams, strict=True))), arcs, sizes, arc_sizes)


def _with_shares(
    problem: Problem, frames: list[Frame], ends: dict[int, Complete], scores: Tensor, at_end: WordTerms
) -> PathSum:
    kept = _kept(problem, frames)
    beam, arcs = kept.beam, kept.arcs
    own = torch.zeros_like(beam.scores)  # (H,) the share of each hypothesis
    of_frames = own.split(kept.sizes)
    for t, final in ends.items():
        of_frames[t + 1].index_copy_(0, final.places, (final.scores - scores[final.sentences]).exp())
    # The share of each arc; at first among those to the same hypothesis.
    passed = arcs.scores.sub(beam.scores.index_select(0, arcs.targets)).exp_()
    of_arcs = passed.split(kept.arc_sizes)
    for t in reversed(range(len(frames))):
        sources, targets = frames[t].arcs[:2]
        of_arcs[t].mul_(of_frames[t + 1].index_select(0, targets))
        of_frames[t].index_add_(0, sources, of_arcs[t])
    said = _said(problem, kept, passed)
    return PathSum(
        scores=scores,
        words=WordTerms(*(torch.cat(column) for column in zip(said, at_end, strict=True))),
        units=_unit_shares(problem, kept, own),
        transitions=None if problem.weights.transitions is None else _transition_shares(problem, kept, passed),
    )


def _said(problem: Problem, kept: _Kept, passed: Tensor) -> WordTerms:
    """The words of all arcs with a share (A,)."""
    beam, arcs = kept.beam, kept.arcs
    counting = (problem.graph.speaks.index_select(0, arcs.in_graph) & (passed > 0)).nonzero().view(-1)
    words = problem.graph.words.index_select(0, arcs.in_graph.index_select(0, counting))
    sources = arcs.sources.index_select(0, counting)
    states = beam.states.index_select(0, sources)
    scores = problem.reading.scores(states, words)
    return WordTerms(beam.sentences.index_select(0, sources), states, words, scores, passed.index_select(0, counting))


def _unit_shares(problem: Problem, kept: _Kept, own: Tensor) -> Tensor:
    """(B, T, U) from the shares of the hypotheses (H,)."""
    batch, length, units = problem.emissions.shape
    first, sizes = kept.sizes[0], torch.tensor(kept.sizes[1:], device=own.device)
    own = own[first:]
    frame_numbers = torch.arange(len(sizes), device=own.device).repeat_interleave(sizes, output_size=len(own))
    cells = (kept.beam.sentences[first:] * length + frame_numbers) * units
    cells += problem.graph.units.index_select(0, kept.beam.places[first:])
    return own.new_zeros(batch * length * units).index_add_(0, cells, own).view(batch, length, units)


def _transition_shares(problem: Problem, kept: _Kept, passed: Tensor) -> Tensor:
    """(B, U, U) from the shares of the arcs (A,); those of the first frame pay for none."""
    units, first = problem.graph.unit_count, kept.arc_sizes[0]
    pairs = problem.graph.unit_pairs().index_select(0, kept.arcs.in_graph[first:])
    pairs += units * units * kept.beam.sentences.index_select(0, kept.arcs.sources[first:])
    counts = passed.new_zeros(problem.batch_size * units * units)
    return counts.index_add_(0, pairs, passed[first:]).view(problem.batch_size, units, units)
