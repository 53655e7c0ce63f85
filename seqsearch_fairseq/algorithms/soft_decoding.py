"""Decoding with the relaxed beam (Goyal et al. 2018, section 3.3), for outputs whose length is open.

The recurrence is that of `soft_beam.py`. A hypothesis is read off hard backpointers: the candidate of the largest
weight in each `P_j`. End of sentence is treated as beam search treats it: candidates are ranked, those among the K best
that end the sentence are finished hypotheses, and the K beams go on over the candidates that do not.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.hard_beam import check_search_arguments, first_live
from seqsearch_fairseq.algorithms.masking import masked_topk
from seqsearch_fairseq.algorithms.relaxations import check_relaxation
from seqsearch_fairseq.algorithms.selection import Selection, only_candidate, select
from seqsearch_fairseq.algorithms.step import Step, first_inputs, narrowed


class Hypothesis(NamedTuple):
    tokens: Tensor  # (L,) ends with the end-of-sentence token
    score: float  # normalised by length if the options say so
    positional_scores: Tensor  # (L,) what each token added to the score


class DecodeOptions(NamedTuple):
    beam_size: int
    alpha: float
    candidates: Tensor  # (V,) bool
    eos: int
    max_length: int  # tokens before the end of sentence, at most
    min_length: int = 1  # and at least
    length_penalty: float = 1.0
    normalise: bool = True  # divide the score by (tokens, end of sentence included) ** length_penalty
    top_k: str = "squared-distance"
    lengths: Tensor | None = None  # (B,): the exact number of tokens, before an end of sentence that costs nothing


class _Ended(NamedTuple):
    """The K best candidates of a step, in which hypotheses may have been finished."""

    taken: Tensor  # (b, K) bool: it ends one, which its sentence still wants
    sentences: Tensor  # (b, K)
    lengths: Tensor  # (b, K) tokens before it
    beams: Tensor  # (b, K) that it ends
    scores: Tensor  # (b, K)


class _Column(NamedTuple):
    """What a step appended to the beams that went on; zeros for sentences that did not."""

    beams: Tensor  # (B, K) hard backpointers
    tokens: Tensor  # (B, K)
    scores: Tensor  # (B, K) cumulated


@torch.no_grad()
def soft_decode(step: Step, options: DecodeOptions, prefix: Tensor | None = None) -> list[list[Hypothesis]]:
    """Decode each sentence: at most K finished hypotheses, best first.

    Args:
        step: the decoder of B sentences.
        options: see `DecodeOptions`.
        prefix: (B, P) tokens that each output must begin with; -1 where there is none any more.

    Raises:
        ValueError: an option breaks its rule.
    """
    _check(options)
    batch, width = step.batch_size, options.beam_size
    rows_share = step.rows_share
    rows = 1 if rows_share else width  # of a sentence, in the first step: its beams are all the same there
    state, inputs = step.start(rows), first_inputs(step, rows)
    sentences = torch.arange(batch, device=inputs.device)  # those that are still searched
    live = first_live(batch, width, inputs.device)
    scores = inputs.new_zeros(batch, width, dtype=torch.promote_types(inputs.dtype, torch.float32))
    wanted = torch.full_like(sentences, width)  # hypotheses that a sentence still lacks
    may_end = _steps_that_may_end(options, prefix)
    ended: list[_Ended] = []
    columns: list[_Column] = []
    for t in range(options.max_length + 1):
        local, state = step(inputs, state)
        total = scores.unsqueeze(2) + local.view(len(scores), -1, local.size(1))  # (b, K, V)
        tokens = _tokens(t, sentences, options, prefix)  # (b, V), or (1, V) for all
        allowed = live.unsqueeze(2) & tokens.unsqueeze(1)  # (b, K, V)
        if t in may_end:
            _free_end(total, scores, t, sentences, options)
            ended.append(_end(t, sentences, total, allowed, wanted, options))
            wanted = wanted - ended[-1].taken.sum(dim=1)
        allowed[:, :, options.eos] = tokens[:, options.eos] = False
        going = tokens.any(dim=1) & live.any(dim=1) & (wanted > 0)
        left = going.nonzero().squeeze(1)
        if len(left) == 0:
            break
        if len(left) < len(going) and rows_share:
            step, state = narrowed(step, state, left, len(going))
            sentences, wanted, total, allowed = (part[left] for part in (sentences, wanted, total, allowed))
        elif len(left) < len(going):  # the choice for the others is made, and not read
            allowed = torch.where(going.view(-1, 1, 1), allowed, only_candidate(live[:1], options.candidates))
            wanted = wanted * going
        chosen = select(total, allowed, options.alpha, options.top_k)
        live, scores = chosen.live & (wanted > 0).unsqueeze(1), chosen.scores
        first_of_one = t == 0 and rows < width  # all go on from the one row
        state = state.mix(chosen.soft_beams[:, :, :1] if first_of_one else chosen.soft_beams)
        inputs = chosen.mean_embedding(step.embedding).flatten(0, 1)
        columns.append(_column(chosen, sentences, batch))
    return _hypotheses(ended, columns, batch, options)


def _check(options: DecodeOptions) -> None:
    check_search_arguments(options.beam_size, options.candidates)
    check_relaxation(options.alpha, options.top_k)
    if not math.isfinite(options.length_penalty):
        raise ValueError(f"`length_penalty` must be a finite number, got {options.length_penalty}")
    longest = options.max_length
    if options.lengths is None and not 0 <= options.min_length <= longest:
        raise ValueError(f"`min_length` must be in [0, `max_length`], got {options.min_length} with {longest}")
    if options.lengths is not None and int(options.lengths.max()) > longest:
        raise ValueError(f"`lengths` must be at most `max_length`, got {int(options.lengths.max())} with {longest}")


# ------------------------------------------------------------------------------------------------- what may be output


def _tokens(t: int, sentences: Tensor, options: DecodeOptions, prefix: Tensor | None) -> Tensor:
    """The tokens that step t may output: (b, V) bool, or (1, V) where they are the same for all `sentences`."""
    allowed = options.candidates.unsqueeze(0).clone()
    only_eos = torch.zeros_like(allowed)
    only_eos[:, options.eos] = True
    if options.lengths is not None:
        allowed[:, options.eos] = False
        allowed = torch.where((options.lengths[sentences] <= t).unsqueeze(1), only_eos, allowed)
    elif t >= options.max_length:
        return only_eos
    elif t < options.min_length:
        allowed[:, options.eos] = False
    if prefix is not None and t < prefix.size(1):
        forced = prefix[sentences, t].unsqueeze(1)
        one = torch.arange(allowed.size(1), device=allowed.device) == forced
        allowed = torch.where(forced >= 0, one, allowed)
    return allowed


def _steps_that_may_end(options: DecodeOptions, prefix: Tensor | None) -> set[int]:
    """Those in which a sentence may end; in all others no candidate does."""
    forced = set(range(0 if prefix is None else prefix.size(1)))
    if options.lengths is not None:
        return forced | set(options.lengths.tolist())
    return forced | set(range(options.min_length, options.max_length + 1))


def _free_end(total: Tensor, scores: Tensor, t: int, sentences: Tensor, options: DecodeOptions) -> None:
    """Where the output has its exact length, its end costs nothing. Changes `total` (b, K, V) in place."""
    if options.lengths is not None:
        over = (options.lengths[sentences] <= t).unsqueeze(1)
        total[:, :, options.eos] = torch.where(over, scores, total[:, :, options.eos])


# ------------------------------------------------------------------------------------------------------ what has ended


def _end(t: int, sentences: Tensor, total: Tensor, allowed: Tensor, wanted: Tensor, options: DecodeOptions) -> _Ended:
    """The candidates that end their sentence and are among the K best, as long as the sentence wants more."""
    top = masked_topk(total.flatten(1), allowed.flatten(1), options.beam_size)
    vocabulary = total.size(2)
    ends = top.live & (top.indices % vocabulary == options.eos)
    taken = ends & (ends.cumsum(dim=1) <= wanted.unsqueeze(1))
    owners = sentences.unsqueeze(1).expand_as(taken)
    return _Ended(taken, owners, torch.full_like(owners, t), top.indices // vocabulary, top.values)


def _column(chosen: Selection, sentences: Tensor, batch: int) -> _Column:
    parts = chosen.best_beams, chosen.best_tokens, chosen.scores
    if len(sentences) == batch:
        return _Column(*parts)
    return _Column(*(part.new_zeros(batch, part.size(1)).index_copy(0, sentences, part) for part in parts))


def _hypotheses(
    ended: list[_Ended], columns: list[_Column], batch: int, options: DecodeOptions
) -> list[list[Hypothesis]]:
    """Follows the backpointers of all F finished hypotheses at once."""
    found: list[list[Hypothesis]] = [[] for _ in range(batch)]
    if not ended:
        return found
    all_of_them = _Ended(*(torch.cat(part) for part in zip(*ended, strict=True)))
    _, sentences, lengths, beams, scores = (part[all_of_them.taken] for part in all_of_them)  # (F,) each
    tokens = torch.full((len(beams), len(columns) + 1), options.eos, device=beams.device)
    totals = scores.unsqueeze(1).repeat(1, len(columns) + 2)  # (F, T + 2) cumulated, from 0 to the whole score
    totals[:, 0] = 0
    for t in reversed(range(len(columns))):
        inside = lengths > t
        before, appended, total = (part[sentences, beams] for part in columns[t])
        tokens[:, t] = torch.where(inside, appended, tokens[:, t])
        totals[:, t + 1] = torch.where(inside, total, scores)
        beams = torch.where(inside, before, beams)
    added = totals.diff(dim=1)
    for f, (sentence, length, score) in enumerate(
        zip(sentences.tolist(), lengths.tolist(), scores.tolist(), strict=True)
    ):
        divisor = (length + 1) ** options.length_penalty if options.normalise else 1.0
        found[sentence].append(Hypothesis(tokens[f, : length + 1], score / divisor, added[f, : length + 1]))
    return [sorted(hypotheses, key=lambda hypothesis: -hypothesis.score) for hypotheses in found]
