"""What the search asks of a language model, and the model that says nothing.

A language model reads the words of the lexicon by their numbers, and its scores are base-10 logarithms, as in ARPA
files. One search has one reading of it, in which histories are numbered: two histories that the model need not tell
apart may have one number, a state.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

END = -1  # in the place of a word: the end of the sentence


class Advance(NamedTuple):
    scores: Tensor  # (M,) LM(w | q)
    states: Tensor  # (M,) q', the state after w


class Reading(Protocol):
    """A language model during one search; all of it without gradient, but `scores`."""

    start: int  # the state before the first word
    state_limit: int  # Q: every state is in [0, Q)

    @property
    def trainable(self) -> bool:
        """Whether `scores` has a gradient."""
        ...

    def advance(self, states: Tensor, words: Tensor) -> Advance:
        """Scores and next states of M pairs (state, word)."""
        ...

    def scores(self, states: Tensor, words: Tensor) -> Tensor:
        """Scores (M,) of M pairs (state, word), END among the words, with the gradient of the model's parameters."""
        ...


class LanguageModel(Protocol):
    def begin(self) -> Reading:
        """A reading for one search."""
        ...


class NoLanguageModel:
    """All scores are 0, and there is one state. A reading of itself."""

    start = 0
    state_limit = 1
    trainable = False

    def begin(self) -> "NoLanguageModel":
        return self

    def advance(self, states: Tensor, words: Tensor) -> Advance:
        return Advance(self.scores(states, words), states)

    def scores(self, states: Tensor, words: Tensor) -> Tensor:
        return torch.zeros_like(words, dtype=torch.float64)
