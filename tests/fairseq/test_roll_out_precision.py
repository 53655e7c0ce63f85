"""Roll-outs whose products are in bfloat16, against those of the model's own type."""

from typing import NamedTuple

import pytest
import torch
from fairseq_models import FAMILIES, Source, attention_gru, random_targets, source, tagger
from torch import nn

from seqsearch_fairseq.adapters import FairseqStep
from seqsearch_fairseq.algorithms import best_token
from seqsearch_fairseq.algorithms.searnn import algorithm
from seqsearch_fairseq.algorithms.searnn.algorithm import Searnn, Settings, searnn
from seqsearch_fairseq.algorithms.searnn.policies import copy_policy
from seqsearch_fairseq.algorithms.searnn.roll_in import Space
from seqsearch_fairseq.algorithms.sequence_costs import FILL, SEQUENCE_COSTS
from seqsearch_fairseq.models import gru_gates, gru_step
from seqsearch_fairseq.models.gru_step import GRUStep
from seqsearch_fairseq.models.tagger import TaggerModel

LENGTHS = (5, 4, 4, 2)
EXACT = {
    "tagger": lambda: tagger(cell="gru"),
    "attention_gru": attention_gru,
    "by autocast": lambda: tagger(cell="gru", decoder_layers=2),  # no step of its own
}
ALL_KINDS = FAMILIES | {"tagger_gru": lambda: tagger(cell="gru")}


class Problem(NamedTuple):
    model: nn.Module
    source: Source
    gold: torch.Tensor

    def only(self, b: int) -> "Problem":
        """The sentence b alone, without padding."""
        length = LENGTHS[b]
        right = isinstance(self.model, TaggerModel)
        words = self.source.src_tokens[b : b + 1]
        words = words[:, :length] if right else words[:, words.size(1) - length :]
        return Problem(self.model, Source(words, self.source.src_lengths[b : b + 1]), self.gold[b : b + 1, :length])


def problem(model: nn.Module, seed: int = 0) -> Problem:
    gold = random_targets(model, len(LENGTHS), max(LENGTHS), seed)
    gold[torch.arange(max(LENGTHS)) >= torch.tensor(LENGTHS).unsqueeze(1)] = FILL
    return Problem(model, source(model, LENGTHS, seed), gold)


def search(given: Problem, precision: str, **settings) -> Searnn:
    model, count, words = given.model, len(given.gold), given.model.decoder.dictionary
    eos = None if isinstance(model, TaggerModel) else words.eos()
    lengths = given.gold.ne(FILL).sum(dim=1) + int(eos is not None)
    candidates = torch.arange(len(words)) >= words.nspecial
    candidates[words.eos()] = eos is not None
    step = FairseqStep(model, model.encoder(**given.source._asdict()), count, "logits")
    choices = Settings(roll_out="learned", loss="kl", scale=10.0, roll_out_precision=precision, **settings)
    cost = SEQUENCE_COSTS["edit"]
    torch.manual_seed(1)
    space = Space(candidates, eos, lengths + (0 if eos is None else 2))
    return searnn(step, given.gold, lengths, space, cost, copy_policy(cost), choices)


