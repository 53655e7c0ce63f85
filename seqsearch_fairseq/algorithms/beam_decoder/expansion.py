"""All that the hypotheses of a frame can go on to: one candidate for each arc that leaves their places."""

from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.merging import Merger
from seqsearch_fairseq.algorithms.beam_decoder.scoring import Problem
from seqsearch_fairseq.algorithms.beam_decoder.topologies import START

TABLE = 1 << 15  # a language model with fewer pairs of state and word is tabled


class Beam(NamedTuple):
    """The hypotheses after a frame, those of a sentence side by side."""

    sentences: Tensor  # (H,)
    places: Tensor  # (H,)
    states: Tensor  # (H,) of the language model
    scores: Tensor  # (H,)


class Candidates(NamedTuple):
    """Those of a hypothesis stand side by side, in the order of the hypotheses."""

    sources: Tensor  # (C,) hypotheses
    in_graph: Tensor  # (C,) arcs
    keys: Tensor  # (C,) equal where two are the same hypothesis
    scores: Tensor  # (C,)
    counts: Tensor  # (B,)
    most: int  # of a sentence


def first_beam(problem: Problem) -> Beam:
    """Before the first frame."""
    sentences = torch.arange(problem.batch_size, device=problem.emissions.device)
    start = torch.full_like(sentences, problem.reading.start)
    scores = problem.emissions.new_zeros(problem.batch_size)
    return Beam(sentences, torch.full_like(sentences, START), start, scores)


class Expansion:
    """Makes the candidates; what all frames share is made once, and a frame's look-ups are as few as can be."""

    def __init__(self, problem: Problem, merger: Merger):
        graph, reading = problem.graph, problem.reading
        self.problem, self.merger = problem, merger
        self.shortest = min(problem.lengths.tolist(), default=0)
        self.frames = problem.emissions.transpose(0, 1).flatten(1).unbind()  # T times (B * U,)
        self.transitions = problem.transitions_of_arcs()  # (A,)
        self.speech: _Speech | None = None
        if reading.state_limit * (graph.word_count + 1) <= TABLE:
            self.speech = _speech(problem)

    def __call__(self, beam: Beam, t: int) -> Candidates:
        """Of the sentences that are longer than t frames."""
        problem, graph = self.problem, self.problem.graph
        degrees = graph.degrees.index_select(0, beam.places)
        if t >= self.shortest:
            degrees *= (problem.lengths > t).index_select(0, beam.sentences)
        ends = degrees.cumsum(0)
        alone = problem.batch_size == 1
        counts = ends[-1:] if alone else torch.zeros_like(problem.lengths).index_add_(0, beam.sentences, degrees)
        of_each = counts.tolist()
        total = sum(of_each)
        sources = torch.repeat_interleave(degrees, output_size=total)
        shift = graph.first_arcs.index_select(0, beam.places).sub_(ends).add_(degrees)
        in_graph = shift.index_select(0, sources).add_(self.merger.count(total))

        heard = graph.target_units.index_select(0, in_graph)
        if not alone:
            heard += (beam.sentences * graph.unit_count).index_select(0, sources)
        scores = self.frames[t].index_select(0, heard).add_(beam.scores.index_select(0, sources))
        if self.transitions is not None and t > 0:
            scores += self.transitions.index_select(0, in_graph)
        keys = problem.pack(beam.sentences, 0, beam.states).index_select(0, sources)
        keys += graph.targets.index_select(0, in_graph)
        self._speak(beam, sources, in_graph, scores, keys)
        return Candidates(sources, in_graph, keys, scores, counts, max(of_each))

    def _speak(self, beam: Beam, sources: Tensor, in_graph: Tensor, scores: Tensor, keys: Tensor) -> None:
        """Adds what words pay and where they lead to, in place."""
        graph = self.problem.graph
        if self.speech is not None:
            cells = (beam.states * (graph.word_count + 1)).index_select(0, sources)
            cells += self.speech.columns.index_select(0, in_graph)
            scores += self.speech.scores.index_select(0, cells)
            keys += self.speech.moves.index_select(0, cells)
            return
        spoken = graph.speaks.index_select(0, in_graph).nonzero().view(-1)
        if not len(spoken):
            return
        states = beam.states.index_select(0, sources.index_select(0, spoken))
        said = self.problem.reading.advance(states, graph.words.index_select(0, in_graph.index_select(0, spoken)))
        scores.index_add_(0, spoken, self.problem.lm_terms(said.scores, word_score=True))
        keys.index_add_(0, spoken, said.states.sub(states).mul_(graph.place_count))


class _Speech(NamedTuple):
    """All that a small language model can say: a row for each state, and in it a cell for no word and for each word."""

    columns: Tensor  # (A,) of each arc of the graph
    scores: Tensor  # (Q * (W + 1),) what a path pays
    moves: Tensor  # (Q * (W + 1),) the next state less this one, in a key


def _speech(problem: Problem) -> _Speech:
    count, states = problem.graph.word_count, problem.reading.state_limit
    words = torch.arange(count, device=problem.lengths.device).repeat(states)
    before = torch.arange(states, device=words.device).repeat_interleave(count)
    said = problem.reading.advance(before, words)
    scores = problem.lm_terms(said.scores, word_score=True)
    moves = (said.states - before) * problem.graph.place_count
    rows = (torch.nn.functional.pad(column.view(states, count), (1, 0)).flatten() for column in (scores, moves))
    return _Speech(problem.graph.words + 1, *rows)
