"""The candidate pass in Triton against torch's: in Triton's interpreter, or on a GPU where there is one."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from test_fused_choice import SHARPNESS, Decoder, Problem, each_top_k, paths_taken, problem, random_settings
from torch import Tensor

from seqsearch_fairseq.algorithms import fused_choice
from seqsearch_fairseq.algorithms.candidate_pass import TorchPass
from seqsearch_fairseq.algorithms.choice import Beams, Settings
from seqsearch_fairseq.algorithms.costs import weighted_hamming
from seqsearch_fairseq.algorithms.kernels import INTERPRETER
from seqsearch_fairseq.algorithms.nearest import Best, nearest
from seqsearch_fairseq.algorithms.output_layer import SearchedOutput
from seqsearch_fairseq.algorithms.scored import Run
from seqsearch_fairseq.algorithms.step import OutputLayer

pytest.importorskip("triton", reason="needs the package triton (the extra `gpu`)")
from seqsearch_fairseq.algorithms.kernels import candidate_pass as kernels
from seqsearch_fairseq.algorithms.kernels import whole

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # there in the interpreter: see conftest.py

PRECISION = {torch.bfloat16: 1e-5, torch.float16: 1e-5, torch.float32: 1e-5, torch.float64: 1e-13}
each_type = pytest.mark.parametrize("dtype", PRECISION, ids=str)


class Given(SearchedOutput):
    """An output layer that says these logits, whatever the features."""

    def __init__(self, logits: Tensor, weight: Tensor, normalized: bool):
        super().__init__(OutputLayer(weight, None, normalized, logits.dtype), 1, len(logits))
        self.given = logits

    def product(self, features: Tensor) -> Tensor:
        return self.given.clone()


class Case(NamedTuple):
    run: Run
    features: Tensor
    beams: Beams

    @property
    def n(self) -> int:
        return self.run.settings.width * self.run.table.size(0)

    @property
    def total(self) -> Tensor:
        """S: (B, K * V), by its definition."""
        logits = self.run.output.given.to(self.beams.scores.dtype)
        local = torch.log_softmax(logits, dim=1) if self.run.output.normalized else logits
        total = self.beams.scores.unsqueeze(2) + local.view(*self.beams.scores.shape, -1)
        if self.run.settings.cost_augmented:
            total = total + self.run.settings.costs.at(0).unsqueeze(1)
        return total.flatten(1)

    def passes(self) -> tuple:
        return kernels.TritonPass(*self), TorchPass(*self)


def case(
    seed: int,
    dtype: torch.dtype = torch.float32,
    vocabulary: int = 700,
    width: int = 3,
    batch: int = 2,
    normalized: bool = True,
    augmented: bool = False,
    spread: float = 4.0,
    dead: int = 0,
    alpha: float = 1.0,
) -> Case:
    """Random logits (N, V), `dead` beams of the first sentence being dead, and two tokens being no candidates."""
    draws = torch.Generator().manual_seed(seed)
    wide = torch.promote_types(dtype, torch.float32)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draws, dtype=torch.float64)

    logits = (spread * normal(batch * width, vocabulary)).to(dtype)
    candidates = torch.ones(vocabulary, dtype=torch.bool)
    candidates[1 : min(3, vocabulary - 1)] = False
    gold = torch.randint(vocabulary, (batch, 1), generator=draws)
    wrong = torch.rand(vocabulary, generator=draws).to(wide)
    live = torch.ones(batch, width, dtype=torch.bool)
    live[0, width - dead :] = False
    scores, weight = normal(batch, width).to(wide), normal(vocabulary, 5).to(wide)
    logits, candidates, gold, wrong, live, scores, weight = (
        tensor.to(DEVICE) for tensor in (logits, candidates, gold, wrong, live, scores, weight)
    )
    settings = Settings(width, alpha, "squared-distance", candidates, weighted_hamming(gold, wrong), augmented)
    beams = Beams(0, scores, live, torch.ones(batch, 1, dtype=torch.bool, device=DEVICE))
    return Case(Run(settings, Given(logits, weight, normalized), weight), weight[: batch * width], beams)


def agree(given: Case, rtol: float) -> None:
    """All that can be asked of a pass, of both."""
    mine, expected = given.passes()
    close = partial(torch.testing.assert_close, rtol=rtol, atol=10 * rtol)
    if expected.log_z is None:
        assert mine.log_z is None
    else:
        close(mine.log_z, expected.log_z)
        narrow = given.run.output.weight.dtype in (torch.bfloat16, torch.float16)  # the type of that product
        close(mine.mean_output_rows(), expected.mean_output_rows(), **({"rtol": 0.0, "atol": 0.02} if narrow else {}))
    total = given.total
    width = given.run.settings.width
    for count in {width, min(40, given.n)}:
        same_best(mine.ranking.best(count), expected.ranking.best(count), total, close)
    top = expected.ranking.best(width)
    lowest = torch.where(top.scores.isfinite(), top.scores, torch.inf).amin(dim=1) - 1.0
    found, theirs = (above(made.ranking.above(lowest, width, given.n), lowest) for made in (mine, expected))
    same_best(found, theirs, total, close)
    assert mine.ranking.above(lowest, width, 0) is None or not (total > lowest.unsqueeze(1)).any()


def above(found: Best, lowest: Tensor) -> Best:
    """Without what was found on top of it, so that all sentences have as many."""
    return found._replace(scores=found.scores.masked_fill(found.scores <= lowest.unsqueeze(1), -torch.inf))


def same_best(mine: Best, expected: Best, total: Tensor, close) -> None:
    """The same scores, and each of them in its place; which of several that tie are named is left open."""
    assert mine.scores.shape == expected.scores.shape
    close(mine.scores, expected.scores)
    here = mine.scores.isfinite()
    assert torch.equal(here, expected.scores.isfinite())
    close(total.gather(1, mine.places)[here], mine.scores[here])
    for places, finite in zip(mine.places, here, strict=True):
        assert len(set(places[finite].tolist())) == int(finite.sum())
    assert int(mine.places.min()) >= 0 and int(mine.places.max()) < total.size(1)


# ------------------------------------------------------------------------------------------------------ the pass alone


@each_type
@pytest.mark.parametrize("width", range(1, 9))
@pytest.mark.parametrize("normalized", [True, False], ids=["log-probs", "logits"])
def test_what_it_finds_is_what_torch_finds(dtype, width, normalized):
    agree(case(width, dtype, width=width, normalized=normalized), PRECISION[dtype])


@each_type
@pytest.mark.parametrize("vocabulary", [2, 3, 5, 16, 17, 300, 2048, 2049, 5000])
def test_a_vocabulary_of_any_size(dtype, vocabulary):
    agree(case(vocabulary, dtype, vocabulary, width=2), PRECISION[dtype])


@pytest.mark.parametrize("normalized", [True, False], ids=["log-probs", "logits"])
@pytest.mark.parametrize("augmented", [True, False])
@pytest.mark.parametrize("dead", [0, 1, 2])
def test_costs_and_dead_beams(normalized, augmented, dead):
    agree(case(1, vocabulary=700, normalized=normalized, augmented=augmented, dead=dead), 1e-5)


@pytest.mark.parametrize("share", [0.5, 0.999])
def test_logits_of_minus_infinity_are_never_found(share):
    given = case(2, batch=3, vocabulary=2500)
    logits = given.run.output.given
    logits.masked_fill_(torch.rand(logits.shape).to(DEVICE) < share, -torch.inf)
    logits[0, 10:] = -torch.inf  # whole tiles and blocks of them
    logits[:, 5] = 1.0
    mine, expected = given.passes()
    torch.testing.assert_close(mine.log_z, expected.log_z, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(mine.mean_output_rows(), expected.mean_output_rows(), rtol=1e-5, atol=1e-5)
    for count in (3, 30):
        same_best(mine.ranking.best(count), expected.ranking.best(count), given.total, _close)


def test_scores_that_tie_are_each_found_once():
    given = case(3, vocabulary=900, normalized=False)
    given.run.output.given.round_()
    given.beams.scores.round_()
    agree(given, 0.0)


@pytest.mark.parametrize("normalized", [True, False], ids=["log-probs", "logits"])
def test_a_score_that_is_no_number_is_the_first_that_is_found(normalized):
    given = case(4, normalized=normalized)
    given.run.output.given[1, 634] = torch.nan
    mine, expected = given.passes()
    for found in (mine, expected):
        assert found.ranking.best(3).scores.isnan().any(dim=1).tolist() == [True, False]


def _close(mine: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------------------------------- the choice among all of them


def whole_choices_agree(given: Case, precision: float) -> None:
    """The averages, and the way back from a random gradient of them."""
    run, beams = given.run, given.beams
    mine, expected = given.passes()
    top = expected.ranking.best(run.settings.width)
    top = Best(*(torch.where(top.scores.isfinite(), column, column[:, :1]) for column in top))
    found = [made.whole().averages(top.places, top.scores) for made in (mine, expected)]
    same([found[0].values], [found[1].values], precision)
    assert torch.equal(found[0].best, found[1].best)
    gradient = torch.randn(found[1].values.shape, dtype=torch.float64).to(found[1].values)
    back = [
        type(made.whole()).back(run, beams, given.features, expected.log_z, top.places, averages.kept, gradient)
        for made, averages in zip((mine, expected), found, strict=True)
    ]
    same(list(back[0]), list(back[1]), precision)


@each_type
@pytest.mark.parametrize("width", range(1, 9))
@pytest.mark.parametrize("alpha", [0.1, 3.0])
def test_all_candidates_are_weighed_as_torch_weighs_them(dtype, width, alpha):
    given = case(width, dtype, vocabulary=130 * width, width=width, spread=1.0, alpha=alpha)
    whole_choices_agree(given, 1e-12 if dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize("normalized", [True, False], ids=["log-probs", "logits"])
@pytest.mark.parametrize("augmented", [True, False])
@pytest.mark.parametrize("dead", [0, 2])
@pytest.mark.parametrize("vocabulary", [4, 1500])
def test_all_candidates_with_costs_and_dead_beams(normalized, augmented, dead, vocabulary):
    given = case(1, torch.float64, vocabulary, normalized=normalized, augmented=augmented, dead=dead, spread=1.0)
    whole_choices_agree(given, 1e-12)


def test_logits_of_minus_infinity_weigh_nothing():
    given = case(2, torch.float64, spread=1.0)
    given.run.output.given[:, 5:90] = -torch.inf
    finite = given.run.output.given.masked_fill(given.run.output.given.isinf(), -1e4)
    low = given._replace(run=given.run._replace(output=Given(finite, given.run.output.weight, True)))
    top = low.passes()[1].ranking.best(3)
    mine, expected = given.passes()[0].whole(), low.passes()[1].whole()
    same([mine.averages(*reversed(top)).values], [expected.averages(*reversed(top)).values], 1e-12)


# ---------------------------------------------------------------------------------------------------- the whole search


def in_triton(given: Problem, decoder: Decoder) -> list[Tensor]:
    """The losses and all gradients."""
    given = given._replace(kernel="triton")
    return [given.losses(decoder).detach(), *given.gradients(decoder)]


def in_torch(given: Problem, decoder: Decoder) -> list[Tensor]:
    return [given.losses(decoder).detach(), *given.gradients(decoder)]


def on_device(given: Problem, dtype: torch.dtype = torch.float64) -> Problem:
    def moved(tensor: Tensor) -> Tensor:
        return tensor.detach().to(DEVICE, dtype).requires_grad_(tensor.requires_grad)

    old = given.decoder
    weights = {name: moved(weight) for name, weight in old.weights.items()}
    decoder = Decoder(weights, moved(old.start_h), moved(old.start_c), old.normalized)
    rest = {name: getattr(given, name).to(DEVICE) for name in ("lengths", "gold", "candidates")}
    return given._replace(decoder=decoder, wrong=given.wrong.to(DEVICE, dtype), **rest)


def same(mine: list[Tensor], expected: list[Tensor], precision: float) -> None:
    for one, other in zip(mine, expected, strict=True):
        scale = 1 + float(other.abs().max())
        torch.testing.assert_close(one / scale, other / scale, rtol=precision, atol=precision)


@pytest.mark.parametrize("seed", range(24))  # all variants
def test_losses_and_gradients_are_torchs(seed, monkeypatch):
    given = on_device(random_settings(seed))
    if seed % 2 == 0:  # keep what weighs anything, also if it is much
        monkeypatch.setattr(fused_choice, "nearest", partial(nearest, share=4))
    same(in_triton(given, given.decoder), in_torch(given, given.decoder), 1e-9)


@each_top_k
@pytest.mark.parametrize("spread", SHARPNESS.values(), ids=SHARPNESS)
@pytest.mark.parametrize("hinge", [False, True])
def test_in_single_precision(top_k, spread, hinge):
    given = on_device(problem(1, top_k=top_k, spread=spread, hinge=hinge, alpha=2.0, lengths=(2, 1, 2)), torch.float32)
    same(in_triton(given, given.decoder), in_torch(given, given.decoder), 1e-3)


@each_top_k
@pytest.mark.parametrize("spread", [1.0, 10.0])
def test_products_in_bfloat16_are_read_as_they_are(top_k, spread):
    class Narrow(Decoder):
        @property
        def output(self) -> OutputLayer | None:
            known = super().output
            return known and known._replace(dtype=torch.bfloat16)

    given = on_device(problem(7, top_k=top_k, spread=spread, alpha=3.0, lengths=(2, 1, 2)), torch.float32)
    old = given.decoder
    narrow = Narrow(old.weights, old.start_h, old.start_c, old.normalized)
    same(in_triton(given, narrow), in_torch(given, narrow), 5e-3)


@each_top_k
def test_both_paths_are_taken(top_k, monkeypatch):
    taken = paths_taken(monkeypatch)
    for spread in (0.3, 30.0):
        given = on_device(problem(5, top_k=top_k, spread=spread, alpha=spread))
        same(in_triton(given, given.decoder), in_torch(given, given.decoder), 1e-9)
    assert set(taken) == {"NearChoice", "WholeChoice"}


@pytest.mark.parametrize(("capability", "types"), [(80, ["*bf16"]), (90, ["*bf16", "*fp64"])], ids=["A100", "H100"])
def test_the_kernels_compile_for_a_gpu_that_need_not_be_there(capability, types, tmp_path):
    program = Path(__file__).parents[1] / "compiled_kernels.py"
    env = {name: value for name, value in os.environ.items() if name != INTERPRETER} | {
        "TRITON_CACHE_DIR": str(tmp_path)
    }
    done = subprocess.run([sys.executable, program, str(capability), *types], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = {line.split()[0] for line in done.stdout.splitlines()}
    assert names == {kernel.__name__ for kernel in kernels.KERNELS + whole.KERNELS}
