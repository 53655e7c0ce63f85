"""The fused step of the relaxed beam against the plain one: values, all gradients, types, what it keeps."""

import gc
import itertools
import weakref
from functools import partial
from typing import NamedTuple

import pytest
import torch
from builders import START, TorchRecurrence
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from seqsearch_fairseq.algorithms import choice, fused_choice, kernels, selection
from seqsearch_fairseq.algorithms.costs import weighted_hamming
from seqsearch_fairseq.algorithms.nearest import nearest
from seqsearch_fairseq.algorithms.relaxations import TOP_K
from seqsearch_fairseq.algorithms.soft_beam import SoftBeam, direct_objective, hinge_objective, soft_beam
from seqsearch_fairseq.algorithms.step import OutputLayer

each_top_k = pytest.mark.parametrize("top_k", TOP_K)


class Decoder(TorchRecurrence):
    """A recurrence whose output layer has what an output layer may have."""

    def __init__(self, weights, start_h, start_c, normalized=True, known=True):
        super().__init__(weights, start_h, start_c)
        self.normalized, self.known = normalized, known

    @property
    def output_weight(self) -> Tensor:
        return self.weights["embedding"] if "O" not in self.weights else self.weights["O"]

    @property
    def output(self) -> OutputLayer | None:
        weight = self.output_weight
        return OutputLayer(weight, self.weights.get("bias"), self.normalized, weight.dtype) if self.known else None

    def scores(self, features: Tensor) -> Tensor:
        logits = torch.nn.functional.linear(features, self.output_weight, self.weights.get("bias"))
        return torch.log_softmax(logits, dim=1) if self.normalized else logits

    def plain(self) -> "Decoder":
        """The same in the plain form, with K rows for each sentence in all steps."""
        decoder = type(self)(self.weights, self.start_h, self.start_c, self.normalized, known=False)
        decoder.rows_share = False
        return decoder


class Problem(NamedTuple):
    decoder: Decoder
    lengths: Tensor
    gold: Tensor
    wrong: Tensor
    candidates: Tensor
    beam_size: int
    alpha: float
    top_k: str
    hinge: bool
    kernel: str = "torch"

    def losses(self, decoder: Decoder) -> Tensor:
        found = self.search(decoder)
        if self.hinge:
            return hinge_objective(found, self.alpha, decoder.gold_scores(self.gold, self.lengths))
        return direct_objective(found, self.alpha)

    def search(self, decoder: Decoder) -> SoftBeam:
        costs = weighted_hamming(self.gold, self.wrong)
        arguments = decoder, self.lengths, costs, self.beam_size, self.alpha, self.candidates, self.top_k, self.hinge
        return soft_beam(*arguments, kernel=self.kernel)

    def gradients(self, decoder: Decoder) -> list[Tensor]:
        leaves = [leaf for leaf in decoder.parameters if leaf.requires_grad]
        return list(torch.autograd.grad(self.losses(decoder).sum(), leaves, materialize_grads=True))


VARIANTS = list(itertools.product([True, False], ["none", "bias", "shared"], [False, True], TOP_K))
SHARPNESS = {"flat": 0.3, "mixed": 3.0, "sharp": 30.0}


