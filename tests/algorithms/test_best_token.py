"""The best token by blocks of the output layer's product, against a look at all scores."""

import pytest
import torch

from seqsearch_fairseq.algorithms import best_token
from seqsearch_fairseq.algorithms.best_token import OutputMaximum, RoundedMaximum, largest, output_maximum
from seqsearch_fairseq.algorithms.step import OutputLayer


@pytest.mark.parametrize("width", [5, 511, 512, 513, 1000])
def test_the_largest_is_the_first_of_those_that_tie(width):
    scores = torch.randint(9, (200, width)).float()
    scores[0], scores[0, -1] = -torch.inf, 1.0
    assert largest(scores).tolist() == [row.index(max(row)) for row in scores.tolist()]


@pytest.mark.parametrize("rows", [1, 7, 512])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("width", [1, 31, 32, 511, 1024, 1025])
def test_the_output_layers_best_token(monkeypatch, width, bias, rows):
    """Of whole numbers, so that scores tie and are the same whichever way they are added up."""
    monkeypatch.setattr(best_token, "ROWS", rows)
    features, weight = (torch.randint(-3, 4, (n, 6)).double() for n in (50, width))
    added = torch.randint(-3, 4, (width,)).double() if bias else None
    candidates = torch.rand(width) < 0.7
    candidates[-1] = True
    found = OutputMaximum(OutputLayer(weight, added, normalized=False, dtype=torch.double), candidates)
    scores = features @ weight.t() + (0 if added is None else added)
    expected = scores.masked_fill(~candidates, -torch.inf).argmax(dim=1)
    assert torch.equal(found(features), expected) and torch.equal(found(features[:3]), expected[:3])


@pytest.mark.parametrize("rows", [7, 512])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("width,spread", [(64, 1.0), (100, 1e-3), (1000, 1.0), (3000, 30.0)])
def test_a_rounded_product_gives_the_same_tokens(monkeypatch, width, spread, bias, rows):
    """Also where its own largest scores are others, and where some tie."""
    monkeypatch.setattr(best_token, "ROWS", rows)
    monkeypatch.setattr(best_token, "FEW_TOKENS", 0)
    features, weight = torch.randn(300, 6), spread * torch.randn(width, 6)
    weight[width // 2 :] = weight[: width - width // 2]
    added = (spread * torch.rand(width // 2)).repeat(2) if bias else None
    candidates = torch.rand(width) < 0.7
    candidates[-1] = True
    output = OutputLayer(weight, added, normalized=False, dtype=torch.bfloat16)
    found = output_maximum(output, candidates)
    assert isinstance(found, RoundedMaximum)
    expected = OutputMaximum(output, candidates)(features)
    assert torch.equal(found(features), expected) and torch.equal(found(features[:3]), expected[:3])
    rounded = (features.bfloat16() @ weight.bfloat16().t()).masked_fill(~candidates, -torch.inf).argmax(dim=1)
    assert bias or not torch.equal(rounded, expected)


def test_a_rounded_product_of_nan_is_some_token():
    output = OutputLayer(torch.randn(9, 6), None, normalized=False, dtype=torch.bfloat16)
    found = RoundedMaximum(output, torch.ones(9, dtype=torch.bool))(torch.tensor([[torch.nan] * 6, [1.0] * 6]))
    assert found[0] in range(9) and found[1] == output.weight.sum(dim=1).argmax()


@pytest.mark.parametrize("dtype,width", [(torch.float32, 3000), (torch.bfloat16, best_token.FEW_TOKENS)])
def test_a_small_vocabulary_or_the_weights_type_is_not_rounded(dtype, width):
    output = OutputLayer(torch.randn(width, 6), None, normalized=False, dtype=dtype)
    assert isinstance(output_maximum(output, torch.ones(width, dtype=torch.bool)), OutputMaximum)
