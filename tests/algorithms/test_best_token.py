"""The best token by blocks of the output layer's product, against a look at all scores."""

import pytest
import torch

from seqsearch_fairseq.algorithms import best_token
from seqsearch_fairseq.algorithms.best_token import OutputMaximum, largest
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


@pytest.mark.parametrize("few", [best_token.FEW_TOKENS, 0])
def test_the_product_of_a_large_vocabulary_is_made_in_the_layers_type(monkeypatch, few):
    monkeypatch.setattr(best_token, "FEW_TOKENS", few)
    features, weight = torch.randn(400, 6), torch.randn(100, 6)
    output = OutputLayer(weight, None, normalized=False, dtype=torch.bfloat16)
    found = OutputMaximum(output, torch.ones(100, dtype=torch.bool))(features)
    exact, rounded = ((features.to(t) @ weight.to(t).t()).argmax(dim=1) for t in (torch.float32, torch.bfloat16))
    assert torch.equal(found, exact if few > 0 else rounded) and not torch.equal(exact, rounded)
