"""Softmax, log-sum-exp and top-k with masked entries, against the plain ones over the entries that are left."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqsearch_fairseq.algorithms.masking import masked_logsumexp, masked_softmax, masked_topk

DTYPES = [torch.float32, torch.float64]
FUNCTIONS = {
    "softmax": masked_softmax,
    "logsumexp": masked_logsumexp,
    "topk": lambda scores, mask: masked_topk(scores, mask, 3).values,
}

rows = st.lists(st.tuples(st.floats(-1e4, 1e4, width=32), st.booleans()), min_size=1, max_size=7)


def as_tensors(row, dtype):
    return torch.tensor([value for value, _ in row], dtype=dtype), torch.tensor([kept for _, kept in row])


@pytest.mark.parametrize("dtype", DTYPES)
@given(row=rows)
def test_softmax_is_the_plain_one_among_what_is_left_and_zero_elsewhere(dtype, row):
    logits, mask = as_tensors(row, dtype)
    weights = masked_softmax(logits, mask)
    torch.testing.assert_close(weights[mask], torch.softmax(logits[mask], dim=0))
    assert not weights[~mask].any()


@pytest.mark.parametrize("dtype", DTYPES)
@given(row=rows)
def test_logsumexp_is_the_plain_one_of_what_is_left(dtype, row):
    logits, mask = as_tensors(row, dtype)
    torch.testing.assert_close(masked_logsumexp(logits, mask), torch.logsumexp(logits[mask], dim=0))


@pytest.mark.parametrize("dtype", DTYPES)
@given(row=rows, k=st.integers(1, 9))
def test_topk_is_the_plain_one_of_what_is_left_and_the_surplus_is_dead(dtype, row, k):
    scores, mask = as_tensors(row, dtype)
    top = masked_topk(scores, mask, k)
    count = min(k, int(mask.sum()))
    assert top.live.tolist() == [True] * count + [False] * (k - count)
    assert top.values[:count].tolist() == sorted(scores[mask].tolist(), reverse=True)[:count]
    assert top.values[count:].tolist() == [-torch.inf] * (k - count)
    assert torch.equal(scores[top.indices[:count]], top.values[:count])
    assert mask[top.indices[:count]].all()
    assert len(set(top.indices[:count].tolist())) == count
    assert top.indices.min() >= 0 and top.indices.max() < len(scores)  # a dead index can still be gathered with


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mask_is_broadcast_over_the_rows(dtype):
    logits, mask = torch.randn(2, 3, 4, dtype=dtype), torch.tensor([True, False, True, True])
    whole = mask.expand(2, 3, 4)
    for function in FUNCTIONS.values():
        torch.testing.assert_close(function(logits, mask), function(logits, whole), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_without_candidates_has_no_mass_and_a_logsumexp_of_minus_infinity(dtype):
    logits, mask = torch.randn(2, 3, dtype=dtype), torch.tensor([[False], [True]]).expand(2, 3)
    assert masked_softmax(logits, mask)[0].tolist() == [0, 0, 0]
    assert masked_logsumexp(logits, mask)[0] == -torch.inf
    assert not masked_topk(logits, mask, 2).live[0].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_gradients_are_finite_and_zero_where_masked(function, dtype):
    logits = torch.tensor([[1.0, 2, 3], [1, 2, 3], [5, 5, 5], [-1e4, 1e4, 0]], dtype=dtype, requires_grad=True)
    mask = torch.tensor([[True, False, True], [False] * 3, [False, True, False], [True] * 3])
    result = function(logits, mask)
    (result.masked_fill(result == -torch.inf, 0) * torch.rand_like(result)).sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad[~mask].any()


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_gradients_are_those_of_finite_differences(function):
    logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True] * 5, [True, False, True, True, False], [False, True, True, True, False]])
    assert torch.autograd.gradcheck(lambda x: function(x, mask), logits)
