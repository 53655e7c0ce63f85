"""What SEARNN runs the decoder for after the roll-in: the roll-outs.

An action is one token that is tried at one cell, after the roll-in's tokens before it. Its roll-out is greedy decoding
from the state that gave the cell's scores, without gradient and without dropout, for at most `steps` steps: until the
end of sentence or `limits` tokens.

An action that needs no decoder is never rolled out: one without steps, the end of sentence, or the roll-in's own
continuation. All others go through the decoder together. At each position the actions join whose cell lies just before
it, and those that are finished leave, so that an action costs as many decoder steps as its sequence still has tokens.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.best_token import chooser
from seqsearch_fairseq.algorithms.searnn.roll_in import RollIn, Space
from seqsearch_fairseq.algorithms.searnn.row_groups import Group
from seqsearch_fairseq.algorithms.searnn.row_search import Starts, search_rows
from seqsearch_fairseq.algorithms.sequence_costs import FILL
from seqsearch_fairseq.algorithms.step import Step


class Actions(NamedTuple):
    """R tokens, each at a cell; those of a sentence are side by side."""

    sentence: Tensor  # (R,)
    position: Tensor  # (R,)
    token: Tensor  # (R,)


class Finished(NamedTuple):
    """What became of the actions."""

    tokens: Tensor  # (R, W) the sequence without its end of sentence, filled with FILL
    complete: Tensor  # (R,) bool: it ended by itself or at its limit; otherwise the reference has to finish it
    rolled_out: int  # actions for which the decoder ran
    decoder_steps: int  # rows that went through the decoder


def finish(
    step: Step, rolled_in: RollIn, actions: Actions, steps: Tensor, space: Space, own_continuation: bool = False
) -> Finished:
    """Roll out each action greedily. Run it without gradient, and with a decoder that draws nothing.

    Args:
        step: the decoder.
        rolled_in: where the actions begin.
        actions: at most as many as may go through the decoder at once.
        steps: (B,) how many steps a roll-out of this sentence may take; 0 leaves all to the reference policy.
        space: what sequences there are.
        own_continuation: whether a roll-out from the roll-in's own token repeats the roll-in, where that is greedy: it
            does if the roll-in drew nothing.
    """
    rows = torch.arange(len(actions.token), device=actions.token.device)
    limits, steps = space.limits[actions.sentence], steps[actions.sentence]
    width = int(torch.maximum(limits, actions.position + 1).max())
    before = torch.nn.functional.pad(rolled_in.tokens, (0, width), value=FILL)[actions.sentence, :width]
    tokens = before.masked_fill(torch.arange(width, device=rows.device) >= actions.position.unsqueeze(1), FILL)
    tokens[rows, actions.position] = actions.token
    complete = actions.position + 1 >= limits
    if space.eos is not None:
        complete |= actions.token == space.eos
    if own_continuation:
        reached = rolled_in.lengths[actions.sentence] <= actions.position + 1 + steps
        repeated = _repeats_roll_in(rolled_in, actions) & reached & ~complete
        tokens = torch.where(repeated.unsqueeze(1), before, tokens)
        complete |= repeated
    if space.eos is not None:
        tokens.masked_fill_(tokens == space.eos, FILL)
    running = (~complete & (steps > 0)).nonzero().squeeze(1)
    last = torch.minimum(limits - 1, actions.position + steps)  # the last place that a roll-out fills
    if len(running) == 0:
        return Finished(tokens, complete, 0, 0)
    decode = _decode if step.row_step is None else _decode_rows
    decoder_steps = decode(step, rolled_in, actions, running, tokens, complete, limits, last, space)
    return Finished(tokens, complete, len(running), decoder_steps)


def _decode(step, rolled_in, actions, running, tokens, complete, limits, last, space) -> int:
    """Fill in `tokens` and `complete` of the `running` actions; return the rows that went through the decoder."""
    position, steps = actions.position[running], 0
    group, best_of = Group(step, rolled_in, actions.sentence), chooser(step, space.candidates)
    for place in range(int(position.min()) + 1, int(last[running].max()) + 1):
        joining = running[position == place - 1]
        if len(joining) + len(group.members) == 0:
            continue
        features = group.advance(joining, tokens, place)
        members = group.members
        best = best_of(features)
        steps += len(members)
        goes_on = torch.ones_like(best, dtype=torch.bool) if space.eos is None else best.ne(space.eos)
        complete[members[~goes_on]] = True
        written = members[goes_on]
        tokens[written, place] = best[goes_on]
        complete[written] |= place + 1 >= limits[written]
        group.keep(goes_on & (place < last[members]))
    return steps


def _decode_rows(step, rolled_in, actions, running, tokens, complete, limits, last, space) -> int:
    """As `_decode`, by the step's faster way."""
    starts = Starts(*(column[running] for column in (*actions, last)))
    found = search_rows(step.row_step, rolled_in, starts, tokens[running], space.candidates, space.eos)
    ended = last[running] == limits[running] - 1
    if space.eos is not None:
        says_end = found.tokens == space.eos
        ended |= says_end.any(dim=1)
        found.tokens.masked_fill_(says_end, FILL)
    tokens[running], complete[running] = found.tokens, ended
    return found.steps


def _repeats_roll_in(rolled_in: RollIn, actions: Actions) -> Tensor:
    """Which actions are the roll-in's own token at a cell after which it was greedy: (R,) bool."""
    if rolled_in.greedy is None:
        return torch.zeros_like(actions.token, dtype=torch.bool)
    differs = rolled_in.tokens.ne(rolled_in.greedy) & rolled_in.tokens.ne(FILL)  # (B, L)
    later = differs.flip(1).cumsum(dim=1).flip(1) - differs.long()
    at = actions.sentence, actions.position
    return (later[at] == 0) & (rolled_in.tokens[at] == actions.token)
