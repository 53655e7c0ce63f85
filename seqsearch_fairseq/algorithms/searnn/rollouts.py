"""Roll-in and roll-outs: what SEARNN runs the decoder for.

The roll-in is one pass with gradient. Each step is a cell: the scores of the next token. An action is one token that is
tried at one cell, after the roll-in's tokens before it. Its roll-out is greedy decoding from the state that gave the
cell's scores, without gradient and without dropout, for at most `steps` steps: until the end of sentence or `limits`
tokens.

An action that needs no decoder is never rolled out: one without steps, the end of sentence, or the roll-in's own
continuation. All others go through the decoder together. At each position the actions join whose cell lies just before
it, and those that are finished leave, so that an action costs as many decoder steps as its sequence still has tokens.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.sequence_costs import FILL
from seqsearch_fairseq.algorithms.step import State, Step

BLOCK, FEW_BLOCKS = 64, 8


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
    going = torch.ones_like(space.limits, dtype=torch.bool)
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
                greedy.append(best_token(step, out.detach(), space.candidates))
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
    decoder_steps = _decode(step, rolled_in, actions, running, tokens, complete, limits, last, space)
    return Finished(tokens, complete, len(running), decoder_steps)


def _decode(step, rolled_in, actions, running, tokens, complete, limits, last, space) -> int:
    """Fill in `tokens` and `complete` of the `running` actions; return the rows that went through the decoder."""
    if len(running) == 0:
        return 0
    position, steps = actions.position[running], 0
    group = _Group(step, rolled_in, actions.sentence)
    for place in range(int(position.min()) + 1, int(last[running].max()) + 1):
        joining = running[position == place - 1]
        if len(joining) + len(group.members) == 0:
            continue
        features = group.advance(joining, tokens, place)
        members = group.members
        best = best_token(step, features, space.candidates)
        steps += len(members)
        goes_on = torch.ones_like(best, dtype=torch.bool) if space.eos is None else best.ne(space.eos)
        complete[members[~goes_on]] = True
        written = members[goes_on]
        tokens[written, place] = best[goes_on]
        complete[written] |= place + 1 >= limits[written]
        group.keep(goes_on & (place < last[members]))
    return steps


class _Group:
    """The actions that go through the decoder together, and their state."""

    def __init__(self, step: Step, rolled_in: RollIn, sentence: Tensor):
        self.step, self.rolled_in, self.sentence = step, rolled_in, sentence
        self.members = self.rows = sentence.new_zeros(0)  # actions, and their rows in the state
        self.tensors: dict[str, Tensor] = {}  # of the state
        self.layout: _Layout | None = None  # of the members in the state, where that is known
        self.narrowed: dict[str, _Narrowed] = {}

    def keep(self, chosen: Tensor) -> None:
        if not bool(chosen.all()):
            self.members, self.rows, self.layout = self.members[chosen], self.rows[chosen], None

    def advance(self, joining: Tensor, tokens: Tensor, place: int) -> Tensor:
        """Let actions join, and feed every member its token at place - 1; return their features (n, D).

        Those that join are run apart from the others: their sentence has one state for all of them yet.
        """
        done = []
        if len(self.members) > 0:
            tensors, layout = self.tensors, self.layout
            if layout is None:  # somebody has come or gone
                self.members, order = self.members.sort()  # a sentence's actions side by side
                layout = _lay_out(self.sentence[self.members])
                rows = self.rows[order][layout.fill]
                tensors = {name: tensor.index_select(0, rows) for name, tensor in tensors.items()}
            done.append(self._run("staying", self.members, layout, tensors, tokens, place))
        if len(joining) > 0:
            layout = _lay_out(self.sentence[joining])
            rows = layout.sentences
            if not self.step_for("joining", layout).step.one_state_a_sentence:
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

    def step_for(self, who: str, layout: "_Layout") -> "_Narrowed":
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


class _Layout(NamedTuple):
    """n actions of B sentences as rows of a state: K rows a sentence, and the surplus repeats its first action."""

    sentences: Tensor  # (B,)
    rows: Tensor  # (n,) the row of each action
    fill: Tensor  # (B * K,) the try of each row


def _lay_out(sentence: Tensor) -> _Layout:
    """From the sentence of each of n actions, ascending, to a layout of the sentences that there are."""
    sentences, number, counts = torch.unique_consecutive(sentence, return_inverse=True, return_counts=True)
    width, starts = int(counts.max()), counts.cumsum(0) - counts
    actions = torch.arange(len(sentence), device=sentence.device)
    rows = number * width + actions - starts[number]
    fill = starts.repeat_interleave(width)
    fill[rows] = actions
    return _Layout(sentences, rows, fill)


def _repeats_roll_in(rolled_in: RollIn, actions: Actions) -> Tensor:
    """Which actions are the roll-in's own token at a cell after which it was greedy: (R,) bool."""
    if rolled_in.greedy is None:
        return torch.zeros_like(actions.token, dtype=torch.bool)
    differs = rolled_in.tokens.ne(rolled_in.greedy) & rolled_in.tokens.ne(FILL)  # (B, L)
    later = differs.flip(1).cumsum(dim=1).flip(1) - differs.long()
    at = actions.sentence, actions.position
    return (later[at] == 0) & (rolled_in.tokens[at] == actions.token)


def best_token(step: Step, features: Tensor, candidates: Tensor) -> Tensor:
    """The best-scoring candidate of each row: (R,)."""
    scores = step.scores(features)
    best = largest(scores)
    if not bool(candidates[best].all()):
        best = largest(scores.masked_fill(~candidates, -torch.inf))
    return best


def largest(scores: Tensor) -> Tensor:
    """The place of each row's maximum, the first where several tie: (R,) from (R, V).

    On a CPU torch finds a maximum far faster than its place; so for a large V: the maxima of blocks, the first block
    that holds the largest, and its place in there.
    """
    rows, width = scores.shape
    whole = width // BLOCK * BLOCK
    if width < FEW_BLOCKS * BLOCK or scores.is_cuda:
        return scores.argmax(dim=1)
    blocks = scores[:, :whole].unflatten(1, (-1, BLOCK))  # (R, V / BLOCK, BLOCK)
    block = blocks.amax(dim=2).argmax(dim=1)
    inside = blocks[torch.arange(rows, device=scores.device), block]  # (R, BLOCK)
    best, place = inside.max(dim=1)
    if whole == width:
        return block * BLOCK + place
    rest, last = scores[:, whole:].max(dim=1)
    return torch.where(rest > best, whole + last, block * BLOCK + place)


def _detached(state: State) -> State:
    return state._replace(tensors={name: tensor.detach() for name, tensor in state.tensors.items()})
