"""A decoder seen as a recurrence: from an input embedding and a state to scores and a new state.

Hard search picks rows of the state (`State.reorder`); soft search blends the K rows of a sentence (`State.mix`).
Mixing with one-hot weights is reordering.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor


class State(NamedTuple):
    """What a decoder remembers between two steps."""

    tensors: dict[str, Tensor]  # the recurrent tensors, each (N, ...)
    position: int = 0  # steps taken so far
    shared: Any = None  # what is the same for every beam of a sentence (encoder side); never mixed

    def reorder(self, order: Tensor) -> "State":
        """Pick rows: row n of the result is row `order[n]`, a row of the same sentence. `order` is (N,), integer."""
        return self._replace(tensors={name: t.index_select(0, order) for name, t in self.tensors.items()})

    def mix(self, weights: Tensor) -> "State":
        """Blend the beams of each sentence: row j becomes `sum_i weights[:, j, i] * row_i`.

        Args:
            weights: (B, K, I), rows sum to one (Goyal et al. 2018, algorithm 3: the soft backpointers). The I rows of
                a sentence become K; a single one is repeated.
        """
        return self._replace(tensors={name: _mix_rows(weights, t) for name, t in self.tensors.items()})


class OutputLayer(NamedTuple):
    """The last product of a decoder: logits are `features @ weight.T + bias`."""

    weight: Tensor  # (V, D)
    bias: Tensor | None  # (V,)
    normalized: bool  # whether the local scores are log-probabilities; else they are the logits
    dtype: torch.dtype  # the type that the product is made in


class Step(Protocol):
    """One step of a decoder for a batch of B sentences whose encoder side is fixed."""

    batch_size: int  # B
    bos: int  # the token whose embedding is the first input

    @property
    def rows_share(self) -> bool:
        """Whether the rows of a sentence share its encoder side: then their number may change, and so may sentences."""

    @property
    def embedding(self) -> Tensor:
        """(V, E): a soft token is `weights @ embedding`."""

    def inputs_of(self, tokens: Tensor) -> Tensor:
        """What `advance` reads for tokens (N,): their embeddings, or whatever else this step looks them up in."""

    def start(self, beam_size: int) -> State:
        """The state before the first step, N = B * beam_size rows."""

    def __call__(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """From `inputs` (N, E) and the state to the local scores (N, V), float32 or wider, and the next state."""

    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """A step without its output layer: from `inputs` (N, E) and the state to features (N, D) and the next state."""

    def scores(self, features: Tensor) -> Tensor:
        """The output layer: from any rows of features (R, D) to their local scores (R, V), float32 or wider."""

    @property
    def output(self) -> OutputLayer | None:
        """What `scores` does, where it is a product and perhaps a log-softmax; None of anything else."""

    def narrow(self, sentences: Tensor, shared: Any) -> "tuple[Step, Any]":
        """The same decoder for some of the sentences, in any order, and their part of a state's `shared`.

        A state of it may have any number of rows for a sentence, the same for each, as `State` lays them out.
        """

    def teacher_forced_features(self, sentences: Tensor, tokens: Tensor) -> Tensor:
        """What `scores` reads at each position of given outputs, in one pass, with whatever noise is on: (R, L, D).

        Args:
            sentences: (R,) integer, the sentence of each output, in any order and number.
            tokens: (R, L) the outputs, negative after their end. Features at position t have read the t tokens before.
        """

    @property
    def teacher_forced(self) -> Callable[[Tensor], tuple[Tensor, list[State]]] | None:
        """From input tokens (B, L) to the features (B, L, D) and the L states that gave them, in one pass.

        None where the decoder cannot do that, or would draw other noise than step by step.
        """

    @property
    def row_step(self) -> "RowStep | None":
        """The same decoder for a greedy search of rows, where it has a faster way to do that without gradient."""

    def with_products_in(self, dtype: torch.dtype) -> "Step":
        """The same decoder for steps without gradient, whose products are made in this type where that is narrower.

        A model that is as narrow already returns itself. States and scores keep their type.
        """

    @property
    def rounded_output(self) -> OutputLayer | None:
        """`output` of a step that `with_products_in` made; None of any other."""

    @property
    def has_noise(self) -> bool:
        """Whether a step draws anything: dropout."""

    def noise_free(self) -> AbstractContextManager:
        """A context in which a step draws nothing."""


class Rows(Protocol):
    """Some rows of a greedy search; a sentence has any number of them, side by side and in the sentences' order."""

    def advance(self, tokens: Tensor, states: Tensor, position: int, one_state: bool = False) -> tuple[Tensor, Tensor]:
        """From the rows' tokens (n,) and states (n, D) to features and the next states, (n, D) each.

        With `one_state`, the states are (B, D), of all B sentences: the rows of a sentence have one.
        """


class RowStep(Protocol):
    """A decoder without gradient and noise whose state is a row of numbers; beside a `Step` of the same sentences."""

    def states_of(self, state: State) -> Tensor:
        """The rows (N, D) of a state of the step beside it."""

    def rows(self, sentence: Tensor) -> Rows:
        """Rows of these sentences (n,), ascending."""

    def best_of(self, candidates: Tensor) -> Callable[[Tensor], Tensor]:
        """From features (n, D) to the best candidate (n,) of each row, the first where several tie."""


def first_inputs(step: Step, beam_size: int) -> Tensor:
    """The embedding of the token that begins a sentence, once for each row: (N, E)."""
    return step.embedding[step.bos].expand(step.batch_size * beam_size, -1)


def narrowed(step: Step, state: State, sentences: Tensor, batch: int) -> tuple[Step, State]:
    """The decoder for some of `batch` sentences, those at the places (b,), and their rows of a state."""
    rows = next(iter(state.tensors.values())).size(0) // batch  # of a sentence
    order = (rows * sentences.unsqueeze(1) + torch.arange(rows, device=sentences.device)).flatten()
    step, shared = step.narrow(sentences, state.shared)
    return step, state.reorder(order)._replace(shared=shared)


def _mix_rows(weights: Tensor, rows: Tensor) -> Tensor:
    batch, width, beams = weights.shape
    if beams == 1:
        return rows.repeat_interleave(width, dim=0)
    dtype = torch.promote_types(weights.dtype, rows.dtype)  # half-precision states are blended in float32
    flat = rows.reshape(batch, beams, -1).to(dtype)  # (B, I, all the rest)
    return torch.bmm(weights.to(dtype), flat).view(batch * width, *rows.shape[1:]).to(rows.dtype)
