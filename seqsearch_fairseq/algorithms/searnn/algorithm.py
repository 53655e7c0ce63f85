"""SEARNN, from a batch to the loss of each sentence.

    roll in                 the sequence whose positions are the cells                     roll_in
    choose cells, tokens    all of them, or some                                           subsampling
    finish each action      by the model, by the reference policy, or first one and then   rollouts.finish, policies
                            the other
    compare                 the cost c_t(a) of each finished sequence
    loss                    of each cell's scores and costs, and their mean                losses

A sentence's loss is the mean over its cells times its gold length, so that it does not grow with the number of cells.
With everything from the reference, Hamming costs and LL, it is cross entropy.
"""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.searnn.losses import FULL_SOFTMAX, TIE, Cells, searnn_loss
from seqsearch_fairseq.algorithms.searnn.policies import ReferencePolicy
from seqsearch_fairseq.algorithms.searnn.roll_in import RollIn, Space, roll_in
from seqsearch_fairseq.algorithms.searnn.rollouts import Actions, finish
from seqsearch_fairseq.algorithms.searnn.subsampling import (
    Choice,
    Places,
    Tokens,
    gold_tokens,
    sample_cells,
    sample_tokens,
)
from seqsearch_fairseq.algorithms.sequence_costs import SequenceCost
from seqsearch_fairseq.algorithms.step import Step

ENOUGH = 1024  # number of actions that fill the decoder's matrix products
UNBOUNDED = torch.iinfo(torch.int32).max  # steps of a roll-out that only ends by itself

# How many steps of the roll-in output the gold token: from (B, L) and the reference's probability to (B, L) bool.
ROLL_INS: dict[str, Callable[[torch.Size, float], Tensor]] = {
    "reference": lambda shape, probability: torch.ones(shape, dtype=torch.bool),
    "learned": lambda shape, probability: torch.zeros(shape, dtype=torch.bool),
    "mixed": lambda shape, probability: (torch.rand(shape[0], 1) < probability).expand(shape),
    "mixed-cells": lambda shape, probability: torch.rand(shape) < probability,
}

# How many steps a sentence's roll-outs are the model's: from B, the reference's probability and the focus to (B,).
ROLL_OUTS: dict[str, Callable[[int, float, int], Tensor]] = {
    "reference": lambda batch, probability, focus: torch.zeros(batch, dtype=torch.long),
    "learned": lambda batch, probability, focus: torch.full((batch,), UNBOUNDED),
    "mixed": lambda batch, probability, focus: UNBOUNDED * (torch.rand(batch) >= probability).long(),
    "focused": lambda batch, probability, focus: torch.full((batch,), focus),
}


# The type that the products of roll-outs are made in; None is the model's own.
PRECISIONS: dict[str, torch.dtype | None] = {"model": None, "bfloat16": torch.bfloat16}


class Settings(NamedTuple):
    """What SEARNN leaves to choose."""

    roll_in: str = "learned"  # of ROLL_INS
    roll_out: str = "mixed"  # of ROLL_OUTS
    reference_probability: float = 0.5  # of the mixed ones
    focus: int = 1  # steps of a focused roll-out before the reference finishes it
    loss: str = "kl"  # of losses.LOSSES
    scale: float = 1.0  # of the costs
    sampled_softmax: bool = False  # normalise over the tried tokens where others were left out
    cells: int | None = None  # cells of a sentence; None is all
    mixture: Mapping[str, int] = {}  # sampler -> tokens of a cell; empty is all
    roll_out_batch: int = 8192  # actions that go through the decoder at once
    roll_out_precision: str = "model"  # of PRECISIONS
    per_cell: bool = True  # whether a sentence's loss is the mean over its cells, times its gold length


class Searnn(NamedTuple):
    """The loss, and how much work was behind it."""

    losses: Tensor  # (B,)
    best_costs: Tensor  # (C,) the least cost at each cell
    best_is_gold: Tensor  # (C,) bool: whether the gold token costs as little
    rolled_out: int  # actions for which the decoder ran
    decoder_steps: int  # rows that went through the decoder, roll-in included
    roll_out_steps: int  # those of the roll-outs alone
    seconds: float  # of roll-outs and costs
    costs: Tensor  # (C, A) of each action, 0 where none was tried
    tried: Tensor  # (C, A) bool


