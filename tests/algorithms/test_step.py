"""The state of a decoder: reordered, blended, and its first input."""

import pytest
import torch
from builders import PrefixTable, random_batch
from hypothesis import given
from hypothesis import strategies as st

from seqsearch_fairseq.algorithms.step import State, first_inputs

SHAPES = {"hidden": (5,), "layers": (2, 3), "keys": (2, 4, 3)}  # what one row of each tensor looks like


def random_state(rows: int, dtype: torch.dtype = torch.float64) -> State:
    return State({name: torch.randn(rows, *shape).to(dtype) for name, shape in SHAPES.items()}, 7, {"memory": "static"})


def weights_of(order: torch.Tensor) -> torch.Tensor:
    """(B, K, K) one-hot rows that pick beam `order[b, j]`."""
    return torch.nn.functional.one_hot(order, order.size(1)).double()


@given(data=st.data(), batch=st.integers(1, 3), beams=st.integers(1, 4))
def test_mixing_with_one_hot_weights_is_reordering(data, batch, beams):
    picks = st.lists(st.integers(0, beams - 1), min_size=beams, max_size=beams)
    order = torch.tensor([data.draw(picks) for _ in range(batch)])  # (B, K)
    state = random_state(batch * beams)
    mixed = state.mix(weights_of(order))
    reordered = state.reorder((order + beams * torch.arange(batch).unsqueeze(1)).flatten())
    for name in SHAPES:
        torch.testing.assert_close(mixed.tensors[name], reordered.tensors[name], rtol=0, atol=0)


def test_mixing_is_the_weighted_sum_of_a_sentences_own_rows():
    batch, beams = 2, 3
    state = random_state(batch * beams)
    weights = torch.rand(batch, beams, beams, dtype=torch.float64)
    mixed = state.mix(weights)
    for name in SHAPES:
        for b in range(batch):
            for j in range(beams):
                rows = [weights[b, j, i] * state.tensors[name][b * beams + i] for i in range(beams)]
                torch.testing.assert_close(mixed.tensors[name][b * beams + j], sum(rows))


@pytest.mark.parametrize(
    "change", [lambda s: s.mix(torch.eye(2).expand(2, 2, 2)), lambda s: s.reorder(torch.arange(4))]
)
def test_what_the_beams_share_is_passed_on_untouched(change):
    state = random_state(4)
    assert change(state).shared is state.shared
    assert change(state).position == state.position


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_states_keep_their_dtype_and_are_blended_in_float32(dtype):
    state = random_state(6, dtype)
    weights = torch.softmax(torch.randn(2, 3, 3), dim=2)
    mixed = state.mix(weights)
    wide = State({name: tensor.float() for name, tensor in state.tensors.items()}).mix(weights)
    for name in SHAPES:
        assert mixed.tensors[name].dtype == dtype
        assert torch.equal(mixed.tensors[name], wide.tensors[name].to(dtype))  # rounded once, at the end


@pytest.mark.parametrize("beams", [1, 3])
def test_first_inputs_are_the_start_symbols_embedding_in_each_row(beams):
    step = random_batch(0, lengths=(1, 1)).step
    inputs = first_inputs(step, beams)
    assert inputs.shape == (2 * beams, step.embedding.size(1))
    assert torch.equal(inputs, step.embedding[step.bos].repeat(2 * beams, 1))


def test_the_prefix_table_of_these_tests_reads_the_prefix_back():
    step = PrefixTable.random(0, batch=2, length=3, vocabulary=3)
    state = step.start(1)
    for tokens in ([0, 0], [2, 1], [1, 2]):  # the first input says nothing
        scores, state = step(step.embedding[tokens], state)
    assert scores[0].tolist() == step.next_scores(0)((2, 1)).tolist()
    assert scores[1].tolist() == step.next_scores(1)((1, 2)).tolist()