def problem(
    seed: int,
    normalized: bool = True,
    form: str = "bias",
    hinge: bool = False,
    top_k: str = "squared-distance",
    spread: float = 3.0,
    vocabulary: int = 400,
    beam_size: int = 3,
    alpha: float = 1.0,
    lengths: tuple[int, ...] = (4, 2, 3),
    excluded: tuple[int, ...] = (1, 7),
    frozen: tuple[str, ...] = (),
) -> Problem:
    """A random decoder; `form` is its output layer: without bias, with one, or the embedding itself."""
    draws = torch.Generator().manual_seed(seed)
    hidden = 3

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return (scale * torch.randn(*shape, generator=draws, dtype=torch.float64)).requires_grad_()

    embed = 2 * hidden if form == "shared" else 2
    weights = {
        "embedding": normal(vocabulary, embed, scale=spread if form == "shared" else 1.0),
        "W_x": normal(hidden, embed),
        "W_h": normal(hidden, hidden),
        "b_h": normal(hidden),
        "W_c": normal(hidden, hidden),
    }
    if form != "shared":
        weights["O"] = normal(vocabulary, 2 * hidden, scale=spread)
    if form == "bias":
        weights["bias"] = normal(vocabulary)
    for name in frozen:
        weights[name].requires_grad_(False)
    candidates = torch.ones(vocabulary, dtype=torch.bool)
    candidates[list(excluded)] = False
    allowed = candidates.nonzero().squeeze(1)
    gold = allowed[torch.randint(len(allowed), (len(lengths), max(lengths)), generator=draws)]
    wrong = torch.rand(vocabulary, generator=draws, dtype=torch.float64) * 2
    decoder = Decoder(weights, normal(len(lengths), hidden), normal(len(lengths), hidden), normalized)
    assert START not in excluded
    return Problem(decoder, torch.tensor(lengths), gold, wrong, candidates, beam_size, alpha, top_k, hinge)


def random_settings(seed: int) -> Problem:
    """One of many: all variants in turn, the rest drawn."""
    draws = torch.Generator().manual_seed(1000 + seed)

    def pick(options):
        return list(options)[int(torch.randint(len(options), (), generator=draws))]

    normalized, form, hinge, top_k = VARIANTS[seed % len(VARIANTS)]
    vocabulary = pick([5, 40, 300, 900])
    return problem(
        seed,
        normalized,
        form,
        hinge,
        top_k,
        spread=pick(SHARPNESS.values()),
        vocabulary=vocabulary,
        beam_size=pick([1, 2, 3, 5]),
        alpha=pick([0.1, 1.0, 10.0, 100.0]),
        lengths=pick([(3,), (4, 2, 3), (1, 3)]),
        excluded=pick([(), (1,), (1, 2, 3)]),
    )


@pytest.fixture
def of_all(monkeypatch):
    """Make the plain form take every candidate."""
    monkeypatch.setattr(choice, "select", selection.select_from_all)


def paths_taken(monkeypatch) -> list[str]:
    """The steps that take the one path or the other, as they come."""
    taken: list[str] = []
    for name in ("NearChoice", "WholeChoice"):
        function = getattr(fused_choice, name)

        def apply(*arguments, name=name, function=function):
            taken.append(name)
            return function.apply(*arguments)

        monkeypatch.setattr(fused_choice, name, type(name, (), {"apply": staticmethod(apply)}))
    return taken


# ---------------------------------------------------------------------------------------------- values and gradients


@pytest.mark.parametrize("seed", range(120))
def test_values_and_gradients_are_those_of_the_plain_form(seed, of_all, monkeypatch):
    given = random_settings(seed)
    if seed // len(VARIANTS) % 2 == 0:  # keep what weighs anything, however many they are
        monkeypatch.setattr(fused_choice, "nearest", partial(nearest, share=1))
    plain = given.decoder.plain()
    torch.testing.assert_close(given.losses(given.decoder), given.losses(plain), rtol=1e-10, atol=1e-10)
    for mine, expected in zip(given.gradients(given.decoder), given.gradients(plain), strict=True):
        scale = 1 + float(expected.abs().max())
        torch.testing.assert_close(mine / scale, expected / scale, rtol=1e-9, atol=1e-10)


@each_top_k
def test_what_the_search_returns_is_what_the_plain_form_returns(top_k, of_all):
    for alpha, spread in ((1.0, 1.0), (30.0, 10.0)):
        given = problem(3, top_k=top_k, alpha=alpha, spread=spread)
        fused, plain = given.search(given.decoder), given.search(given.decoder.plain())
        for mine, expected in zip(fused, plain, strict=True):
            if mine.dim() == 3:  # (B, T, K): arbitrary after a sentence's end
                inside = torch.arange(mine.size(1)) < given.lengths.unsqueeze(1)
                mine, expected = mine[inside], expected[inside]
            torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-10)


