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
from seqsearch_fairseq.algorithms.selection import only_candidate, select
from seqsearch_fairseq.algorithms.step import Step, first_inputs


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
    finished: list[list[Hypothesis]] = [[] for _ in range(batch)]
    state, inputs = step.start(width), first_inputs(step, width)
    live = first_live(batch, width, inputs.device)
    scores = inputs.new_zeros(batch, width, dtype=torch.promote_types(inputs.dtype, torch.float32))
    tokens = torch.zeros(batch, width, 0, dtype=torch.long, device=inputs.device)
    running = torch.zeros(batch, width, 0, dtype=scores.dtype, device=inputs.device)  # cumulated scores so far
    one_candidate = only_candidate(live[:1], options.candidates)  # for ended sentences, whose choice is not read
    for t in range(options.max_length + 1):
        local, state = step(inputs, state)
        local = local.view(batch, width, -1)
        allowed, local = _allowed(local, t, live, options, prefix)
        total = scores.unsqueeze(2) + local
        _finish(finished, total, allowed, tokens, running, options)

        allowed[:, :, options.eos] = False
        ended = torch.tensor([len(found) >= width for found in finished], device=live.device)
        going = allowed.flatten(1).any(dim=1) & ~ended
        if not bool(going.any()):
            break
        allowed = torch.where(going.view(-1, 1, 1), allowed, one_candidate)
        chosen = select(total, allowed, options.alpha, options.top_k)
        live = chosen.live & going.unsqueeze(1)
        scores = chosen.scores
        state = state.mix(chosen.soft_beams)
        inputs = chosen.mean_embedding(step.embedding).flatten(0, 1)
        tokens = _append(tokens, chosen.best_beams, chosen.best_tokens)
        running = _append(running, chosen.best_beams, scores)
    return [sorted(found, key=lambda hypothesis: -hypothesis.score) for found in finished]


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


def _allowed(local: Tensor, t: int, live: Tensor, options: DecodeOptions, prefix: Tensor | None):
    """(B, K, V) bool, the candidates of step t, and the local scores with the free end of sentence."""
    allowed = live.unsqueeze(2) & options.candidates & torch.ones_like(local, dtype=torch.bool)
    is_eos = torch.arange(local.size(2), device=local.device) == options.eos
    if options.lengths is not None:
        over = (options.lengths <= t).view(-1, 1, 1)
        local = torch.where(over & is_eos, 0.0, local)
        allowed = torch.where(over, live.unsqueeze(2) & is_eos, allowed & ~is_eos)
    elif t >= options.max_length:
        return live.unsqueeze(2) & is_eos, local
    if prefix is not None and t < prefix.size(1):
        forced = prefix[:, t].view(-1, 1, 1)
        only = live.unsqueeze(2) & (torch.arange(local.size(2), device=local.device) == forced)
        return torch.where(forced >= 0, only, allowed), local
    if options.lengths is None and t < options.min_length:
        allowed = allowed & ~is_eos
    return allowed, local


def _finish(finished, total: Tensor, allowed: Tensor, tokens: Tensor, running: Tensor, options: DecodeOptions) -> None:
    """Take the candidates that end their sentence and are among the K best, as long as the sentence wants more."""
    top = masked_topk(total.flatten(1), allowed.flatten(1), options.beam_size)
    vocabulary = total.size(2)
    ends = top.live & (top.indices % vocabulary == options.eos)
    for sentence, rank in ends.nonzero().tolist():
        if len(finished[sentence]) >= options.beam_size:
            continue
        beam = int(top.indices[sentence, rank]) // vocabulary
        score = top.values[sentence, rank]
        cumulated = torch.cat([running.new_zeros(1), running[sentence, beam], score.view(1)])
        words = torch.cat([tokens[sentence, beam], tokens.new_tensor([options.eos])])
        divisor = len(words) ** options.length_penalty if options.normalise else 1.0
        finished[sentence].append(Hypothesis(words, float(score) / divisor, cumulated.diff()))


def _append(history: Tensor, beams: Tensor, latest: Tensor) -> Tensor:
    """Continue `history` (B, K, t) of the chosen beams by one column."""
    continued = history.gather(1, beams.unsqueeze(2).expand(-1, -1, history.size(2)))
    return torch.cat([continued, latest.unsqueeze(2)], dim=2)
