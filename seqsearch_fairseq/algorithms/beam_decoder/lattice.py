"""The score of all that the beam kept: log-add over its complete hypotheses, and the share of each arc in it.

The search's scores are the forward sums. Going back through the frames, a hypothesis hands its share to those that it
came from, in proportion to what they brought:

    share(arc) = share(target) * exp(score(arc) - score(target))        share(source) = sum of share(its arcs)
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.language_models import END
from seqsearch_fairseq.algorithms.beam_decoder.scoring import PathSum, Problem, WordTerms, log_add
from seqsearch_fairseq.algorithms.beam_decoder.search import Beam, Frame, Gold, Settings, search


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
    outside = torch.zeros_like(problem.lengths, dtype=torch.bool)
    for t, frame in enumerate(search(problem, settings, gold)):
        if frame.gold_outside is not None:
            outside |= frame.gold_outside
        if t + 1 in last_frames:
            ends[t] = complete(problem, frame.beam, t)
        if with_shares:
            frames.append(frame)
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
    graph, batch, length, units = problem.graph, *problem.emissions.shape
    transitions = None
    if problem.weights.transitions is not None:
        transitions = scores.new_zeros(batch * units * units)
    said = []
    hypotheses = []  # of each frame: where a unit of the sentence is in (B, T, U), and the shares
    handed = None  # what the hypotheses of this frame get from those of the next
    for t in reversed(range(len(frames))):
        beam, arcs, spoken, _ = frames[t]
        shares = torch.zeros_like(beam.scores) if handed is None else handed
        if t in ends:
            shares.index_copy_(0, ends[t].places, (ends[t].scores - scores[ends[t].sentences]).exp())
        reached = graph.units.index_select(0, beam.places)
        hypotheses.append((beam.sentences * (length * units) + t * units + reached, shares))
        through = (arcs.scores - beam.scores.index_select(0, arcs.targets)).exp_()
        through *= shares.index_select(0, arcs.targets)
        owners = beam.sentences.index_select(0, arcs.targets.index_select(0, spoken.arcs))
        shares_said = through.index_select(0, spoken.arcs)
        said.append(WordTerms(owners, spoken.states, spoken.words, spoken.scores, shares_said))
        if t == 0:
            break
        before = frames[t - 1].beam
        handed = torch.zeros_like(before.scores).index_add_(0, arcs.sources, through)
        if transitions is not None:
            latest = graph.units[before.places] + units * before.sentences
            pairs = latest[arcs.sources] * units + reached[arcs.targets]
            transitions.index_add_(0, pairs, through)
    places, shares = (torch.cat(column) for column in zip(*hypotheses, strict=True))
    words = WordTerms(*(torch.cat(column) for column in zip(*said, at_end, strict=True)))
    counting = words.shares.nonzero().squeeze(1)  # the others are on no complete path
    return PathSum(
        scores=scores,
        words=WordTerms(*(column[counting] for column in words)),
        units=scores.new_zeros(batch * length * units).index_add_(0, places, shares).view(batch, length, units),
        transitions=None if transitions is None else transitions.view(batch, units, units),
    )