@each_top_k
def test_sharp_scores_take_the_one_path_and_flat_ones_the_other(top_k, monkeypatch):
    taken = paths_taken(monkeypatch)
    sharp = problem(5, top_k=top_k, spread=30.0, alpha=30.0)
    sharp.losses(sharp.decoder)
    assert set(taken) == {"NearChoice"}
    taken.clear()
    flat = problem(5, top_k=top_k, spread=0.3, alpha=0.3)
    flat.losses(flat.decoder)
    assert set(taken) == {"WholeChoice"}


@pytest.mark.parametrize(("top_k", "spread"), [("squared-distance", 3.0), ("successive", 6.0)])
def test_both_paths_within_one_search(top_k, spread, of_all, monkeypatch):
    taken = paths_taken(monkeypatch)
    given = problem(1, top_k=top_k, spread=spread, alpha=2.0, lengths=(6,))
    mine = given.gradients(given.decoder)
    assert set(taken) == {"NearChoice", "WholeChoice"}
    torch.testing.assert_close(mine, given.gradients(given.decoder.plain()), rtol=1e-8, atol=1e-8)


@each_top_k
@pytest.mark.parametrize("frozen", [("embedding",), ("O",), ("bias",), ("embedding", "O", "bias")], ids=str)
@pytest.mark.parametrize("spread", SHARPNESS.values(), ids=SHARPNESS)
def test_what_is_frozen_changes_no_other_gradient(top_k, frozen, spread):
    options = {"top_k": top_k, "spread": spread, "alpha": 5.0}
    free, some = problem(2, **options), problem(2, frozen=frozen, **options)
    everything = dict(zip(free.decoder.weights, free.gradients(free.decoder), strict=False))
    others = [name for name in some.decoder.weights if name not in frozen]
    for name, mine in zip(others, some.gradients(some.decoder), strict=False):
        torch.testing.assert_close(mine, everything[name], rtol=1e-12, atol=1e-12)


@each_top_k
@pytest.mark.parametrize("spread", SHARPNESS.values(), ids=SHARPNESS)
@pytest.mark.parametrize("form", ["bias", "shared"])
def test_the_backward_pass_can_run_twice(top_k, spread, form):
    given = problem(4, top_k=top_k, spread=spread, alpha=5.0, form=form)
    loss, leaves = given.losses(given.decoder).sum(), given.decoder.parameters
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(loss, leaves), first, rtol=0, atol=0)


def test_a_distribution_whose_rest_underflows_has_the_plain_forms_gradient(of_all):
    given = problem(11, top_k="successive", spread=200.0, alpha=0.5, vocabulary=5, lengths=(3,), excluded=())
    weights = {name: weight.detach().float().requires_grad_() for name, weight in given.decoder.weights.items()}
    decoder = Decoder(weights, given.decoder.start_h.float(), given.decoder.start_c.float())
    for mine, expected in zip(given.gradients(decoder), given.gradients(decoder.plain()), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-3, atol=1e-4)


@each_top_k
def test_a_loss_that_reads_some_sentences_only_gives_their_gradient(top_k, of_all):
    given = problem(6, top_k=top_k, spread=10.0, alpha=10.0)
    for b in range(3):
        leaves = given.decoder.parameters
        mine = torch.autograd.grad(given.losses(given.decoder)[b], leaves)
        expected = torch.autograd.grad(given.losses(given.decoder.plain())[b], leaves)
        torch.testing.assert_close(mine, expected, rtol=1e-8, atol=1e-8)