def searnn(
    step: Step,
    gold: Tensor,
    lengths: Tensor,
    space: Space,
    cost: SequenceCost,
    reference: ReferencePolicy,
    settings: Settings,
    frequencies: Tensor | None = None,
) -> Searnn:
    """The SEARNN loss of each sentence. Draws come from torch's default generator (the CPU's, whatever the device).

    Args:
        step: the decoder; its local scores may be normalised or not.
        gold: (B, S) gold tokens without the end of sentence, filled with FILL.
        lengths: (B,) tokens of each gold sequence, the end of sentence counted where it is output.
        space: what sequences there are.
        cost: of finished sequences.
        reference: what the reference policy's completion of a sequence costs.
        settings: see there.
        frequencies: (V,) counts in the training data, for the sampler `corpus`.

    Raises:
        ValueError: a setting breaks its rule.
    """
    _check(settings)
    rolled_in = roll_in(step, gold, _roll_in_policy(settings, space).to(gold.device), space)
    places = sample_cells(rolled_in.lengths, settings.cells, ends=space.eos is not None)
    scores = step.scores(rolled_in.features[places.sentence, places.position])  # (C, V)
    worth_trying = space.candidates if space.tried is None else space.tried
    choice = Choice(scores.detach(), worth_trying, gold[places.sentence], places.position, space.eos, frequencies)
    tokens = sample_tokens(settings.mixture, choice)
    begin, repeats_itself = time.perf_counter(), not step.has_noise  # with dropout no roll-out repeats the roll-in
    precision = PRECISIONS[settings.roll_out_precision]
    finisher = step if precision is None else step.with_products_in(precision)
    with torch.no_grad(), step.noise_free():
        costs, rolled_out, roll_out_steps = _costs(
            finisher, rolled_in, places, tokens, gold, space, cost, reference, settings, repeats_itself
        )
    seconds = time.perf_counter() - begin
    cells = Cells(scores.gather(1, tokens.tokens), costs, tokens.tried, _log_normaliser(scores, tokens, settings))
    paid = searnn_loss(settings.loss, cells, settings.scale)
    losses = paid.new_zeros(len(gold)).index_add(0, places.sentence, paid)
    if settings.per_cell:
        losses = losses * lengths / torch.bincount(places.sentence, minlength=len(gold))
    least = costs.masked_fill(~tokens.tried, torch.inf).amin(dim=1)
    right = (tokens.tokens == gold_tokens(choice).unsqueeze(1)) & tokens.tried
    of_gold = torch.where(right, costs, torch.inf).amin(dim=1)
    steps = roll_out_steps + int(rolled_in.lengths.sum())
    best_is_gold = of_gold <= least + TIE
    return Searnn(losses, least, best_is_gold, rolled_out, steps, roll_out_steps, seconds, costs, tokens.tried)


def _check(settings: Settings) -> None:
    for name, known in (("roll_in", ROLL_INS), ("roll_out", ROLL_OUTS), ("roll_out_precision", PRECISIONS)):
        if getattr(settings, name) not in known:
            raise ValueError(f"`{name}` must be one of {', '.join(known)}, got {getattr(settings, name)}")
    if not 0 <= settings.reference_probability <= 1:
        raise ValueError(f"`reference_probability` must be in [0, 1], got {settings.reference_probability}")
    if settings.focus < 0:
        raise ValueError(f"`focus` must be at least 0, got {settings.focus}")
    if settings.cells is not None and settings.cells < 1:
        raise ValueError(f"`cells` must be at least 1, or None for all, got {settings.cells}")
    if settings.roll_out_batch < 1:
        raise ValueError(f"`roll_out_batch` must be at least 1, got {settings.roll_out_batch}")


def _roll_in_policy(settings: Settings, space: Space) -> Tensor:
    shape = torch.Size((len(space.limits), int(space.limits.max())))
    return ROLL_INS[settings.roll_in](shape, settings.reference_probability)


def _log_normaliser(scores: Tensor, tokens: Tokens, settings: Settings) -> Tensor | None:
    """Log-sum-exp of the whole vocabulary's scores, where the loss is to look beyond the tried tokens."""
    if settings.sampled_softmax or settings.loss not in FULL_SOFTMAX:
        return None
    return torch.logsumexp(scores, dim=1)


def _costs(
    step: Step,
    rolled_in: RollIn,
    places: Places,
    tokens: Tokens,
    gold: Tensor,
    space: Space,
    cost: SequenceCost,
    reference: ReferencePolicy,
    settings: Settings,
    repeats_itself: bool,
) -> tuple[Tensor, int, int]:
    """The cost of each action (C, A), 0 where there is none; how many were rolled out, and the decoder's steps."""
    steps = ROLL_OUTS[settings.roll_out](len(gold), settings.reference_probability, settings.focus).to(gold.device)
    cell, column = tokens.tried.nonzero(as_tuple=True)
    costs = torch.zeros(tokens.tried.shape, dtype=torch.float64, device=gold.device)
    rolled_out = decoder_steps = 0
    for chunk in _chunks(places.position[cell], settings.roll_out_batch):
        at = cell[chunk], column[chunk]
        actions = Actions(places.sentence[at[0]], places.position[at[0]], tokens.tokens[at])
        done = finish(step, rolled_in, actions, steps, space, own_continuation=repeats_itself)
        paid = costs.new_empty(len(chunk))
        for rows, price in ((done.complete, cost), (~done.complete, reference)):
            if bool(rows.any()):
                paid[rows] = price(done.tokens[rows], gold[actions.sentence[rows]])
        costs[at] = paid
        rolled_out, decoder_steps = rolled_out + done.rolled_out, decoder_steps + done.decoder_steps
    return costs, rolled_out, decoder_steps


def _chunks(position: Tensor, most: int) -> list[Tensor]:
    """Split actions, given their positions, into lists of at most `most`, each in order.

    Actions of one position stay together in the decoder as long as their sentences do, so that they need no sorting at
    each step. Therefore a list that is long enough ends where a position ends.
    """
    counts = torch.bincount(position).tolist()
    sizes, size = [], 0
    for count in counts:
        if size > 0 and size + count > max(most, 1):
            sizes.append(size)
            size = 0
        size += count
        if size >= min(ENOUGH, most):
            sizes.append(size)
            size = 0
    sizes.append(size)
    by_position = position.argsort(stable=True)
    parts = (part.sort().values for part in by_position.split([n for n in sizes if n > 0]))
    return [chunk for part in parts for chunk in part.split(most)]
