"""The n best word sequences of what the beam kept.

Hypotheses are merged by (place, language model state), so one may stand for several word sequences. Each therefore
carries its n best histories, a history being the words so far with the score of its own paths alone:

    max:      of its best path. The list holds the n best word sequences of all that the beam kept.
    log-add:  of all its paths. What a history loses where it is not among the n best of a hypothesis is not in its
              score, so the list and its scores are exact where n is as large as the histories are many.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.expansion import Beam
from seqsearch_fairseq.algorithms.beam_decoder.language_models import LanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.lattice import Complete, complete
from seqsearch_fairseq.algorithms.beam_decoder.lexicon import expand
from seqsearch_fairseq.algorithms.beam_decoder.merging import FACTORS, MERGES, SPAN, Merger
from seqsearch_fairseq.algorithms.beam_decoder.scoring import Problem, Weights, build_problem, maximum
from seqsearch_fairseq.algorithms.beam_decoder.search import Frame, Settings, search
from seqsearch_fairseq.algorithms.beam_decoder.topologies import NO_WORD, Graph


class Hypothesis(NamedTuple):
    words: list[int]  # numbers of the lexicon
    score: float  # of the merged paths (log-add) or of the best one (max), the end of the sentence included
    units: list[int]  # of each frame on its best path, blank and silence among them


class _Histories(NamedTuple):
    """What the hypotheses of a frame carry, those of a hypothesis side by side."""

    owners: Tensor  # (E,) hypotheses
    hashes: Tensor  # (E,) equal where the words are equal
    scores: Tensor  # (E,)


class _Step(NamedTuple):
    """How histories came to be, for the way back."""

    sources: Tensor  # (E,) histories before the frame
    in_graph: Tensor  # (E,) the arc that each came by


class _End(NamedTuple):
    """The best histories of the sentences that end with a frame, the best of a sentence first."""

    sentences: list[int]  # each of length F
    scores: list[float]
    histories: Tensor  # (F,)


@torch.no_grad()
def decode(
    emissions: Tensor,
    lengths: Tensor,
    graph: Graph,
    language_model: LanguageModel,
    weights: Weights,
    settings: Settings,
    n_best: int = 1,
) -> list[list[Hypothesis]]:
    """The best word sequences of each sentence, best first; none where the beam holds no complete hypothesis.

    Args:
        emissions: (B, T, U) f.
        lengths: (B,) frames of each sentence, in [1, T].
        graph: of lexicon and topology.
        weights: of the terms; with transitions in ASG.
        settings: the beam, and whether hypotheses are merged by `log-add` or `max`.
        n_best: at most so many for each sentence, all with different words.

    Raises:
        ValueError: an argument breaks its rule, or an emission is NaN or +inf.
    """
    if n_best < 1:
        raise ValueError(f"`n_best` must be at least 1, got {n_best}")
    settings.check()
    problem = build_problem(emissions, lengths, graph, language_model, weights)
    if not bool(problem.offsets.isfinite().all()):
        wrong = (~problem.offsets.isfinite()).nonzero().squeeze(1).tolist()
        raise ValueError(f"`emissions` must be below infinity and not NaN, but those of sentences {wrong} are not")
    last_frames = set(problem.lengths.tolist())
    choice = _Choice(settings.merge, n_best, problem.emissions.device)
    steps: list[_Step] = []
    ends: dict[int, _End] = {}
    before = torch.zeros_like(problem.offsets)  # scores of the hypotheses before the frame
    everyone = torch.arange(len(before), device=before.device)
    histories = _Histories(everyone, torch.zeros_like(everyone), before)
    for t, frame in enumerate(search(problem, settings, best_arcs=choice.best_path)):
        histories, step = _advance(problem, choice, histories, before, frame)
        before = frame.beam.scores
        steps.append(step)
        if t + 1 in last_frames:
            ends[t] = _end(problem, choice, histories, frame.beam, complete(problem, frame.beam, t))
    return _follow_back(problem, steps, ends)


class _Choice:
    """Which of many histories stay."""

    def __init__(self, merge: str, n_best: int, device: torch.device):
        self.merge, self.n_best, self.merger = merge, n_best, Merger(device, 1 << SPAN)
        self.best_path = n_best == 1 and merge == "max"  # histories need not be told apart

    def __call__(self, found: _Histories, count: int) -> tuple[_Histories, Tensor]:
        """Merges equal histories of each of `count` owners, and keeps the n best; and the best part of each (E,)."""
        candidates = len(found.owners)
        if self.best_path:
            parts = _first_largest(found.scores, found.owners, count)
            parts = parts[parts < candidates]
            return _Histories(*(column.index_select(0, parts) for column in found)), parts
        first = self.merger.first_of_equals(found.hashes * FACTORS[1] + found.owners)
        totals = MERGES[self.merge](found.scores, first)
        if self.n_best == 1:
            kept = _first_largest(totals, found.owners, count)
            kept = kept[kept < candidates]
        else:
            kept = _largest(totals, found.owners, self.n_best)
        parts = _first_largest(found.scores, first, candidates).index_select(0, kept)
        owners, hashes = found.owners.index_select(0, kept), found.hashes.index_select(0, kept)
        return _Histories(owners, hashes, totals.index_select(0, kept)), parts


def _first_largest(scores: Tensor, owners: Tensor, count: int) -> Tensor:
    """Where the largest of the scores (C,) of each of `count` owners is, the first where they tie; C without any."""
    places = torch.arange(len(scores), device=scores.device)
    largest = scores == maximum(scores, owners, count).index_select(0, owners)
    places = places.masked_fill_(~largest, len(scores))
    return places.new_full((count,), len(scores)).scatter_reduce_(0, owners, places, "amin")


def _largest(scores: Tensor, owners: Tensor, n: int) -> Tensor:
    """Where the n largest scores of each owner are, -inf left out; owner by owner, the largest first."""
    order = scores.argsort(descending=True, stable=True)
    order = order[scores.index_select(0, order) > -torch.inf]
    order = order[owners.index_select(0, order).argsort(stable=True)]
    counts = torch.bincount(owners.index_select(0, order))
    firsts = (counts.cumsum(0) - counts).index_select(0, owners.index_select(0, order))
    return order[torch.arange(len(order), device=order.device) - firsts < n]


def _advance(
    problem: Problem, choice: _Choice, histories: _Histories, before: Tensor, frame: Frame
) -> tuple[_Histories, _Step]:
    """Takes the histories along the arcs of a frame; `before` are the scores of the hypotheses that the arcs leave."""
    arcs, beam = frame.arcs, frame.beam
    if choice.best_path:  # a hypothesis is the history that it has, and has one arc
        return _Histories(arcs.targets, arcs.targets, beam.scores), _Step(arcs.sources, arcs.in_graph)
    if choice.n_best == 1:  # each hypothesis has one history
        through, sources = torch.arange(len(arcs.sources), device=before.device), arcs.sources
    else:
        counts = torch.bincount(histories.owners, minlength=len(before))
        starts = counts.cumsum(0) - counts
        through, sources = expand(starts.index_select(0, arcs.sources), counts.index_select(0, arcs.sources))
    paid = (arcs.scores - before.index_select(0, arcs.sources)).index_select(0, through)
    in_graph = arcs.in_graph.index_select(0, through)
    words = problem.graph.words.index_select(0, in_graph)
    hashes = histories.hashes.index_select(0, sources)
    found = _Histories(
        arcs.targets.index_select(0, through),
        torch.where(words == NO_WORD, hashes, hashes * FACTORS[0] + words + 1),
        histories.scores.index_select(0, sources) + paid,
    )
    kept, parts = choice(found, len(beam.scores))
    return kept, _Step(sources.index_select(0, parts), in_graph.index_select(0, parts))


def _end(problem: Problem, choice: _Choice, histories: _Histories, beam: Beam, finals: Complete) -> _End:
    """Merges the histories of all complete hypotheses of a sentence."""
    paid = torch.full_like(beam.scores, -torch.inf)
    paid[finals.places] = finals.scores - beam.scores[finals.places]
    paid = paid[histories.owners]
    complete_ones = (paid > -torch.inf).nonzero().squeeze(1)
    found = _Histories(
        beam.sentences[histories.owners[complete_ones]],
        histories.hashes[complete_ones],
        (histories.scores + paid)[complete_ones],
    )
    kept, parts = choice(found, problem.batch_size)
    scores = kept.scores + problem.offsets[kept.owners]
    return _End(kept.owners.tolist(), scores.tolist(), complete_ones[parts])


def _follow_back(problem: Problem, steps: list[_Step], ends: dict[int, _End]) -> list[list[Hypothesis]]:
    found: list[list[Hypothesis]] = [[] for _ in range(problem.batch_size)]
    rows: list[Hypothesis] = []
    here = problem.lengths[:0]  # the histories of `rows` at this frame
    passed: list[Tensor] = []  # the arcs that they came by, of each frame
    for t in reversed(range(len(steps))):
        if t in ends:
            for sentence, score in zip(ends[t].sentences, ends[t].scores, strict=True):
                rows.append(Hypothesis([], score, []))
                found[sentence].append(rows[-1])
            here = torch.cat([here, ends[t].histories])
        passed.append(steps[t].in_graph.index_select(0, here))
        here = steps[t].sources.index_select(0, here)
    for arcs in reversed(passed):
        words, units = problem.graph.words[arcs], problem.graph.target_units[arcs]
        for row, word, unit in zip(rows, words.tolist(), units.tolist(), strict=False):
            row.units.append(unit)
            if word != NO_WORD:
                row.words.append(word)
    return found