def test_a_kernel_that_is_none_or_cannot_run_here_is_refused(monkeypatch):
    given = problem(6)
    with pytest.raises(ValueError, match="`kernel` must be one of torch, triton, got cuda"):
        given._replace(kernel="cuda").losses(given.decoder)
    monkeypatch.setattr(kernels, "installed", lambda: True)
    monkeypatch.delenv(kernels.INTERPRETER, raising=False)
    with pytest.raises(ValueError, match="`kernel` triton needs the model on a GPU, or .*=1 .* got a model on cpu"):
        given._replace(kernel="triton").losses(given.decoder)
    monkeypatch.setattr(kernels, "installed", lambda: False)
    with pytest.raises(ValueError, match="`kernel` triton needs the package triton, which is not installed"):
        given._replace(kernel="triton").losses(given.decoder)


# ------------------------------------------------------------------------------------------------- types and memory


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("spread", [1.0, 10.0])
@each_top_k
def test_products_of_a_narrow_type_give_the_loss_to_a_hundredth(top_k, dtype, spread):
    given = problem(7, top_k=top_k, spread=spread, alpha=3.0)

    class Narrow(Decoder):
        @property
        def output(self) -> OutputLayer | None:
            known = super().output
            return known and known._replace(dtype=dtype)

        def scores(self, features: Tensor) -> Tensor:
            logits = torch.nn.functional.linear(
                features.to(dtype), self.output_weight.to(dtype), self.weights["bias"].to(dtype)
            )
            return torch.log_softmax(logits.double(), dim=1)

    narrow = Narrow(given.decoder.weights, given.decoder.start_h, given.decoder.start_c)
    torch.testing.assert_close(given.losses(narrow), given.losses(narrow.plain()), rtol=0.01, atol=0.01)
    for gradient in given.gradients(Narrow(narrow.weights, narrow.start_h, narrow.start_c)):
        assert gradient.isfinite().all()


@each_top_k
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_loss_has_the_type_of_the_model(top_k, dtype):
    given = problem(8, top_k=top_k)
    weights = {name: weight.detach().to(dtype).requires_grad_() for name, weight in given.decoder.weights.items()}
    decoder = Decoder(weights, given.decoder.start_h.to(dtype), given.decoder.start_c.to(dtype))
    losses = given.losses(decoder)
    assert losses.dtype == dtype
    torch.testing.assert_close(losses.double(), given.losses(given.decoder), rtol=1e-3, atol=1e-3)


def kept_bytes(given: Problem) -> int:
    """What the graph of one search keeps, parameters left out, each storage counted once."""
    storages: dict[int, int] = {}
    held = []
    parameters = {leaf.untyped_storage().data_ptr() for leaf in given.decoder.parameters}

    def pack(tensor: Tensor) -> Tensor:
        held.append(tensor)
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = given.losses(given.decoder)
    assert loss.requires_grad
    return sum(size for address, size in storages.items() if address not in parameters)


@each_top_k
@pytest.mark.parametrize("spread", [0.3, 30.0], ids=["flat", "sharp"])
@pytest.mark.parametrize("normalized", [True, False], ids=["log-probs", "logits"])
def test_what_is_kept_does_not_grow_with_the_vocabulary(top_k, spread, normalized):
    options = {"top_k": top_k, "spread": spread, "alpha": 30.0 if spread > 1 else 0.3, "normalized": normalized}
    few, many = (kept_bytes(problem(9, vocabulary=size, **options)) for size in (1500, 6000))
    assert many < 1.2 * few


@pytest.mark.parametrize("spread", [0.3, 30.0], ids=["flat", "sharp"])
def test_a_search_is_freed_with_its_graph_by_counting_references_alone(spread, monkeypatch):
    followed = []
    made = fused_choice.Run

    def run(settings, output, table):
        followed.append(weakref.ref(table))
        return made(settings, output, table)

    monkeypatch.setattr(fused_choice, "Run", run)
    given = problem(10, spread=spread, alpha=3.0)
    gc.disable()
    try:
        loss = given.losses(given.decoder).sum()
        loss.backward()
        assert followed[0]() is not None
        del loss
        assert followed[0]() is None
    finally:
        gc.enable()
