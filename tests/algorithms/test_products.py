"""Products in a narrower type, of whole numbers that it holds and of others."""

import pytest
import torch

from seqsearch_fairseq.algorithms import products
from seqsearch_fairseq.algorithms.products import FILLED, Product, filled


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, FILLED, 130, 300])
def test_whole_numbers_are_added_exactly(monkeypatch, count, dtype):
    monkeypatch.setattr(products, "BLOCK", 2 * FILLED)
    rows, weight = torch.randint(-3, 4, (count, 6)).float(), torch.randint(-3, 4, (6, 5)).float()
    total = torch.randint(-9, 10, (count, 5)).float()
    product, expected = Product(weight, dtype), total + rows @ weight
    assert torch.equal(product.add_to(total, rows), expected) and torch.equal(total, expected)
    assert torch.equal(product.add_to(total[:1], rows[:1]), expected[:1] + rows[:1] @ weight)


def test_the_product_is_rounded_and_the_sum_is_not():
    rows, weight, total = torch.randn(100, 6), torch.randn(6, 5), torch.randn(100, 5)
    rounded = (rows.bfloat16() @ weight.bfloat16()).float()
    assert torch.equal(Product(weight, torch.bfloat16).add_to(total.clone(), rows), total + rounded)


def test_few_numbers_of_rows_are_ever_multiplied(monkeypatch):
    """Torch compiles a product in bfloat16 for each of them."""
    monkeypatch.setattr(products, "BLOCK", 4 * FILLED)
    seen, mm = set(), torch.mm
    monkeypatch.setattr(torch, "mm", lambda rows, *a, **o: (seen.add(len(rows)), mm(rows, *a, **o))[1])
    product = Product(torch.randn(6, 5), torch.bfloat16)
    for count in range(1, 10 * FILLED, 7):
        product.add_to(torch.zeros(count, 5), torch.randn(count, 6))
    assert seen == {FILLED, 2 * FILLED, 3 * FILLED, 4 * FILLED}
    assert all(filled(count) >= count for count in range(100))
