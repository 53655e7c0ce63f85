"""A GRU decoder stepped without gradient: the numbers of `nn.GRU`, in fewer and larger operations.

SEARNN spends nearly all its time in roll-outs. This step makes them cheaper:

- what a token gives to the gates is looked up, where the vocabulary is so small that a table of it pays;
- what a sentence's memory gives to them at each position is computed once a sentence, not once a row;
- where a sentence's rows still have one state, the hidden part of the gates is computed once for all of them;
- tanh x is 2 sigmoid(2 x) - 1, which torch computes several times faster on a CPU (the difference is a rounding error).
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqsearch_fairseq.algorithms.step import State

TABLE = 1024  # vocabularies up to this size are looked up
BLOCK = 4096  # rows that are worked on at once, so that their memory is used again


class Gates:
    """The weights of a one-layer `nn.GRU`, those of the candidate state doubled; shared by all sentences.

    Args:
        rnn: the layer, an `nn.GRU`.
        embedding: (V, E); the first E columns of the layer's input read it, the others a memory.
    """

    def __init__(self, rnn: nn.RNNBase, embedding: Tensor):
        self.size = size = rnn.hidden_size
        double = torch.ones(3 * size, dtype=embedding.dtype, device=embedding.device)
        double[2 * size :] = 2
        # The names that an `nn.GRU` gives to the weights of its first layer.
        weights: dict[str, Tensor] = {
            name: getattr(rnn, f"{name}_l0") for name in ("weight_hh", "bias_hh", "weight_ih", "bias_ih")
        }
        self.of_hidden, self.hidden_bias = (weights["weight_hh"] * double.unsqueeze(1)).t(), weights["bias_hh"] * double
        weight, width = weights["weight_ih"] * double.unsqueeze(1), embedding.size(1)
        self.of_token, self.of_memory = weight[:, :width].t(), weight[:, width:].t()
        self.bias = weights["bias_ih"] * double
        self.embedding, self.table = embedding, None
        if len(embedding) <= TABLE:
            self.table = torch.addmm(self.bias, embedding, self.of_token)  # (V, 3 D)
        self._buffers: dict[str, Tensor] = {}

    def of_tokens(self, tokens: Tensor) -> Tensor:
        """What the tokens (n,) give to the gates: (n, 3 D), in a buffer."""
        out = self.buffer("now", len(tokens), 3 * self.size)
        if self.table is not None:
            return torch.index_select(self.table, 0, tokens, out=out)
        embedded = self.buffer("embedded", len(tokens), self.embedding.size(1))
        return torch.addmm(
            self.bias, torch.index_select(self.embedding, 0, tokens, out=embedded), self.of_token, out=out
        )

    def of_states(self, states: Tensor) -> Tensor:
        """What the states (n, D) give to the gates: (n, 3 D), in a buffer."""
        out = self.buffer("hidden", len(states), 3 * self.size)
        return torch.addmm(self.hidden_bias, states, self.of_hidden, out=out)

    def buffer(self, name: str, rows: int, width: int) -> Tensor:
        held = self._buffers.get(name)
        if held is None or len(held) < rows:
            held = self._buffers[name] = self.bias.new_empty(max(rows, BLOCK), width)
        return held[:rows]


class Attention(NamedTuple):
    """Features are tanh(states @ weight + bias + the mean value), all doubled but the keys; see `attention_gru.py`."""

    weight: Tensor  # (D, D)
    bias: Tensor  # (D,)
    keys: Tensor  # (B, S, D)
    values: Tensor  # (B, S, D)
    padding: Tensor  # (B, S) bool

    def narrow(self, sentences: Tensor | slice) -> "Attention":
        return self._replace(keys=self.keys[sentences], values=self.values[sentences], padding=self.padding[sentences])

    def features(self, states: Tensor) -> Tensor:
        """From the states (B, K, D) of sentences to their features (B, K, D)."""
        scores = torch.bmm(states, self.keys.transpose(1, 2)).masked_fill_(self.padding.unsqueeze(1), float("-inf"))
        mean = torch.bmm(torch.softmax(scores, dim=2), self.values)
        doubled = torch.addmm(self.bias, states.reshape(-1, states.size(2)), self.weight)
        return fast_tanh_of_half_(mean.add_(doubled.view_as(mean)))


class GRUStep:
    """A `Step` for the no-gradient part of a search.

    Its states are the decoder's own: one tensor (N, 1, D). A state may also have one row a sentence for all its inputs.

    Args:
        gates: see there.
        bos: the token that begins a sentence.
        batch_size: B.
        memory: (B, S, 3 D), what each position's memory gives to the gates; None without.
        attention: what makes features of states; None where the states are the features.
        scores: from rows of features to scores.
        initial: (B, D), the state before the first step.
    """

    has_noise = False
    one_state_a_sentence = True

    def __init__(
        self,
        gates: Gates,
        bos: int,
        batch_size: int,
        scores: Callable[[Tensor], Tensor],
        initial: Tensor,
        memory: Tensor | None = None,
        attention: Attention | None = None,
    ):
        self.gates, self.bos, self.batch_size, self.scores = gates, bos, batch_size, scores
        self.initial, self.memory, self.attention = initial, memory, attention

    def start(self, beam_size: int) -> State:
        return State({"hidden": self.initial.repeat_interleave(beam_size, dim=0).unsqueeze(1)}, 0, {})

    def narrow(self, sentences: Tensor, shared: dict) -> tuple["GRUStep", dict]:
        memory = None if self.memory is None else self.memory[sentences]
        attention = None if self.attention is None else self.attention.narrow(sentences)
        initial = self.initial[sentences]
        return GRUStep(self.gates, self.bos, len(sentences), self.scores, initial, memory, attention), shared

    @property
    def embedding(self) -> Tensor:
        return self.gates.embedding

    def inputs_of(self, tokens: Tensor) -> Tensor:
        return tokens

    def noise_free(self):
        return nullcontext()

    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        ((name, tensor),) = state.tensors.items()
        size, width = self.gates.size, len(inputs) // self.batch_size
        previous = tensor.view(self.batch_size, -1, size)  # (B, K, D), or (B, 1, D)
        tokens = inputs.view(self.batch_size, width)
        new = previous.new_empty(self.batch_size, width, size)
        features = new if self.attention is None else torch.empty_like(new)
        for start in range(0, self.batch_size, max(1, BLOCK // width)):
            sentences = slice(start, start + max(1, BLOCK // width))
            self._step(tokens[sentences], previous[sentences], state.position, sentences, out=new[sentences])
            if self.attention is not None:
                features[sentences] = self.attention.narrow(sentences).features(new[sentences])
        return features.flatten(0, 1), State({name: new.view(-1, 1, size)}, state.position + 1, state.shared)

    def _step(self, tokens: Tensor, previous: Tensor, position: int, sentences: slice, out: Tensor) -> None:
        """The recurrence for tokens (b, K) of some sentences, in memory that is used again."""
        size, shape = self.gates.size, (*tokens.shape, 3 * self.gates.size)
        now = self.gates.of_tokens(tokens.reshape(-1)).view(shape)
        hidden = self.gates.of_states(previous.reshape(-1, size)).view(len(tokens), -1, 3 * size)
        if self.memory is not None:
            now += self.memory[sentences, min(position, self.memory.size(1) - 1)].unsqueeze(1)
        both, candidate = now[..., : 2 * size], now[..., 2 * size :]
        both += hidden[..., : 2 * size]
        reset, update = both.sigmoid_().split(size, dim=2)
        fast_tanh_of_half_(candidate.addcmul_(reset, hidden[..., 2 * size :]))
        torch.lerp(candidate, previous, update, out=out)


def fast_tanh_of_half_(doubled: Tensor) -> Tensor:
    """tanh(x) from 2 x, in place."""
    return doubled.sigmoid_().mul_(2).sub_(1)
