"""The recurrence of a GRU decoder without gradient: the numbers of `nn.GRU`, in fewer and larger operations.

    r, z = sigmoid(of token + memory + state)    c = tanh(of token + memory + r (of state))    h' = c + z (h - c)

What a token gives is a row of a table, [bias of c's state; r; z; c]. It is looked up, what the memory gives is added to
the last three parts, and the product of the state is accumulated on the first three. All that is done to a block of
rows while it is in the processor's cache.

tanh x is 2 sigmoid(2 x) - 1, which torch computes several times faster on a CPU (the difference is a rounding error).

The product, and what it is added to, may be in a narrower type than the states. Sigmoids and states stay in theirs.
"""

import torch
from torch import Tensor, nn

from seqsearch_fairseq.algorithms.products import filled

TABLE = 1024  # vocabularies up to this size are in the table from the beginning; of others what was looked up
BLOCK = 1024  # rows that are worked on at once


class Gates:
    """The weights of a one-layer `nn.GRU`, those of the candidate state doubled; shared by all sentences.

    Args:
        rnn: the layer, an `nn.GRU`.
        embedding: (V, E); the first E columns of the layer's input read it, the others a memory.
        products: the type that products with the states are made in, and added to what token and memory give.
    """

    def __init__(self, rnn: nn.RNNBase, embedding: Tensor, products: torch.dtype):
        self.size, self.embedding, self.products = rnn.hidden_size, embedding, products
        size = self.size
        double = torch.ones(3 * size, dtype=embedding.dtype, device=embedding.device)
        double[2 * size :] = 2
        # The names that an `nn.GRU` gives to the weights of its first layer.
        weights: dict[str, Tensor] = {
            name: getattr(rnn, f"{name}_l0") for name in ("weight_hh", "bias_hh", "weight_ih", "bias_ih")
        }
        of_hidden, hidden_bias = weights["weight_hh"] * double.unsqueeze(1), weights["bias_hh"] * double
        of_inputs, bias = weights["weight_ih"] * double.unsqueeze(1), weights["bias_ih"] * double
        width = embedding.size(1)
        self.of_memory = of_inputs[:, width:].t()  # (C, 3 D)
        self._of_hidden = of_hidden.roll(size, dims=0).t().contiguous().to(products)  # (D, 3 D): c, r, z
        bias = torch.cat([hidden_bias[2 * size :], bias[: 2 * size] + hidden_bias[: 2 * size], bias[2 * size :]])
        self._tokens = TokenTable(embedding, of_inputs[:, :width].t(), bias, products)
        self._buffers: dict[tuple[str, torch.dtype], Tensor] = {}

    def step(
        self, tokens: Tensor, states: Tensor, sentence: Tensor, memory: Tensor | None, one_state: bool = False
    ) -> Tensor:
        """The next states of n rows: (n, D).

        Args:
            tokens: (n,) the inputs.
            states: (n, D); or (B, D) with `one_state`.
            sentence: (n,) the sentence of each row.
            memory: (B, 3 D) what the memory gives to each sentence's gates at this position, in the type of products.
            one_state: whether the rows of a sentence still have one state.
        """
        new, of_sentence = states.new_empty(len(tokens), self.size), memory
        if one_state:
            of_sentence = states.new_zeros(self._lines(len(states)), 4 * self.size, dtype=self.products)
            if memory is not None:
                of_sentence[: len(states), self.size :] = memory
            self._add_product(of_sentence, states)
        for start in range(0, len(tokens), BLOCK):
            rows = slice(start, start + BLOCK)
            count = len(tokens[rows])
            lines = self._buffer("now", self._lines(count), 4, self.products)
            now = self._tokens.look_up(tokens[rows], out=lines[:count])
            if of_sentence is not None:
                given = self._buffer("given", count, of_sentence.size(1) // self.size, self.products)
                now[:, -given.size(1) :] += torch.index_select(of_sentence, 0, sentence[rows], out=given)
            if one_state:
                before = self._buffer("before", count, 1, states.dtype)
                torch.index_select(states, 0, sentence[rows], out=before)
            else:
                before = states[rows]
                self._add_product(lines, before)
            if self.products != states.dtype:
                now = self._buffer("wide", count, 4, states.dtype).copy_(now)
            self._gate(now, before, out=new[rows])
        return new

    def _add_product(self, now: Tensor, states: Tensor) -> None:
        """Add what the states (n, D) give to the first three parts of `now` (`_lines(n)`, 4 D)."""
        first = now[:, : 3 * self.size]
        if self.products != states.dtype:
            rounded = self._buffer("rounded", len(now), 1, self.products)
            rounded[: len(states)] = states
            states = rounded
        torch.addmm(first, states, self._of_hidden, out=first)

    def _lines(self, rows: int) -> int:
        return rows if self.products == self.embedding.dtype else filled(rows)

    def _gate(self, now: Tensor, before: Tensor, out: Tensor) -> None:
        of_hidden, both, candidate = now.split([self.size, 2 * self.size, self.size], dim=1)
        reset, update = both.sigmoid_().split(self.size, dim=1)
        fast_tanh_of_half_(candidate.addcmul_(reset, of_hidden))
        torch.lerp(candidate, before, update, out=out)

    def _buffer(self, name: str, rows: int, parts: int, dtype: torch.dtype) -> Tensor:
        """Memory that is used again: (rows, parts * D)."""
        held, width = self._buffers.get((name, dtype)), parts * self.size
        if held is None or held.numel() < rows * width:
            held = self._buffers[name, dtype] = self._of_hidden.new_empty(rows * width, dtype=dtype)
        return held[: rows * width].view(rows, width)


class TokenTable:
    """What each token gives to the gates. In a large vocabulary a token's row is made when it is first looked up.

    Args:
        embedding: (V, E).
        weight: (E, 3 D).
        bias: (4 D,).
        dtype: of the table's rows.
    """

    def __init__(self, embedding: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype):
        self._embedding, self._weight, self._bias = embedding, weight, bias
        whole = len(embedding) <= TABLE
        self._rows = self._made(embedding).to(dtype) if whole else bias.new_empty(0, len(bias), dtype=dtype)
        self._place = None if whole else torch.full((len(embedding),), -1, device=bias.device)  # of a token's row
        self._count = len(self._rows)

    def look_up(self, tokens: Tensor, out: Tensor) -> Tensor:
        places = tokens if self._place is None else self._places(tokens)
        return torch.index_select(self._rows, 0, places, out=out)

    def _places(self, tokens: Tensor) -> Tensor:
        assert self._place is not None
        places = self._place[tokens]
        new = tokens[places < 0].unique()
        if len(new) == 0:
            return places
        begin, self._count = self._count, self._count + len(new)
        if self._count > len(self._rows):
            rows = self._rows.new_empty(max(self._count, 2 * begin, TABLE), len(self._bias))
            rows[:begin] = self._rows[:begin]
            self._rows = rows
        self._rows[begin : self._count] = self._made(self._embedding[new])
        self._place[new] = torch.arange(begin, self._count, device=new.device)
        return self._place[tokens]

    def _made(self, embedded: Tensor) -> Tensor:
        rows, apart = self._bias.repeat(len(embedded), 1), len(self._bias) - self._weight.size(1)
        rows[:, apart:].addmm_(embedded, self._weight)
        return rows


def fast_tanh_of_half_(doubled: Tensor) -> Tensor:
    """tanh(x) from 2 x, in place."""
    return doubled.sigmoid_().mul_(2).sub_(1)
