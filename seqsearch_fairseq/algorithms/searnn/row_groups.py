"""Roll-outs by any `Step`: the actions that go through the decoder together are a rectangle, K rows a sentence."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.ragged import Layout, lay_out
from seqsearch_fairseq.algorithms.searnn.roll_in import RollIn
from seqsearch_fairseq.algorithms.step import State, Step


class Group:
    """The actions that go through the decoder together, and their state."""

    def __init__(self, step: Step, rolled_in: RollIn, sentence: Tensor):
        self.step, self.rolled_in, self.sentence = step, rolled_in, sentence
        self.members = self.rows = sentence.new_zeros(0)  # actions, and their rows in the state
        self.tensors: dict[str, Tensor] = {}  # of the state
        self.layout: Layout | None = None  # of the members in the state, where that is known
        self.narrowed: dict[str, _Narrowed] = {}

    def keep(self, chosen: Tensor) -> None:
        if not bool(chosen.all()):
            self.members, self.rows, self.layout = self.members[chosen], self.rows[chosen], None

    def advance(self, joining: Tensor, tokens: Tensor, place: int) -> Tensor:
        """Let actions join, and feed every member its token at place - 1; return their features (n, D).

        Those that join are run apart from the others: their state is the roll-in's.
        """
        done = []
        if len(self.members) > 0:
            tensors, layout = self.tensors, self.layout
            if layout is None:  # somebody has come or gone
                self.members, order = self.members.sort()  # a sentence's actions side by side
                layout = lay_out(self.sentence[self.members])
                rows = self.rows[order][layout.fill]
                tensors = {name: tensor.index_select(0, rows) for name, tensor in tensors.items()}
            done.append(self._run("staying", self.members, layout, tensors, tokens, place))
        if len(joining) > 0:
            layout = lay_out(self.sentence[joining])
            rows = self.sentence[joining][layout.fill]
            begin = self.rolled_in.states[place - 1].tensors
            tensors = {name: tensor.index_select(0, rows) for name, tensor in begin.items()}
            done.append(self._run("joining", joining, layout, tensors, tokens, place))
        self.layout = layout if len(done) == 1 else None
        self.members = _joined([part.members for part in done])
        sizes = [0, *(part.size for part in done)]
        self.rows = _joined([part.rows + before for part, before in zip(done, sizes, strict=False)])
        self.tensors = {name: _joined([part.tensors[name] for part in done]) for name in done[0].tensors}
        return _joined([part.features for part in done])

    def step_for(self, who: str, layout: Layout) -> "_Narrowed":
        """The decoder for these sentences; the last one, if it was for the same."""
        found = self.narrowed.get(who)
        if found is None or not torch.equal(found.sentences, layout.sentences):
            step, shared = self.step.narrow(layout.sentences, self.rolled_in.states[0].shared)
            found = self.narrowed[who] = _Narrowed(layout.sentences, step, shared)
        return found

    def _run(self, who, members, layout, tensors, tokens, place) -> "_Advanced":
        decoder = self.step_for(who, layout)
        inputs = decoder.step.inputs_of(tokens[members, place - 1][layout.fill])
        features, state = decoder.step.advance(inputs, State(tensors, place, decoder.shared))
        count = len(features)
        if count > len(members):
            features = features[layout.rows]
        return _Advanced(members, layout.rows, features, state.tensors, count)


class _Narrowed(NamedTuple):
    sentences: Tensor
    step: Step
    shared: Any


class _Advanced(NamedTuple):
    members: Tensor  # (n,) actions
    rows: Tensor  # (n,) their rows in `tensors`
    features: Tensor  # (n, D)
    tensors: dict[str, Tensor]
    size: int  # rows of `tensors`


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
