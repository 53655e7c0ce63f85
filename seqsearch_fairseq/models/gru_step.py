"""A GRU decoder stepped without gradient: the numbers of `nn.GRU`, in fewer and larger operations.

For the roll-outs of SEARNN, which are nearly all that a GRU spends there:

- what a token gives to the gates is looked up, where the vocabulary is so small that a table of it pays;
- what a sentence's memory gives to them at each position is computed once a sentence, not once a row;
- where a sentence's rows still have one state, the hidden part of the gates is computed once for all of them;
- tanh x is 2 sigmoid(2 x) - 1, which torch computes several times faster on a CPU (the difference is a rounding error).
"""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from seqsearch_fairseq.algorithms.step import State

TABLE = 1024  # vocabularies up to this size are looked up


class Gates:
    """The weights of a one-layer `nn.GRU`, those of the candidate state doubled; shared by all sentences.

    Args:
        rnn: the layer.
        embedding: (V, E); the first E columns of the layer's input read it, the others a memory.
    """

    def __init__(self, rnn: nn.GRU, embedding: Tensor):
        size, width = rnn.hidden_size, embedding.size(1)
        double = torch.ones(3 * size, dtype=embedding.dtype, device=embedding.device)
        double[2 * size :] = 2
        hidden_bias = rnn.bias_hh_l0 * double
        self.of_hidden = (rnn.weight_hh_l0 * double.unsqueeze(1)).t()  # (D, 3 D)
        self.hidden_bias = hidden_bias
        weight = rnn.weight_ih_l0 * double.unsqueeze(1)
        self.of_token, self.of_memory = weight[:, :width].t(), weight[:, width:].t()
        self.bias = rnn.bias_ih_l0 * double
        self.size = size
        self.looked_up = len(embedding) <= TABLE
        self.inputs = torch.addmm(self.bias, embedding, self.of_token) if self.looked_up else embedding

    def of_inputs(self, inputs: Tensor) -> Tensor:
        """The tokens' part of the gates, (N, 3 D), which may be overwritten."""
        return inputs if self.looked_up else torch.addmm(self.bias, inputs, self.of_token)


class GRUStep:
    """A `Step` for the no-gradient part of a search, whose `embedding` holds gates where these are looked up.

    Its states are the decoder's own: one tensor (N, 1, D). A state may also have one row a sentence for all its inputs.

    Args:
        gates: see there.
        bos: the token that begins a sentence.
        memory: (B, S, 3 D), what each position's memory gives to the gates; None without.
        to_features: from states (B, K, D) to what `scores` reads, (B, K, D).
        scores: from rows of features to scores.
        batch_size: B.
    """

    has_noise = False
    one_state_a_sentence = True

    def __init__(
        self,
        gates: Gates,
        bos: int,
        memory: Tensor | None,
        to_features: Callable[[Tensor], Tensor],
        scores: Callable[[Tensor], Tensor],
        batch_size: int,
    ):
        self.gates, self.bos, self.memory, self.to_features = gates, bos, memory, to_features
        self.scores, self.batch_size = scores, batch_size

    @property
    def embedding(self) -> Tensor:
        return self.gates.inputs

    def noise_free(self):
        return nullcontext()

    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        ((name, tensor),) = state.tensors.items()
        gates, size = self.gates, self.gates.size
        previous = tensor[:, 0]  # (N, D), or (B, D)
        hidden = torch.addmm(gates.hidden_bias, previous, gates.of_hidden).view(self.batch_size, -1, 3 * size)
        now = gates.of_inputs(inputs).view(self.batch_size, -1, 3 * size)  # (B, K, 3 D)
        if self.memory is not None:
            now += self.memory[:, min(state.position, self.memory.size(1) - 1)].unsqueeze(1)
        now[..., : 2 * size] += hidden[..., : 2 * size]
        reset, update = now[..., : 2 * size].sigmoid_().split(size, dim=2)
        candidate = fast_tanh_of_half_(now[..., 2 * size :].addcmul_(reset, hidden[..., 2 * size :]))
        new = torch.lerp(candidate, previous.view(self.batch_size, -1, size), update)  # (B, K, D)
        features = self.to_features(new).flatten(0, 1)
        return features, State({name: new.view(-1, 1, size)}, state.position + 1, state.shared)


def fast_tanh_of_half_(doubled: Tensor) -> Tensor:
    """tanh(x) from 2 x, in place."""
    return doubled.sigmoid_().mul_(2).sub_(1)
