"""One step of a one-layer LSTM, for several rows a sentence that read the same memory.

In a search all K beams of a sentence read the encoder's output at the same position. What it gives to the gates is made
once for all positions and beams, so a step multiplies its own label and state alone. Forward and backward are written
out:

    i, f, o = sigmoid    g = tanh    c' = f c + i g    h' = o tanh(c')

The backward pass needs the inputs, c, and the four gates, nothing else. With the weights of g doubled, as
`tanh(x) = 2 sigmoid(2 x) - 1`, all gates are one sigmoid.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LSTMStep:
    """The weights of a one-layer `nn.LSTM` as a step needs them.

    Args:
        rnn: the layer.
        width: E; the first E columns of its input read the label, the others the memory.
    """

    def __init__(self, rnn: nn.RNNBase, width: int):
        # The names that an `nn.LSTM` gives to the weights of its first layer.
        weights: dict[str, Tensor] = {
            name: getattr(rnn, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        self.size = rnn.hidden_size
        double = torch.ones_like(weights["bias_ih"])
        double[2 * self.size : 3 * self.size] = 2
        of_inputs = weights["weight_ih"] * double.unsqueeze(1)
        self._weight = torch.cat([of_inputs[:, :width], weights["weight_hh"] * double.unsqueeze(1)], dim=1)
        self._of_memory, self._bias = of_inputs[:, width:], (weights["bias_ih"] + weights["bias_hh"]) * double

    def gates_of(self, memory: Tensor) -> Tensor:
        """What the memory (B, S, C) gives to the gates: (B, S, 4 D)."""
        return F.linear(memory, self._of_memory, self._bias)

    def __call__(self, labels: Tensor, gates: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """From labels (N, E), what the memory gives (B, 4 D) and the state, two times (N, D), to the next state."""
        if state is None:
            hidden = cells = labels.new_zeros(len(labels), self.size)
        else:
            hidden, cells = state
        return _Step.apply(torch.cat([labels, hidden], dim=1), cells, gates, self._weight)

    @staticmethod
    def fits(rnn: nn.RNNBase) -> bool:
        """Whether the step is written out for this network, and faster: on a CPU, without autocast."""
        weight = rnn.weight_hh_l0
        return (
            isinstance(rnn, nn.LSTM)
            and rnn.num_layers == 1
            and weight.dtype in (torch.float32, torch.float64)
            and weight.device.type == "cpu"
            and not torch.is_autocast_enabled("cpu")
        )


class _Step(torch.autograd.Function):
    """(h', c') from [label; h] (N, E + D), c (N, D), what the memory gives (B, 4 D), and the weight (4 D, E + D)."""

    @staticmethod
    def forward(ctx, inputs, cells, of_memory, weight):
        gates = F.linear(inputs, weight)
        gates.unflatten(0, (len(of_memory), -1)).add_(of_memory.unsqueeze(1))  # (B, K, 4 D)
        entering, forgetting, half, showing = gates.sigmoid_().chunk(4, dim=1)  # in the order of `nn.LSTM`
        new_cells = _next_cells(cells, entering, forgetting, half)
        ctx.sentences = len(of_memory)
        ctx.save_for_backward(inputs, cells, gates, weight)
        return showing * new_cells.tanh(), new_cells

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, of_hidden, of_cells):
        inputs, cells, gates, weight = ctx.saved_tensors
        entering, forgetting, half, showing = gates.chunk(4, dim=1)
        shown = _next_cells(cells, entering, forgetting, half).tanh_()
        of_cells = torch.addcmul(of_cells, of_hidden * showing, 1 - shown.square())
        candidate = 2 * half - 1
        parts = of_cells * candidate, of_cells * cells, 2 * of_cells * entering, of_hidden * shown
        of_gates = torch.cat(parts, dim=1).mul_(gates * (1 - gates))
        of_memory = of_gates.unflatten(0, (ctx.sentences, -1)).sum(dim=1)
        return of_gates @ weight, of_cells * forgetting, of_memory, of_gates.T @ inputs


def _next_cells(cells: Tensor, entering: Tensor, forgetting: Tensor, half: Tensor) -> Tensor:
    """c' = f c + i g, g = 2 half - 1: (N, D)."""
    return (forgetting * cells).addcmul_(entering, 2 * half - 1)
