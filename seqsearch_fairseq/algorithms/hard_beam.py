"""Plain beam search over a `Step`: outputs of a known length, as the training objectives see them.

Every sentence is searched for exactly its own number of steps; no token ends a hypothesis. It is the reference that the
relaxed beam tends to as alpha grows, the validation decoder, and, with K = 1, greedy search.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.masking import masked_topk
from seqsearch_fairseq.algorithms.step import Step, first_inputs


class HardBeam(NamedTuple):
    tokens: Tensor  # (B, K, T) best hypothesis first; -1 after a sentence's end and for dead beams
    scores: Tensor  # (B, K) sum of local scores, -inf for dead beams
    live: Tensor  # (B, K) bool: False where the space holds fewer than K hypotheses
    beams: Tensor  # (B, T, K) backpointers
    appended: Tensor  # (B, T, K) the tokens that they append
    totals: Tensor  # (B, T, K) scores after each step, -inf for beams that were dead


@torch.no_grad()
def hard_beam(step: Step, lengths: Tensor, beam_size: int, candidates: Tensor) -> HardBeam:
    """Beam search of width `beam_size` for exactly `lengths[b]` steps in sentence b.

    Args:
        step: the decoder.
        lengths: (B,) integer, number of output tokens of each sentence.
        beam_size: K, at least 1.
        candidates: (V,) bool, the tokens that may be output.

    Raises:
        ValueError: `beam_size` below 1, no candidate at all, or a length below 1.
    """
    check_search_arguments(beam_size, candidates)
    check_lengths(lengths)
    batch, width, vocabulary = lengths.numel(), beam_size, candidates.numel()
    live = first_live(batch, width, lengths.device)
    state, inputs = step.start(width), first_inputs(step, width)
    scores = None
    history = []
    for t in range(int(lengths.max())):
        local, state = step(inputs, state)
        scores = local.new_zeros(batch, width) if scores is None else scores
        total = scores.unsqueeze(2) + local.view(batch, width, vocabulary)  # (B, K, V)
        mask = live.unsqueeze(2) & candidates
        top = masked_topk(total.view(batch, -1), mask.view(batch, -1), width)
        beams, tokens = top.indices // vocabulary, top.indices % vocabulary
        going = (t < lengths).unsqueeze(1)
        scores = torch.where(going, top.values.masked_fill(~top.live, 0), scores)
        live = torch.where(going, top.live, live)
        state = state.reorder((beams + width * torch.arange(batch, device=beams.device).unsqueeze(1)).flatten())
        inputs = step.embedding[tokens.flatten()]
        unmoved = torch.arange(width, device=beams.device)
        history.append((torch.where(going, beams, unmoved), tokens, scores.masked_fill(~live, -torch.inf)))
    beams, tokens, totals = (torch.stack(column, dim=1) for column in zip(*history, strict=True))
    sequences = follow_backpointers(beams, tokens)
    ended = torch.arange(sequences.size(2), device=lengths.device) >= lengths.view(-1, 1, 1)
    sequences = sequences.masked_fill(ended | ~live.unsqueeze(2), -1)
    return HardBeam(sequences, totals[:, -1], live, beams, tokens, totals)


def follow_backpointers(beams: Tensor, tokens: Tensor) -> Tensor:
    """Read the K hypotheses off their backpointers.

    Args:
        beams: (B, T, K) integer, the beam that each new beam continues.
        tokens: (B, T, K) integer, the token that it appends.

    Returns:
        (B, K, T) tokens of the hypothesis that each final beam ends.
    """
    current = torch.arange(beams.size(2), device=beams.device).expand(beams.size(0), -1)  # (B, K)
    backwards = []
    for t in range(beams.size(1) - 1, -1, -1):
        backwards.append(tokens[:, t].gather(1, current))
        current = beams[:, t].gather(1, current)
    return torch.stack(backwards[::-1], dim=2)


def first_live(batch: int, beam_size: int, device: torch.device) -> Tensor:
    """(B, K) bool: before the first step all hypotheses are the empty one, so only beam 0 is live."""
    return (torch.arange(beam_size, device=device) == 0).expand(batch, -1)


def check_lengths(lengths: Tensor) -> None:
    """Raise a `ValueError` unless every sentence has at least one output token."""
    if lengths.numel() == 0 or int(lengths.min()) < 1:
        raise ValueError(f"`lengths` must be at least 1 for every sentence, got {lengths.tolist()}")


def check_search_arguments(beam_size: int, candidates: Tensor) -> None:
    """Raise a `ValueError` for a beam below 1 or a vocabulary without candidates."""
    if beam_size < 1:
        raise ValueError(f"`beam_size` must be at least 1, got {beam_size}")
    if candidates.dtype != torch.bool or candidates.dim() != 1 or not bool(candidates.any()):
        raise ValueError("`candidates` must be a bool vector (V,) with at least one True")
