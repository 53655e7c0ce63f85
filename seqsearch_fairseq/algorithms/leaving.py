"""Sentences of a search that have ended leave its batch: later steps have fewer rows.

How many steps a sentence takes is known beforehand. What the decoder holds of the others is copied when some leave,
and the backward pass keeps each copy. So they leave when they are many enough, and until then they stay, and what they
choose is not read.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.step import State, Step, narrowed

SHARE = 8  # sentences leave when they are one in so many, or more


class Leaver(NamedTuple):
    """Sentences that have left, and what had been found for each."""

    sentences: Tensor  # (b,) their places in the batch
    found: tuple[Tensor, ...]  # (b, ...)


class Searched:
    """The b of B sentences that a search goes on with."""

    step: Step  # the decoder of these
    sentences: Tensor  # (b,) their places in the batch
    lengths: Tensor  # (b,)

    def __init__(self, step: Step, lengths: Tensor, may_leave: bool = True):
        """`lengths` (B,) are the steps that each sentence takes; with `may_leave` those that have ended may leave."""
        self.step, self.lengths = step, lengths
        self.sentences = torch.arange(len(lengths), device=lengths.device)
        self._steps, self._may_leave = lengths.tolist(), may_leave and step.rows_share
        self._left: list[Leaver] = []

    def before(
        self, t: int, state: State, inputs: Tensor, found: tuple[Tensor, ...]
    ) -> tuple[State, Tensor, tuple[Tensor, ...]]:
        """State, inputs (b * K, E) and what was found (b, ...) of those that go on with step t."""
        stay = [place for place, steps in enumerate(self._steps) if steps > t]
        count = len(self._steps)
        if not self._may_leave or count - len(stay) < max(1, count / SHARE):
            return state, inputs, found
        ended = [place for place, steps in enumerate(self._steps) if steps <= t]
        kept, gone = (torch.tensor(places, device=inputs.device) for places in (stay, ended))
        self._left.append(Leaver(self.sentences[gone], tuple(part[gone] for part in found)))
        self.step, state = narrowed(self.step, state, kept, count)
        self.sentences, self.lengths = self.sentences[kept], self.lengths[kept]
        self._steps = self.lengths.tolist()
        inputs = inputs.unflatten(0, (count, -1))[kept].flatten(0, 1)
        return state, inputs, tuple(part[kept] for part in found)

    def in_batch(self, part: Tensor, others: Tensor) -> Tensor:
        """`part` (b, K) in the places of its sentences, `others` (B, K) in all others."""
        return part if len(part) == len(others) else others.index_copy(0, self.sentences, part)

    def all_of(self, found: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What was found for all B sentences, in their order."""
        left = [*self._left, Leaver(self.sentences, found)]
        if len(left) == 1:
            return found
        order = torch.cat([leaver.sentences for leaver in left]).argsort()
        return tuple(torch.cat(parts)[order] for parts in zip(*(leaver.found for leaver in left), strict=True))
