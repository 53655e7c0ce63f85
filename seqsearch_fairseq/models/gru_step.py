"""A GRU decoder stepped without gradient: what SEARNN spends nearly all its time in.

The recurrence is in `gru_gates.py`. The attention works on a rectangle of rows, and its number of source positions is
filled up to a multiple of `LANES`: products and softmax over a few columns are several times faster then.

Products with weights may be made in a narrower type than the states. Those of the attention are not: they are small,
and rounding its scores changes more roll-outs than rounding all others.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.best_token import LANES, best_by, output_maximum
from seqsearch_fairseq.algorithms.products import Product
from seqsearch_fairseq.algorithms.ragged import lay_out
from seqsearch_fairseq.algorithms.step import OutputLayer, State
from seqsearch_fairseq.models.gru_gates import Gates, fast_tanh_of_half_

LEAST = 128  # units from which on this product in a narrower type saves more than rounding to it costs


class Attention(NamedTuple):
    """Features are tanh(states @ weight + the mean value), all doubled but the keys; see `attention_gru.py`."""

    weight: Product  # (D, D)
    keys: Tensor  # (B, D, S)
    values: Tensor  # (B, S, D) with the bias in each: the mean has it once
    padding: Tensor  # (B, 1, S) bool

    @classmethod
    def of(
        cls, weight: Tensor, bias: Tensor, keys: Tensor, values: Tensor, padding: Tensor, products: torch.dtype
    ) -> "Attention":
        """From the weight (D, D) and the bias (D,) of the states, and keys, values and padding (B, S, ...)."""
        surplus, pad = -keys.size(1) % LANES, torch.nn.functional.pad
        keys, values = (pad(rows, (0, 0, 0, surplus)) for rows in (keys, 2 * (values + bias)))
        padding = pad(padding, (0, surplus), value=True).unsqueeze(1)
        product = Product(2 * weight.t(), products if len(weight) >= LEAST else weight.dtype)
        return cls(product, keys.transpose(1, 2).contiguous(), values, padding)

    def narrow(self, sentences: Tensor) -> "Attention":
        keys, values, padding = (rows.index_select(0, sentences) for rows in (self.keys, self.values, self.padding))
        return self._replace(keys=keys, values=values, padding=padding)

    def mean(self, queries: Tensor) -> Tensor:
        """The mean value under the attention of each query: (B, K, D) from (B, K, D)."""
        scores = torch.bmm(queries, self.keys).masked_fill_(self.padding, float("-inf"))
        return torch.bmm(torch.softmax(scores, dim=2), self.values)


class GRURows:
    """A fixed set of rows, each of some sentence; see `RowStep`."""

    def __init__(self, step: "GRUStep", sentence: Tensor):
        self._gates, self._sentence, self._memory, self._attention = step.gates, sentence, step.memory, None
        if step.attention is not None:
            self._layout = lay_out(sentence)
            self._attention = step.attention_of(self._layout.sentences)

    def advance(self, tokens: Tensor, states: Tensor, position: int, one_state: bool = False) -> tuple[Tensor, Tensor]:
        memory = None if self._memory is None else self._memory[:, min(position, self._memory.size(1) - 1)]
        new = self._gates.step(tokens, states, self._sentence, memory, one_state)
        return new if self._attention is None else self._features(self._attention, new), new

    def _features(self, attention: Attention, states: Tensor) -> Tensor:
        layout = self._layout
        queries = states if layout.is_full else states.index_select(0, layout.fill)
        mean = attention.mean(queries.view(len(layout.sentences), -1, states.size(1))).flatten(0, 1)
        mean = mean if layout.is_full else mean.index_select(0, layout.rows)
        return fast_tanh_of_half_(attention.weight.add_to(mean, states))


class GRUStep:
    """A `Step`, and a `RowStep`, for the no-gradient part of a search.

    Its states are the decoder's own: one tensor (N, 1, D).

    Args:
        gates: see there.
        bos: the token that begins a sentence.
        scores: from rows of features to scores.
        output: what `scores` does, where it is a product.
        initial: (B, D), the state before the first step.
        memory: (B, S, 3 D), what each position's memory gives to the gates, in the type of products; None without.
        attention: what makes features of states; None where the states are the features.
    """

    has_noise = False
    rows_share = True

    def __init__(
        self,
        gates: Gates,
        bos: int,
        scores: Callable[[Tensor], Tensor],
        output: OutputLayer | None,
        initial: Tensor,
        memory: Tensor | None = None,
        attention: Attention | None = None,
    ):
        self.gates, self.bos, self.batch_size, self.scores, self.output = gates, bos, len(initial), scores, output
        self.initial, self.memory, self.attention = initial, memory, attention
        self._rows: GRURows | None = None  # the last ones that `advance` made, and how many they are
        self._count = 0
        self._best: tuple[Tensor, Callable[[Tensor], Tensor]] | None = None  # the last candidates, and what finds them
        self._narrowed = torch.arange(len(initial), device=initial.device), attention  # some sentences, and theirs

    def start(self, beam_size: int) -> State:
        return State({"hidden": self.initial.repeat_interleave(beam_size, dim=0).unsqueeze(1)}, 0, {})

    def narrow(self, sentences: Tensor, shared: dict) -> tuple["GRUStep", dict]:
        memory = None if self.memory is None else self.memory[sentences]
        attention = None if self.attention is None else self.attention.narrow(sentences)
        initial = self.initial[sentences]
        return GRUStep(self.gates, self.bos, self.scores, self.output, initial, memory, attention), shared

    @property
    def embedding(self) -> Tensor:
        return self.gates.embedding

    def inputs_of(self, tokens: Tensor) -> Tensor:
        return tokens

    def noise_free(self):
        return nullcontext()

    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        ((name, tensor),) = state.tensors.items()
        if self._rows is None or self._count != len(inputs):
            sentence = torch.arange(self.batch_size, device=inputs.device)
            self._rows = self.rows(sentence.repeat_interleave(len(inputs) // self.batch_size))
            self._count = len(inputs)
        features, new = self._rows.advance(inputs, tensor.flatten(1), state.position)
        return features, State({name: new.unsqueeze(1)}, state.position + 1, state.shared)

    @property
    def row_step(self) -> "GRUStep":
        return self

    def rows(self, sentence: Tensor) -> GRURows:
        return GRURows(self, sentence)

    def attention_of(self, sentences: Tensor) -> Attention | None:
        """The attention of some sentences; the last one, if it was for the same."""
        if self.attention is not None and not torch.equal(sentences, self._narrowed[0]):
            self._narrowed = sentences, self.attention.narrow(sentences)
        return self._narrowed[1]

    def states_of(self, state: State) -> Tensor:
        (tensor,) = state.tensors.values()
        return tensor.flatten(1)

    def best_of(self, candidates: Tensor) -> Callable[[Tensor], Tensor]:
        if self.output is None:
            return lambda features: best_by(self.scores(features), candidates)
        if self._best is None or self._best[0] is not candidates:
            self._best = candidates, output_maximum(self.output, candidates)
        return self._best[1]
