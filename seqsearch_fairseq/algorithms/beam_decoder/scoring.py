"""What a path scores: emissions, weights, and the score of many paths together with its gradient.

The gradient of a log-add over paths is what the paths expect: the share of each arc among them, all weighed by exp(s).
So searches and sums run without gradient; they give the log-add and the shares, and `with_gradient` joins these to the
tensors that were scored.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqsearch_fairseq.algorithms.beam_decoder.language_models import END, LanguageModel, Reading
from seqsearch_fairseq.algorithms.beam_decoder.merging import NOTHING, SPAN
from seqsearch_fairseq.algorithms.beam_decoder.topologies import Graph


class Weights(NamedTuple):
    """The weights of a path's terms, each a number or a tensor with one, which may have a gradient."""

    lm: Tensor | float = 1.0
    word: Tensor | float = 0.0
    silence: Tensor | float = 0.0
    transitions: Tensor | None = None  # (U, U) g[u', u] of ASG


class Problem(NamedTuple):
    """Sentences to be searched, without gradient."""

    emissions: Tensor  # (B, T, U) f, less the largest of each frame, and with the silence score
    offsets: Tensor  # (B,) the sum of these largest ones
    lengths: Tensor  # (B,) frames
    graph: Graph
    reading: Reading
    weights: Weights

    @property
    def batch_size(self) -> int:
        return len(self.lengths)

    @property
    def key_limit(self) -> int:
        """All numbers of hypotheses are below."""
        return self.batch_size * self.graph.place_count * self.reading.state_limit

    def pack(self, sentences: Tensor, places: Tensor | int, states: Tensor) -> Tensor:
        """One number for each hypothesis; equal ones are merged."""
        return (sentences * self.reading.state_limit + states) * self.graph.place_count + places

    def transitions_of_arcs(self) -> Tensor | None:
        """(A,) g of each arc of the graph, in ASG; what leaves START pays nothing, and here any number."""
        if self.weights.transitions is None:
            return None
        return self.weights.transitions.flatten().index_select(0, self.graph.unit_pairs())

    def lm_terms(self, scores: Tensor, word_score: bool) -> Tensor:
        """What language model scores add to a path, with those of words the word score."""
        terms = self.weights.lm * scores.to(self.emissions.dtype)
        return terms + self.weights.word if word_score else terms


@torch.no_grad()
def build_problem(
    emissions: Tensor, lengths: Tensor, graph: Graph, language_model: LanguageModel, weights: Weights
) -> Problem:
    """Checks what it gets.

    Raises:
        ValueError: shapes or lengths do not fit; transitions are missing in ASG, or are there in CTC.
    """
    units = graph.unit_count
    if emissions.dim() != 3 or emissions.size(2) != units:
        raise ValueError(f"`emissions` must be (B, T, {units}), got {tuple(emissions.shape)}")
    if lengths.shape != emissions.shape[:1]:
        raise ValueError(f"`lengths` must be ({len(emissions)},), got {tuple(lengths.shape)}")
    if len(lengths) and not 1 <= int(lengths.min()) <= int(lengths.max()) <= emissions.size(1):
        raise ValueError(f"`lengths` must be in [1, {emissions.size(1)}], got {lengths.tolist()}")
    if (weights.transitions is None) != (graph.blank is not None):
        raise ValueError("`weights.transitions` must be given in ASG, and must be None in CTC")
    if weights.transitions is not None and weights.transitions.shape != (units, units):
        raise ValueError(f"`weights.transitions` must be {(units, units)}, got {tuple(weights.transitions.shape)}")
    reading = language_model.begin()
    if len(lengths) * graph.place_count * reading.state_limit >= 1 << SPAN:
        raise ValueError(f"the batch of {len(lengths)} sentences is too large for {graph.place_count} places")
    wide = emissions.detach().to(torch.promote_types(emissions.dtype, torch.float32))
    peaks = wide.amax(dim=2)  # (B, T)
    peaks = peaks.masked_fill(peaks == -torch.inf, 0.0)
    seen = torch.arange(wide.size(1), device=wide.device) < lengths.unsqueeze(1)
    offsets = peaks.masked_fill(~seen, 0.0).sum(dim=1)
    plain = Weights(*(_constant(weight, wide) for weight in weights))
    wide = wide - peaks.unsqueeze(2)
    if graph.silence is not None:
        wide[:, :, graph.silence] += plain.silence
    return Problem(wide, offsets, lengths, graph.to(wide.device), reading, plain)


