"""Beam search that knows where the gold prefix is, and lets a training method react to it at each step.

Every sentence is searched for exactly its gold length, as in `hard_beam.py`. After each step a method, the `Judge`,
says which prefixes its loss is about, and how the search goes on: with the K best prefixes, with the gold prefix alone,
or not at all.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.hard_beam import check_lengths, check_search_arguments, first_live
from seqsearch_fairseq.algorithms.masking import masked_topk
from seqsearch_fairseq.algorithms.sequence_costs import FILL
from seqsearch_fairseq.algorithms.step import State, Step, first_inputs


class Ranking(NamedTuple):
    """The W best continuations of one step, best first; the K best of them are the new beam."""

    t: int  # a prefix has t + 1 tokens
    tokens: Tensor  # (B, W, T) the prefixes, FILL after them
    scores: Tensor  # (B, W), -inf where there are fewer
    live: Tensor  # (B, W) bool
    is_gold: Tensor  # (B, W) bool
    beam_size: int  # K
    had_gold: Tensor  # (B,) bool: the gold prefix of t tokens was in the beam that these continue
    gold_scores: Tensor  # (B,) score of the gold prefix of t + 1 tokens; -inf without `had_gold`
    lengths: Tensor  # (B,)

    @property
    def has_gold(self) -> Tensor:
        """(B,) bool: the gold prefix is in the new beam."""
        return self.is_gold[:, : self.beam_size].any(dim=1)

    @property
    def is_last(self) -> Tensor:
        """(B,) bool: the sentence's last step."""
        return self.lengths == self.t + 1


class Verdict(NamedTuple):
    """What a method makes of a ranking; sentences that have ended are left out by themselves."""

    pays: Tensor  # (B,) bool: the sentence has a loss at this step
    members: Tensor  # (B, W) bool: the prefixes that the loss is about
    to_gold: Tensor  # (B,) bool: the next beam is the gold prefix alone; of sentences with `had_gold`
    stops: Tensor  # (B,) bool: the sentence is not searched any further


Judge = Callable[[Ranking], Verdict]


class Events(NamedTuple):
    """The steps at which a sentence pays, in the order of the search."""

    sentences: Tensor  # (N,)
    lengths: Tensor  # (N,) tokens of the prefixes
    tokens: Tensor  # (N, M, T) prefixes, FILL after their end
    members: Tensor  # (N, M) bool: False where there are fewer than M


@torch.no_grad()
def watched_search(
    step: Step, gold: Tensor, lengths: Tensor, beam_size: int, candidates: Tensor, judge: Judge, beyond: int = 0
) -> Events:
    """Beam search of width `beam_size`, without gradient and dropout.

    Args:
        step: the decoder.
        gold: (B, T) gold tokens; what stands after a sentence's length is not read.
        lengths: (B,) integer, number of output tokens of each sentence.
        beam_size: K, at least 1.
        candidates: (V,) bool, the tokens that may be output. A gold token may be none: then the gold falls out.
        judge: called once a step.
        beyond: how many continuations after the K best a ranking holds, W = K + beyond.

    Raises:
        ValueError: `beam_size`, `candidates` or `lengths` breaks its rule.
    """
    check_search_arguments(beam_size, candidates)
    check_lengths(lengths)
    beam = _first_beam(lengths, beam_size)
    found: list[Events] = []
    with step.noise_free():
        state, inputs = step.start(beam_size), first_inputs(step, beam_size)
        going = torch.ones_like(lengths, dtype=torch.bool)
        for t in range(int(lengths.max())):
            local, state = step(inputs, state)
            ranking, beams = _rank(beam, local, t, gold[:, t], lengths, candidates, beam_size + beyond)
            verdict = judge(ranking)
            found.append(_events(ranking, verdict, going))
            going = going & ~verdict.stops & ~ranking.is_last
            if not bool(going.any()):
                break
            beam, state, inputs = _go_on(step, beam, state, ranking, beams, verdict.to_gold & going, gold[:, t])
    return _joined(found)


class _Beam(NamedTuple):
    tokens: Tensor  # (B, K, T)
    scores: Tensor  # (B, K), 0 where dead
    live: Tensor  # (B, K) bool
    gold_at: Tensor  # (B,) which of them is the gold prefix; -1: none