def saturated(model: nn.Module) -> nn.Module:
    """In float32, with weights such that all gates are 0 or 1, all states -1 or 1, and all products whole numbers.

    What goes into a sigmoid or a tanh is an odd multiple of 32.
    """
    draws = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, weight in model.float().named_parameters():
            signs = torch.randint(0, 2, weight.shape, generator=draws) * 2.0 - 1
            if "embed_tokens" in name:
                weight.copy_(signs)
            elif "fc_out" in name:  # no two tokens score the same
                weight.copy_(torch.arange(len(weight)) / 32 if "bias" in name else signs)
            elif "bias_ih" in name or name.endswith(("state.bias", "hidden.bias")):
                weight.fill_(32)
            elif "bias_hh" in name:
                weight.fill_(0)
            elif "values" in name or "keys" in name:
                weight.copy_(signs)
            else:
                weight.copy_(64 * signs)
        for name, weight in model.named_parameters():
            if name.endswith("values.weight"):  # even, so that the mean value does not make a sum with 32 vanish
                weight.mul_(64)
    return model


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("kind", EXACT)
def test_products_that_bfloat16_holds_change_nothing(monkeypatch, kind, small):
    """However the work is cut, and whatever is in the batch beside a sentence."""
    if small:
        for module, name, size in ((gru_gates, "BLOCK", 5), (gru_gates, "TABLE", 0), (best_token, "FEW_TOKENS", 0)):
            monkeypatch.setattr(module, name, size)
        monkeypatch.setattr(gru_step, "LEAST", 0)
    given = problem(saturated(EXACT[kind]()))
    whole = search(given, "model")
    narrow = search(given, "bfloat16")
    assert whole.rolled_out == narrow.rolled_out > 0 and len(whole.costs.unique()) > 2
    assert torch.equal(narrow.costs, whole.costs) and torch.equal(narrow.losses, whole.losses)
    alone = [search(given.only(b), "bfloat16", roll_out_batch=7).costs for b in range(len(LENGTHS))]
    for b, costs in enumerate(alone):
        assert torch.equal(costs, search(given.only(b), "model").costs)
    assert sorted(torch.cat([costs.flatten() for costs in alone]).tolist()) == sorted(whole.costs.flatten().tolist())


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_few_costs_change_and_the_gradient_only_by_them(monkeypatch, kind):
    """A token changes where two score the same to about 2^-8 of their deviation: in one step of a hundred, or two.

    A roll-out is at most seven steps, and most changes do not change what it costs: the bound is 5 % of all costs.
    """
    model = ALL_KINDS[kind]().float()
    changed, count = 0, 0
    for seed in range(4):
        given = problem(model, seed)
        whole, narrow = search(given, "model"), search(given, "bfloat16")
        assert torch.equal(whole.tried, narrow.tried)
        changed += int((whole.costs - narrow.costs).abs().gt(1e-9).sum())
        count += int(whole.tried.sum())
    assert changed <= 0.05 * count and count > 200
    with monkeypatch.context() as patch:
        patch.setattr(algorithm, "_costs", lambda *arguments: (whole.costs, 0, 0))
        found = []
        for precision in ("model", "bfloat16"):
            model.zero_grad()
            search(given, precision).losses.sum().backward()
            found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True)) and len(found[0]) > 5


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_step_rounds_its_products_and_returns_the_models_type(kind):
    """Scores are those of the plain step to bfloat16's precision, but not those to float32's."""
    model = ALL_KINDS[kind]().float()
    src = source(model)
    with torch.no_grad():
        step = FairseqStep(model, model.encoder(**src._asdict()), len(src.src_tokens), "logits")
        _, state = step.advance(step.inputs_of(torch.full((3,), step.bos)), step.start(1))
        scores = []
        for one in (step, step.with_products_in(torch.bfloat16)):
            faster, shared = one.narrow(torch.arange(3), state.shared)
            assert isinstance(faster, GRUStep) == ("gru" in kind)
            features, _ = faster.advance(faster.inputs_of(torch.tensor([4, 5, 6])), state._replace(shared=shared))
            scores.append(faster.scores(features))
    expected, found = scores
    assert found.dtype == torch.float32
    error = (found - expected).abs().max() / expected.std()
    assert 1e-5 < error < 0.03


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_stays_as_it_is(dtype):
    model = attention_gru().to(dtype)
    step = FairseqStep(model, model.encoder(**source(model)._asdict()), 3)
    assert step.with_products_in(torch.bfloat16) is step
    model = attention_gru().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        step = FairseqStep(model, model.encoder(**source(model)._asdict()), 3)
    assert step.with_products_in(torch.bfloat16) is step


def test_the_models_own_type_asks_for_nothing(monkeypatch):
    monkeypatch.setattr(FairseqStep, "with_products_in", None)
    search(problem(attention_gru().float()), "model")


def test_the_best_token_of_a_stock_decoder_is_that_of_its_output_layer_in_float32(monkeypatch):
    monkeypatch.setattr(best_token, "FEW_TOKENS", 0)
    model = FAMILIES["lstm"]().float()
    step = FairseqStep(model, model.encoder(**source(model)._asdict()), 3)
    features, candidates = torch.randn(20_000, 6), torch.ones(len(model.decoder.dictionary), dtype=torch.bool)
    with torch.no_grad():
        expected = best_token.chooser(step, candidates)(features)
        rounded = step.with_products_in(torch.bfloat16)
        assert torch.equal(best_token.chooser(rounded, candidates)(features), expected)
        assert not torch.equal(rounded.scores(features).argmax(dim=1), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
@pytest.mark.parametrize("kind", EXACT)
def test_a_gpu_rolls_out_in_bfloat16(kind):
    given = problem(saturated(EXACT[kind]()))
    expected = search(given, "model").costs
    model, gold = given.model.cuda(), given.gold.cuda()
    found = search(Problem(model, Source(*(part.cuda() for part in given.source)), gold), "bfloat16").costs
    assert torch.equal(found.cpu(), expected)
