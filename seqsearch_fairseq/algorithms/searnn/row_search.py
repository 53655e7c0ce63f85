"""Roll-outs by a `RowStep`: a greedy search of many rows, none of which is laid out, copied or masked without need.

At each place those rows join whose cell lies just before it, and those leave that ended or have no more steps. What
they output is written by place, (W, R), so that a step writes one row of memory.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.searnn.roll_in import RollIn
from seqsearch_fairseq.algorithms.step import RowStep


class Starts(NamedTuple):
    """R rows, those of a sentence side by side, and the sentences in order."""

    sentence: Tensor  # (R,)
    position: Tensor  # (R,) of the cell
    token: Tensor  # (R,) tried there
    last: Tensor  # (R,) the last place that the row may fill, after `position`


class Found(NamedTuple):
    tokens: Tensor  # (R, W) what was output at each place, the end of sentence too; `before` elsewhere
    steps: int  # rows that went through the decoder


def search_rows(
    step: RowStep, rolled_in: RollIn, starts: Starts, before: Tensor, candidates: Tensor, eos: int | None
) -> Found:
    """Continue each row by the best candidates.

    Args:
        step: the decoder.
        rolled_in: whose states the rows begin from.
        starts: the rows.
        before: (R, W) what their sequences hold so far.
        candidates: (V,) bool.
        eos: the token that ends a sequence; None where there is none.
    """
    best_of, steps = step.best_of(candidates), 0
    written = before.t().contiguous()  # (W, R)
    first, end = int(starts.position.min()) + 1, int(starts.last.max()) + 1
    joining = _by_position(starts.position, first, end)
    leaving = set(starts.last.unique().tolist())
    members = starts.sentence.new_zeros(0)  # rows that are on their way
    states, previous, rows = step.states_of(rolled_in.states[0])[:0], members, None
    for place in range(first, end):
        new, one_state = joining[place - first], len(members) == 0
        if len(new) > 0:
            begin = step.states_of(rolled_in.states[place - 1])
            if one_state:  # for all rows of a sentence
                members, states, previous = new, begin, starts.token[new]
            else:
                members, order = torch.cat([members, new]).sort()
                states = torch.cat([states, begin.index_select(0, starts.sentence[new])]).index_select(0, order)
                previous = torch.cat([previous, starts.token[new]])[order]
            rows = None
        if len(members) == 0:
            continue
        if rows is None:
            rows = step.rows(starts.sentence[members])
        features, states = rows.advance(previous, states, place, one_state)
        previous = best_of(features)
        steps += len(members)
        if len(members) == written.size(1):
            written[place] = previous
        else:
            written[place, members] = previous
        stays = None if eos is None else previous.ne(eos)
        if place in leaving:
            goes_on = starts.last[members] > place
            stays = goes_on if stays is None else stays & goes_on
        if stays is not None and not bool(stays.all()):
            kept = stays.nonzero().squeeze(1)
            members, states, previous, rows = members[kept], states.index_select(0, kept), previous[kept], None
    return Found(written.t(), steps)


def _by_position(position: Tensor, first: int, end: int) -> list[Tensor]:
    """The rows that join at each place: those whose cell is just before it."""
    counts = torch.bincount(position - (first - 1), minlength=end - first).tolist()
    return list(position.argsort(stable=True).split(counts))
