"""A back-off n-gram as tensors: all lookups of a frame at once, and probabilities that can be trained.

With h' the history h without its oldest word,

    LM(w | h) = log_prob(h w) where that n-gram is listed, else backoff(h) + LM(w | h')

A state is a history as far as it matters: the longest listed one from which something follows, or whose back-off weight
is not 0. State 0 is the empty history.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqsearch_fairseq.algorithms.beam_decoder.arpa import Arpa
from seqsearch_fairseq.algorithms.beam_decoder.language_models import Advance

BEGIN_WORD, END_WORD, UNKNOWN = "<s>", "</s>", "<unk>"
NO_STATE = -1


class NgramLanguageModel(nn.Module):
    """A back-off n-gram over the words of a lexicon. A reading of itself.

    Args:
        arpa: the model.
        words: the lexicon's words, in the order of their numbers. Those that the model does not have are its `<unk>`.
        trainable: whether log-probabilities and back-off weights are parameters.

    Raises:
        ValueError: an n-gram is listed twice, or its history is not listed, or the history has no back-off weight;
            `<s>` or `</s>` is missing; a word is missing, and there is no `<unk>`.
    """

    numbers: Tensor  # (W + 1,) the model's number of each word of the lexicon, and of the end
    keys: Tensor  # (E,) of the n-grams, see `find`
    log_probs: Tensor  # (E,)
    next_states: Tensor  # (E,)
    backoffs: Tensor  # (Q,)
    fallbacks: Tensor  # (Q,)

    def __init__(self, arpa: Arpa, words: Sequence[str], trainable: bool = False):
        super().__init__()
        table = _table(arpa)
        self.trainable = trainable
        self.order = len(arpa.sections)
        self.vocabulary_size = len(arpa.vocabulary)
        self.start = int(table.next_states[_special(arpa, BEGIN_WORD)])
        self.state_limit = len(table.backoffs)
        numbers = [*_numbers(arpa, words), _special(arpa, END_WORD)]  # END is the last one
        for name, tensor in (
            ("numbers", torch.tensor(numbers)),
            ("keys", table.keys),
            ("next_states", table.next_states),
            ("fallbacks", table.fallbacks),
        ):
            self.register_buffer(name, tensor, persistent=False)
        for name, tensor in (("log_probs", table.log_probs), ("backoffs", table.backoffs)):
            if trainable:
                self.register_parameter(name, nn.Parameter(tensor))
            else:
                self.register_buffer(name, tensor, persistent=False)

    def begin(self) -> "NgramLanguageModel":
        return self

    @torch.no_grad()
    def advance(self, states: Tensor, words: Tensor) -> Advance:
        found = self._find(states, words)
        return Advance(self._scores(found), self.next_states.index_select(0, found.entries))

    def scores(self, states: Tensor, words: Tensor) -> Tensor:
        return self._scores(self._find(states, words))

    def _find(self, states: Tensor, words: Tensor) -> "_Found":
        numbers = self.numbers.index_select(0, words.remainder(len(self.numbers)))  # END is the last one
        return find(self.keys, self.fallbacks, states, numbers, self.vocabulary_size, self.order)

    def _scores(self, found: "_Found") -> Tensor:
        scores = self.log_probs.index_select(0, found.entries)
        for states, backed_off in zip(found.states, found.backed_off, strict=True):
            scores = scores + self.backoffs.index_select(0, states) * backed_off
        return scores


class _Found(NamedTuple):
    entries: Tensor  # (M,) the n-gram whose probability counts
    states: list[Tensor]  # each (M,): the histories that were looked up before it
    backed_off: list[Tensor]  # each (M,) bool: whether the weight of that history counts


def find(keys: Tensor, fallbacks: Tensor, states: Tensor, words: Tensor, vocabulary_size: int, order: int) -> _Found:
    """The longest listed n-gram of each pair (state, word), both (M,).

    Args:
        keys: (E,) sorted, `state * vocabulary_size + word` of each n-gram; with all words for state 0.
        fallbacks: (Q,) the next shorter history of a state; 0 for state 0.
    """
    found, tried, missed = words, [], []  # in state 0 the n-grams are the 1-grams, in the order of their words
    for _ in range(order - 1):
        wanted = states * vocabulary_size + words
        entries = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
        misses = keys.index_select(0, entries) != wanted
        tried.append(states)
        missed.append(misses)
        states = torch.where(misses, fallbacks.index_select(0, states), states)
        found = torch.where(misses, words, entries)
    return _Found(found, tried, missed)


class _Table(NamedTuple):
    """All n-grams in the order of their keys, and all states."""

    keys: Tensor  # (E,)
    log_probs: Tensor  # (E,)
    next_states: Tensor  # (E,) the state after the n-gram
    backoffs: Tensor  # (Q,) 0 for state 0
    fallbacks: Tensor  # (Q,)


def _table(arpa: Arpa) -> _Table:
    size, orders = len(arpa.vocabulary), len(arpa.sections)
    tries = _histories(arpa)
    states, count = [], 1
    for order, section in enumerate(arpa.sections, 1):
        own = torch.full((len(section.lines),), NO_STATE)
        if order < orders:
            matters = tries[order - 1].has_next | (section.backoffs.nan_to_num() != 0)
            own[matters] = torch.arange(count, count + int(matters.sum()))
            count += int(matters.sum())
        states.append(own)

    owners = [torch.zeros_like(states[0])]  # of each n-gram: the state of its history
    owners += [states[order - 2][tries[order - 1].histories] for order in range(2, orders + 1)]
    keys = [owner * size + section.words[:, -1] for owner, section in zip(owners, arpa.sections, strict=True)]
    sorted_keys, ranking = torch.cat(keys).sort()
    entries = torch.empty_like(ranking)
    entries[ranking] = torch.arange(len(ranking))

    next_states = torch.zeros_like(sorted_keys)
    fallbacks, backoffs = torch.zeros(count, dtype=torch.long), torch.zeros(count, dtype=torch.float64)
    begin = 0
    for order, section in enumerate(arpa.sections, 1):  # a shorter history is known before the longer ones
        end = begin + len(section.lines)
        shorter = torch.zeros_like(states[order - 1])
        if order > 1:
            found = find(sorted_keys, fallbacks, fallbacks[owners[order - 1]], section.words[:, -1], size, order - 1)
            shorter = next_states[found.entries]
        own = states[order - 1]
        next_states[entries[begin:end]] = torch.where(own == NO_STATE, shorter, own)
        matters = own != NO_STATE
        fallbacks[own[matters]] = shorter[matters]
        backoffs[own[matters]] = section.backoffs[matters].nan_to_num()
        begin = end
    log_probs = torch.cat([section.log_probs for section in arpa.sections])[ranking]
    return _Table(sorted_keys, log_probs, next_states, backoffs, fallbacks)


class _Histories(NamedTuple):
    histories: Tensor  # (G,) which n-gram of the next lower order each one's history is
    has_next: Tensor  # (G,) bool: whether an n-gram of the next higher order begins with it


def _histories(arpa: Arpa) -> list[_Histories]:
    """What is listed below what, for each order, after the check that it is all there."""
    size = len(arpa.vocabulary)
    listed: list[tuple[Tensor, Tensor]] = []  # of each order: sorted keys (history, word), and whose they are
    histories, has_next = [], []
    for order, section in enumerate(arpa.sections, 1):
        own = torch.zeros(len(section.lines), dtype=torch.long)
        for place in range(order - 1):
            own, missing = _look_up(*listed[place], own * size + section.words[:, place])
            if bool(missing.any()):
                raise ValueError(
                    f"{arpa.place(order, _first(missing))}: the history of the {order}-gram "
                    f"{arpa.text(order, _first(missing))!r} is not among the {order - 1}-grams"
                )
        keys, ranking = (own * size + section.words[:, -1]).sort(stable=True)
        twice = torch.nn.functional.pad(keys.diff() == 0, (1, 0), value=False)[: len(keys)]
        if bool(twice.any()):
            number = int(ranking[twice].min())
            raise ValueError(f"{arpa.place(order, number)}: the {order}-gram {arpa.text(order, number)!r} stands twice")
        listed.append((keys, ranking))
        histories.append(own)
        has_next.append(torch.zeros_like(own, dtype=torch.bool))
        if order > 1:
            has_next[-2][own] = True
    for order, (begins, section) in enumerate(zip(has_next, arpa.sections, strict=True), 1):
        without = begins & section.backoffs.isnan()
        if bool(without.any()):
            raise ValueError(
                f"{arpa.place(order, _first(without))}: the {order}-gram {arpa.text(order, _first(without))!r} needs a "
                f"back-off weight, because {order + 1}-grams begin with it"
            )
    return [_Histories(*columns) for columns in zip(histories, has_next, strict=True)]


def _look_up(keys: Tensor, numbers: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers of the wanted keys among sorted ones, and which are missing."""
    if len(keys) == 0:
        return torch.zeros_like(wanted), torch.ones_like(wanted, dtype=torch.bool)
    places = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return numbers[places], keys[places] != wanted


def _first(mask: Tensor) -> int:
    return int(mask.nonzero()[0])


def _special(arpa: Arpa, word: str) -> int:
    if word not in arpa.vocabulary:
        raise ValueError(f"{arpa.name}: the language model must have {word} among its 1-grams")
    return arpa.vocabulary[word]


def _numbers(arpa: Arpa, words: Sequence[str]) -> list[int]:
    unknown = arpa.vocabulary.get(UNKNOWN, NO_STATE)
    missing = [word for word in words if word not in arpa.vocabulary]
    if missing and unknown == NO_STATE:
        raise ValueError(
            f"{arpa.name}: the language model has no {UNKNOWN}, and {len(missing)} words of the lexicon are not among "
            f"its 1-grams, the first of them {missing[0]!r}"
        )
    return [arpa.vocabulary.get(word, unknown) for word in words]
