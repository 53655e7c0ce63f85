"""The bound by which `select` looks at the nearest candidates only: on the rows that come nearest to breaking it."""

import pytest
import torch

from seqsearch_fairseq.algorithms.relaxations import TOP_K
from seqsearch_fairseq.algorithms.selection import SHARE, _nearest, select, select_from_all

each_top_k = pytest.mark.parametrize("top_k", TOP_K)
B, K, V = 2, 3, 200

# The K best scores; all other candidates score `gap` less than the last of them.
BEST = {"the best tie": [0.0, 0.0, 0.0], "the best are far apart": [0.0, -4.0, -8.0]}


def two_levels(best: list[float], gap: float, dtype: torch.dtype) -> torch.Tensor:
    """(1, K, V) scores."""
    scores = torch.full((K * V,), min(best) - gap, dtype=dtype)
    scores[torch.randperm(K * V)[:K]] = torch.tensor(best, dtype=dtype)
    return scores.view(1, K, V)


def nearest(total: torch.Tensor, alpha: float, top_k: str) -> torch.Tensor:
    """(1, M) places of the candidates that `select` looks at: all of them where it takes the full form."""
    places = _nearest(total.flatten(1), torch.ones_like(total.flatten(1), dtype=torch.bool), K, alpha, top_k)
    return torch.arange(K * V).unsqueeze(0) if places is None else places


def left_out(places: torch.Tensor, exact: torch.Tensor) -> float:
    """The most that a distribution of `exact` (1, K, K * V) gives to candidates other than those at `places`."""
    seen = torch.zeros(1, K * V, dtype=torch.bool).scatter(1, places, True)
    return float(exact.masked_fill(seen.unsqueeze(1), 0).sum(dim=2).max())


@each_top_k
@pytest.mark.parametrize("best", BEST.values(), ids=BEST)
@pytest.mark.parametrize("alpha", [1.0, 4.0, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_left_out_weighs_less_than_the_precision(dtype, alpha, best, top_k):
    cut = []
    power = 0.5 if top_k == "squared-distance" else 1.0
    for exponent in range(1, 60):  # gaps whose candidates weigh exp(-exponent), before anything was taken
        total = two_levels(best, (exponent / alpha) ** power, dtype)
        mask = torch.ones_like(total, dtype=torch.bool)
        places = nearest(total, alpha, top_k)
        exact = TOP_K[top_k](total.double().flatten(1), mask.flatten(1), K, alpha).weights
        cut.append(places.size(1) < K * V)
        assert left_out(places, exact) < torch.finfo(dtype).eps
    assert not cut[0]
    assert cut[-1] or (top_k == "successive" and alpha > 50)  # the price of log K in that bound: alpha * log K


@each_top_k
def test_one_flat_sentence_makes_the_whole_batch_look_at_all(top_k):
    total = 3 * torch.randn(B, K, V)
    mask = torch.ones_like(total, dtype=torch.bool)
    assert K <= select(total, mask, 1e4, top_k).tokens.size(1) <= K * V / SHARE
    total[1] = 0.0
    assert select(total, mask, 1e4, top_k).tokens is None


@each_top_k
def test_sentences_with_few_candidates_are_cut_at_any_alpha(top_k):
    total = torch.randn(B, K, V).double()
    mask = (torch.arange(V) < 10).expand_as(total)
    chosen, plain = select(total, mask, 0.01, top_k), select_from_all(total, mask, 0.01, top_k)
    assert chosen.tokens.size(1) == K * 10
    torch.testing.assert_close(chosen.soft_tokens(V), plain.soft_tokens(V))


def kept_bytes(width: int, alpha: float, top_k: str, vocabulary: int = 1000) -> int:
    """What the autograd graph of one step keeps, each storage counted once."""
    storages = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    total = (10 * torch.randn(B, width, vocabulary)).requires_grad_()
    embedding, values = torch.randn(vocabulary, 2, requires_grad=True), torch.randn(B, vocabulary)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        chosen = select(total, torch.ones_like(total, dtype=torch.bool), alpha, top_k)
        results = chosen.soft_beams, chosen.mean_embedding(embedding), chosen.mean_of_tokens(values), chosen.scores
    assert all(result.requires_grad for result in results)  # and so alive while the storages were counted
    return sum(storages.values())


@each_top_k
def test_what_a_step_keeps_grows_with_its_candidates_not_with_their_weights(top_k):
    narrow, wide = (kept_bytes(width, 1e-3, top_k) for width in (2, 8))
    assert wide < 1.2 * 4 * narrow  # 8 beams have 4 times the candidates of 2, and 16 times the weights


@each_top_k
def test_a_step_that_looks_at_the_nearest_keeps_less_than_its_scores(top_k):
    width, vocabulary = 4, 5000
    assert kept_bytes(width, 1e5, top_k, vocabulary) < B * width * vocabulary * 4  # float32
