"""The roll-in of SEARNN: one pass of the decoder with gradient, whose steps are the cells.

A decoder that can take all positions at once decodes without gradient first, and then reads what it decoded.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.best_token import chooser
from seqsearch_fairseq.algorithms.sequence_costs import FILL
from seqsearch_fairseq.algorithms.step import State, Step


class Space(NamedTuple):
    """What sequences there are."""

    candidates: Tensor  # (V,) bool: the tokens that may be output
    eos: int | None  # the token that ends a sentence; None where its length is known
    limits: Tensor  # (B,) most tokens of a sequence of this sentence, its end of sentence counted
    tried: Tensor | None = None  # (V,) bool: of the candidates those that may be tried; None is all


class RollIn(NamedTuple):
    """L steps of B sentences; those of a sentence's first `lengths` count, each a cell."""

    tokens: Tensor  # (B, L) what was output, the end of sentence too; FILL after it
    lengths: Tensor  # (B,)
    features: Tensor  # (B, L, D) what the output layer reads, with gradient
    greedy: Tensor | None  # (B, L) the best token at each step, where that was looked at
    states: list[State]  # L states, each of which gave a step's features; without gradient


def roll_in(step: Step, gold: Tensor, uses_gold: Tensor, space: Space) -> RollIn:
    """Decode with gradient, outputting the gold token where `uses_gold` says so and the best token elsewhere.

    Args:
        step: the decoder.
        gold: (B, S) gold tokens without the end of sentence, filled with FILL.
        uses_gold: (B, the largest limit) bool.
        space: what sequences there are.
    """
    longest = int(space.limits.max())
    wide = torch.nn.functional.pad(gold, (0, max(longest - gold.size(1), 0)), value=FILL)
    if space.eos is not None:
        wide = torch.where(wide == FILL, space.eos, wide)
    if step.teacher_forced is None:
        return _decode_in(step, wide, uses_gold, space)
    with torch.no_grad():  # which tokens
        if bool(uses_gold.all()):
            lengths = (gold.ne(FILL).sum(dim=1) + int(space.eos is not None)).clamp(max=space.limits)
            tokens = wide.masked_fill(torch.arange(wide.size(1), device=gold.device) >= lengths.unsqueeze(1), FILL)
            tokens, greedy = tokens[:, : int(lengths.max())], None
        else:
            quick, _ = step.narrow(torch.arange(len(gold), device=gold.device), {})
            rolled = _decode_in(quick, wide, uses_gold, space)
            tokens, greedy = rolled.tokens, rolled.greedy
    previous = torch.nn.functional.pad(tokens[:, :-1], (1, 0), value=step.bos)  # then all positions at once
    features, states = step.teacher_forced(torch.where(previous == FILL, step.bos, previous))
    return RollIn(tokens, tokens.ne(FILL).sum(dim=1), features, greedy, [_detached(state) for state in states])


@torch.no_grad()
def greedy_tokens(step: Step, space: Space) -> Tensor:
    """The decoder's greedy output: (B, L), the end of sentence too, and FILL after it."""
    shape = len(space.limits), int(space.limits.max())
    nothing = torch.full(shape, FILL, device=space.limits.device)
    if step.teacher_forced is not None:
        step, _ = step.narrow(torch.arange(shape[0], device=nothing.device), {})
    return _decode_in(step, nothing, torch.zeros_like(nothing, dtype=torch.bool), space, keep=False).tokens


def _decode_in(step: Step, wide: Tensor, uses_gold: Tensor, space: Space, keep: bool = True) -> RollIn:
    """The roll-in, position by position; `wide` is the gold, with the end of sentence after it.

    Without `keep` its features and states are those of the last position alone.
    """
    learned, all_learned = ~uses_gold.all(dim=0).cpu(), not bool(uses_gold.any())
    state, inputs = step.start(1), step.inputs_of(torch.full_like(space.limits, step.bos))
    going, best_of = torch.ones_like(space.limits, dtype=torch.bool), chooser(step, space.candidates)
    tokens: list[Tensor] = []
    features: list[Tensor] = []
    greedy: list[Tensor] = []
    states: list[State] = []
    for t in range(len(learned)):
        out, state = step.advance(inputs, state)
        features = [*features, out] if keep else [out]
        states = [*states, _detached(state)] if keep else [_detached(state)]
        chosen = wide[:, t]
        if learned[t]:
            with torch.no_grad():
                greedy.append(best_of(out.detach()))
            chosen = torch.where(uses_gold[:, t], chosen, greedy[-1])
        tokens.append(torch.where(going, chosen, FILL))
        going = going & (t + 1 < space.limits)
        if space.eos is not None:
            going = going & chosen.ne(space.eos)
        if not bool(going.any()):
            break
        inputs = step.inputs_of(torch.where(chosen == FILL, step.bos, chosen))
    rolled = torch.stack(tokens, dim=1)
    known = torch.stack(greedy, dim=1) if all_learned else None
    return RollIn(rolled, rolled.ne(FILL).sum(dim=1), torch.stack(features, dim=1), known, states)


def _detached(state: State) -> State:
    return state._replace(tensors={name: tensor.detach() for name, tensor in state.tensors.items()})
