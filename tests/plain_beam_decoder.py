"""The beam decoder of one sentence in plain Python and autograd: a dict from hypothesis to score, frame by frame.

It is what `beam_decoder` is compared with where the beam is narrow. A hypothesis is (prefix, unit, history): the units
of the unfinished word, the unit of the latest frame (None before the first), and the words so far.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Hypothesis = tuple[tuple[int, ...], int | None, object]
END = -1


class Setting(NamedTuple):
    """What the scores of paths depend on, besides the emissions."""

    spellings: Sequence[tuple[int, Sequence[int]]]  # word, units
    language_model: Callable[[tuple[int, ...], int], Tensor | float]  # history, word or END -> score
    lm_state: Callable[[tuple[int, ...]], object]  # what two histories must share to be merged
    blank: int | None = None  # None: ASG
    silence: int | None = None
    lm_weight: Tensor | float = 1.0
    word_score: Tensor | float = 0.0
    silence_score: Tensor | float = 0.0
    transitions: Tensor | None = None


class Found(NamedTuple):
    score: Tensor  # log-add over the complete hypotheses; -inf where there is none
    states: list[set]  # of each frame: the states of the beam
    complete: dict  # history -> score, of the complete hypotheses


def moves(given: Setting, prefix: tuple[int, ...], unit: int | None) -> Iterable[tuple[int, tuple[int, ...], int]]:
    """What a frame can do: (unit, prefix then, word or END if none)."""
    following = {spelling[len(prefix)] for _, spelling in given.spellings if is_longer(spelling, prefix)}
    for child in following - {unit}:
        longer = (*prefix, child)
        if any(is_longer(spelling, longer) for _, spelling in given.spellings):
            yield child, longer, END
        for word in {word for word, spelling in given.spellings if tuple(spelling) == longer}:
            yield child, (), word
    if unit is not None and unit != given.blank:
        yield unit, prefix, END
    if not prefix and given.silence is not None and given.silence != unit:
        yield given.silence, (), END
    if given.blank is not None:
        yield given.blank, prefix, END


def is_longer(spelling: Sequence[int], prefix: tuple[int, ...]) -> bool:
    return len(spelling) > len(prefix) and tuple(spelling[: len(prefix)]) == prefix


def state_of(given: Setting, hypothesis: Hypothesis) -> Hypothesis:
    prefix, unit, history = hypothesis
    return prefix, unit, given.lm_state(history)


def add(scores: list[Tensor]) -> Tensor:
    return torch.logsumexp(torch.stack(scores), dim=0)


def search(
    emissions: Tensor,
    given: Setting,
    beam_size: int,
    threshold: float = math.inf,
    kept: Sequence[set] | None = None,
    merge: Callable[[list[Tensor]], Tensor] = add,
) -> Found:
    """The beam over emissions (T, U). `kept` are states that stay whatever their rank, of each frame."""
    beam: dict[Hypothesis, tuple[tuple[int, ...], Tensor]] = {((), None, ()): ((), emissions.new_zeros(()))}
    states = []
    for t, frame in enumerate(emissions):
        candidates: dict[Hypothesis, list[tuple[tuple[int, ...], Tensor]]] = {}
        for (prefix, unit, _), (history, score) in beam.items():
            for then, longer, word in moves(given, prefix, unit):
                total = score + frame[then]
                if then == given.silence:
                    total = total + given.silence_score
                if given.transitions is not None and t > 0:
                    total = total + given.transitions[unit, then]
                words = history
                if word != END:
                    total = total + given.lm_weight * given.language_model(history, word) + given.word_score
                    words = (*history, word)
                candidates.setdefault(state_of(given, (longer, then, words)), []).append((words, total))
        merged = {}
        for state, found in candidates.items():
            best = max(found, key=lambda pair: float(pair[1]))
            merged[state] = (best[0], merge([total for _, total in found]))
        ranked = sorted(merged, key=lambda state: -float(merged[state][1]))
        least = float(merged[ranked[0]][1]) - threshold
        stay = {state for state in ranked[:beam_size] if float(merged[state][1]) >= least}
        stay |= {state for state in ranked if kept is not None and state in kept[t]}
        beam = {state: merged[state] for state in ranked if state in stay}
        states.append(stay)
    complete: dict[tuple[int, ...], list[Tensor]] = {}
    for (prefix, _, _), (history, score) in beam.items():
        if not prefix:
            total = score + given.lm_weight * given.language_model(history, END)
            complete.setdefault(history, []).append(total)
    totals = [total for found in complete.values() for total in found]
    score = merge(totals) if totals else emissions.new_full((), -math.inf)
    return Found(score, states, {history: merge(found) for history, found in complete.items()})


def align(emissions: Tensor, given: Setting, gold: tuple[int, ...]) -> Found:
    """The same over the paths whose words are `gold`; the states are those on a path of it."""
    layers: list[dict[tuple, Tensor]] = [{((), None, ()): emissions.new_zeros(())}]
    links: list[dict[Hypothesis, set[Hypothesis]]] = []
    for t, frame in enumerate(emissions):
        candidates: dict[Hypothesis, list[Tensor]] = {}
        came: dict[Hypothesis, set[Hypothesis]] = {}
        for hypothesis, score in layers[-1].items():
            prefix, unit, history = hypothesis
            for then, longer, word in moves(given, prefix, unit):
                words = history if word == END else (*history, word)
                if words != gold[: len(words)]:
                    continue
                total = score + frame[then]
                if then == given.silence:
                    total = total + given.silence_score
                if given.transitions is not None and t > 0:
                    total = total + given.transitions[unit, then]
                if word != END:
                    total = total + given.lm_weight * given.language_model(history, word) + given.word_score
                candidates.setdefault((longer, then, words), []).append(total)
                came.setdefault((longer, then, words), set()).add(hypothesis)
        layers.append({hypothesis: add(totals) for hypothesis, totals in candidates.items()})
        links.append(came)
    finals = {hypothesis for hypothesis in layers[-1] if not hypothesis[0] and hypothesis[2] == gold}
    totals = [layers[-1][hypothesis] + given.lm_weight * given.language_model(gold, END) for hypothesis in finals]
    states, alive = [], finals
    for came in reversed(links):
        states.insert(0, {state_of(given, hypothesis) for hypothesis in alive})
        alive = {before for hypothesis in alive for before in came[hypothesis]}
    score = add(totals) if totals else emissions.new_full((), -math.inf)
    return Found(score, states, {gold: score})