def _constant(weight: Tensor | float | None, like: Tensor):
    if not isinstance(weight, Tensor):
        return weight
    weight = weight.detach().to(like)
    return weight if weight.dim() == 2 else weight.reshape(())


def log_add(scores: Tensor, owners: Tensor, count: int) -> Tensor:
    """The log-add of the scores (C,) of each of `count` owners (C,); -inf for one without any."""
    peaks = maximum(scores, owners, count)
    finite = peaks.clamp(min=torch.finfo(scores.dtype).min)
    shares = (scores - finite.index_select(0, owners)).exp_()
    sums = torch.zeros_like(peaks).index_add_(0, owners, shares)  # at least 1 where there is a score
    return sums.clamp_(min=1.0).log_().add_(peaks)


def log_add_columns(scores: Tensor) -> Tensor:
    """The log-add of each column of scores (D, N), which are overwritten: (N,). -inf where all are, or D is 0."""
    if len(scores) == 0:
        return scores.new_full(scores.shape[1:], -torch.inf)
    peaks = scores.amax(dim=0)
    gaps = scores.sub_(peaks.clamp(min=torch.finfo(scores.dtype).min)).clamp_(min=NOTHING)
    return gaps.exp_().sum(dim=0).log_().add_(peaks)


def maximum(scores: Tensor, owners: Tensor, count: int) -> Tensor:
    """The largest score of each of `count` owners; -inf for one without any."""
    return scores.new_full((count,), -torch.inf).scatter_reduce_(0, owners, scores, "amax")


class WordTerms(NamedTuple):
    """The language model's part in a sum over paths: M pairs (state, word), each with its share."""

    sentences: Tensor  # (M,)
    states: Tensor  # (M,)
    words: Tensor  # (M,) END among them
    scores: Tensor  # (M,) of the language model
    shares: Tensor  # (M,) of the paths of the sentence


class PathSum(NamedTuple):
    """The log-add of the scores of a set of paths, and what the paths expect."""

    scores: Tensor  # (B,) relative to the problem's offsets; -inf where there is no path
    words: WordTerms
    units: Tensor | None  # (B, T, U) the share of each unit in each frame; None where no gradient is wanted
    transitions: Tensor | None  # (B, U, U) how often each is expected, in ASG


def with_gradient(paths: PathSum, emissions: Tensor, graph: Graph, reading: Reading, weights: Weights) -> Tensor:
    """The scores of a sum over paths (B,), with the gradient in emissions, weights and language model."""
    if paths.units is None:
        return paths.scores
    terms = paths.words
    scores = reading.scores(terms.states, terms.words) if reading.trainable else terms.scores
    scores = weights.lm * scores.to(paths.scores.dtype) + weights.word * terms.words.ne(END)
    return _Joined.apply(emissions, weights.transitions, weights.silence, scores, paths, graph.silence)


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx, emissions, transitions, silence_score, word_scores, paths: PathSum, silence: int | None):
        assert paths.units is not None
        silences = None if silence is None else paths.units[:, :, silence].sum(dim=1)
        ctx.save_for_backward(paths.units, paths.transitions, silences, paths.words.shares, paths.words.sentences)
        ctx.dtypes = emissions.dtype, getattr(transitions, "dtype", None), word_scores.dtype
        ctx.silence_score = silence_score
        return paths.scores.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        units, transitions, silences, shares, sentences = ctx.saved_tensors
        of_emissions, of_transitions, of_words = ctx.dtypes
        needs = ctx.needs_input_grad
        silence = None
        if needs[2]:
            total = upstream.new_zeros(()) if silences is None else (upstream * silences).sum()
            silence = total.to(ctx.silence_score).view_as(ctx.silence_score)
        return (
            (upstream.view(-1, 1, 1) * units).to(of_emissions) if needs[0] else None,
            torch.einsum("b,buv->uv", upstream, transitions).to(of_transitions) if needs[1] else None,
            silence,
            (upstream[sentences] * shares).to(of_words) if needs[3] else None,
            None,
            None,
        )