def _first_beam(lengths: Tensor, width: int) -> _Beam:
    batch = len(lengths)
    tokens = lengths.new_full((batch, width, int(lengths.max())), FILL)
    live = first_live(batch, width, lengths.device)
    return _Beam(tokens, torch.zeros(batch, width, device=lengths.device), live, torch.zeros_like(lengths))


def _rank(
    beam: _Beam, local: Tensor, t: int, gold: Tensor, lengths: Tensor, candidates: Tensor, width: int
) -> tuple[Ranking, Tensor]:
    """The ranking of step t, and the beam (B, W) that each continuation continues."""
    batch, beam_size = beam.live.shape
    total = beam.scores.unsqueeze(2) + local.view(batch, beam_size, -1)  # (B, K, V)
    mask = beam.live.unsqueeze(2) & candidates
    top = masked_topk(total.flatten(1), mask.flatten(1), width)
    beams, latest = top.indices // len(candidates), top.indices % len(candidates)
    had_gold, slot = beam.gold_at >= 0, beam.gold_at.clamp(min=0)
    gold_scores = total[torch.arange(batch, device=slot.device), slot, gold]
    tokens = _picked(beam.tokens, beams)
    tokens[:, :, t] = torch.where(top.live, latest, FILL)
    ranking = Ranking(
        t=t,
        tokens=tokens,
        scores=top.values,
        live=top.live,
        is_gold=top.live & (beams == beam.gold_at.unsqueeze(1)) & (latest == gold.unsqueeze(1)),
        beam_size=beam_size,
        had_gold=had_gold,
        gold_scores=torch.where(had_gold, gold_scores, -torch.inf),
        lengths=lengths,
    )
    return ranking, beams


def _events(ranking: Ranking, verdict: Verdict, going: Tensor) -> Events:
    paying = (verdict.pays & going).nonzero().squeeze(1)
    members = verdict.members[paying]
    width = max(1, int(members.sum(dim=1).max())) if len(paying) > 0 else 1
    order = members.long().argsort(dim=1, descending=True, stable=True)[:, :width]  # members first, best first
    tokens = _picked(ranking.tokens[paying], order)
    return Events(paying, torch.full_like(paying, ranking.t + 1), tokens, members.gather(1, order))


def _go_on(
    step: Step, beam: _Beam, state: State, ranking: Ranking, beams: Tensor, to_gold: Tensor, gold: Tensor
) -> tuple[_Beam, State, Tensor]:
    """The next beam with its state and inputs: the K best, or the gold prefix alone."""
    batch, width = beam.live.shape
    first = first_live(batch, width, beams.device)  # the place of a gold prefix that is alone
    alone = to_gold.unsqueeze(1) & first
    beams = torch.where(alone, beam.gold_at.clamp(min=0).unsqueeze(1), beams[:, :width])
    tokens = torch.where(alone.unsqueeze(2), _picked(beam.tokens, beams), ranking.tokens[:, :width])
    latest = torch.where(alone, gold.unsqueeze(1), tokens[:, :, ranking.t])
    tokens[:, :, ranking.t] = latest
    live = torch.where(to_gold.unsqueeze(1), first, ranking.live[:, :width])
    scores = torch.where(alone, ranking.gold_scores.unsqueeze(1), ranking.scores[:, :width])
    is_gold = torch.where(to_gold.unsqueeze(1), first, ranking.is_gold[:, :width])
    gold_at = torch.where(is_gold.any(dim=1), is_gold.long().argmax(dim=1), -1)
    rows = beams + width * torch.arange(batch, device=beams.device).unsqueeze(1)
    inputs = step.embedding[latest.clamp(min=0).flatten()]
    return _Beam(tokens, scores.masked_fill(~live, 0), live, gold_at), state.reorder(rows.flatten()), inputs


def _picked(tokens: Tensor, places: Tensor) -> Tensor:
    """The prefixes (B, M, T) at `places` (B, W): (B, W, T)."""
    return tokens.gather(1, places.unsqueeze(2).expand(-1, -1, tokens.size(2)))


def _joined(parts: list[Events]) -> Events:
    width = max(part.members.size(1) for part in parts)
    pad = torch.nn.functional.pad
    tokens = [pad(part.tokens, (0, 0, 0, width - part.tokens.size(1)), value=FILL) for part in parts]
    members = [pad(part.members, (0, width - part.members.size(1)), value=False) for part in parts]
    sentences, lengths = (torch.cat([part[i] for part in parts]) for i in range(2))
    return Events(sentences, lengths, torch.cat(tokens), torch.cat(members))
