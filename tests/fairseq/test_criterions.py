"""The criterions that search, as the trainer sees them."""

import math

import pytest
import torch
from fairseq import utils
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from glue import make_criterion

from seqsearch_fairseq.algorithms import kernels
from seqsearch_fairseq.criterions.annealed_criterion import AnnealedCriterion
from seqsearch_fairseq.criterions.soft_beam import parse_label_cost
from seqsearch_fairseq.errors import UsageError

RIVALS = ["global_likelihood", "beam_search_optimization", "minimum_risk"]
CRITERIONS = ["soft_beam_direct", "soft_beam_hinge", *RIVALS]
ARCHS = ["lstm", "transformer", "tagger_lstm"]


def peaked(criterion: str) -> dict:
    """Flags for an alpha at which the relaxation matters, of the criterions that relax."""
    return {} if criterion in RIVALS else {"soft_beam_alpha": 2.0}


def scored_by(criterion: str, scores: str) -> dict:
    return {f"{'beam_training' if criterion in RIVALS else 'soft_beam'}_scores": scores}


def per_sentence(criterion, model, batches) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([criterion(model, batch, reduce=False)[0] for batch in batches])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("criterion", CRITERIONS)
@pytest.mark.parametrize("arch", ARCHS)
def test_a_sentences_loss_does_not_depend_on_its_batch(loaded, arch, criterion, training):
    model = loaded(arch, double=True)
    loss = make_criterion(criterion, model.task, **peaked(criterion)).double().train(training)
    together = per_sentence(loss, model.model, [model.batch()])
    alone = per_sentence(loss, model.model, model.one_by_one())
    assert together.dtype == torch.float64
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-10)


@pytest.mark.parametrize("criterion", CRITERIONS)
@pytest.mark.parametrize("arch", ARCHS)
def test_float32_is_batched_as_well(loaded, arch, criterion):
    model = loaded(arch)
    loss = make_criterion(criterion, model.task)
    together = per_sentence(loss, model.model, [model.batch()])
    torch.testing.assert_close(per_sentence(loss, model.model, model.one_by_one()), together, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("criterion", CRITERIONS)
@pytest.mark.parametrize("arch", ARCHS)
def test_gradients_do_not_depend_on_the_batch(loaded, arch, criterion):
    def gradients(model, batches):
        loss = make_criterion(criterion, model.task, **peaked(criterion)).double()
        model.model.zero_grad()
        for batch in batches:
            loss(model.model, batch)[0].backward()
        return {name: p.grad for name, p in model.model.named_parameters() if p.grad is not None}

    model = loaded(arch, double=True)
    together, alone = gradients(model, [model.batch()]), gradients(model, model.one_by_one())
    assert together.keys() == alone.keys()
    assert sum(float(gradient.abs().sum()) for gradient in together.values()) > 0
    for name, gradient in together.items():
        torch.testing.assert_close(alone[name], gradient, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("criterion", CRITERIONS)
def test_losses_of_sentences_sum_to_the_loss(loaded, criterion):
    model = loaded("lstm")
    loss = make_criterion(criterion, model.task, search_nll_weight=0.5)
    total, _, logs = loss(model.model, model.batch())
    each = per_sentence(loss, model.model, [model.batch()])
    assert each.shape == (8,)
    torch.testing.assert_close(each.sum(), total)
    torch.testing.assert_close(logs["loss"], total)


@pytest.mark.parametrize("sentence_avg,unit", [(False, "ntokens"), (True, "nsentences")])
def test_the_sample_size_is_that_of_cross_entropy(loaded, sentence_avg, unit):
    model = loaded("lstm")
    loss = make_criterion("soft_beam_direct", model.task, sentence_avg=sentence_avg)
    _, sample_size, logs = loss(model.model, model.batch())
    _, expected, _ = CrossEntropyCriterion(model.task, sentence_avg)(model.model, model.batch())
    assert sample_size == expected == logs[unit]


@pytest.mark.parametrize("scores", ["log-probs", "logits"])
@pytest.mark.parametrize("criterion", CRITERIONS)
@pytest.mark.parametrize("arch", ARCHS)
def test_nll_loss_is_cross_entropy_and_a_weight_adds_it(loaded, arch, criterion, scores):
    model = loaded(arch, double=True)
    expected, _, _ = CrossEntropyCriterion(model.task, False)(model.model, model.batch())
    loss = make_criterion(criterion, model.task, search_nll_weight=1.0, **scored_by(criterion, scores)).double()
    total, _, logs = loss(model.model, model.batch())
    expected = expected.double()  # fairseq adds it up in float32
    torch.testing.assert_close(logs["nll_loss"], expected.detach(), rtol=1e-5, atol=0)
    torch.testing.assert_close(total - logs["objective"], expected, rtol=1e-5, atol=0)


def test_without_a_weight_the_loss_is_the_objective(loaded):
    model = loaded("tagger_lstm")
    _, _, logs = make_criterion("soft_beam_direct", model.task)(model.model, model.batch())
    assert logs["loss"] == logs["objective"]


@pytest.mark.parametrize("criterion", CRITERIONS)
def test_a_loss_that_is_no_number_names_the_sentences(loaded, criterion):
    model = loaded("tagger_lstm")
    batch = model.batch()
    broken = batch["net_input"]["src_tokens"][2, 0]
    ids = batch["id"][(batch["net_input"]["src_tokens"] == broken).any(dim=1)].tolist()
    model.model.encoder.embed_tokens.weight.data[broken] = math.nan
    with pytest.raises(FloatingPointError, match="nan.*sentences with ids") as error:
        make_criterion(criterion, model.task)(model.model, batch)
    assert f"ids {ids};" in str(error.value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("criterion", CRITERIONS)
@pytest.mark.parametrize("arch", ARCHS)
def test_a_half_precision_model_searches_in_float32(loaded, arch, criterion, dtype):
    model = loaded(arch)
    whole = per_sentence(make_criterion(criterion, model.task), model.model, [model.batch()])
    half_model = model.model.to(dtype)
    loss = make_criterion(criterion, model.task).to(dtype)  # fairseq's trainer casts the criterion too
    half = per_sentence(loss, half_model, [model.batch()])
    assert half.dtype == torch.float32
    close = 0.3 if criterion == "beam_search_optimization" else 0.1  # one more violation, and the search goes elsewhere
    torch.testing.assert_close(half.mean(), whole.mean(), rtol=close, atol=0.1)


@pytest.mark.parametrize("criterion", CRITERIONS)
def test_a_half_precision_model_gets_finite_gradients(loaded, criterion):
    model = loaded("tagger_lstm")
    model.model.bfloat16()
    make_criterion(criterion, model.task).bfloat16()(model.model, model.batch())[0].backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.model.parameters() if p.grad is not None)


def test_all_that_anneals_an_alpha_shares_one_schedule():
    kinds = [
        CRITERION_REGISTRY[name]
        for name, settings in CRITERION_DATACLASS_REGISTRY.items()
        if any(field.endswith("_alpha_growth") for field in settings.__dataclass_fields__)
    ]
    assert len(kinds) == 3 and all(issubclass(kind, AnnealedCriterion) for kind in kinds)


@pytest.mark.parametrize("epoch,alpha", [(1, 2.0), (2, 6.0), (3, 10.0), (50, 10.0)])
def test_alpha_follows_the_tasks_epoch(loaded, epoch, alpha):
    model = loaded("tagger_lstm")
    loss = make_criterion(
        "soft_beam_direct", model.task, soft_beam_alpha=2.0, soft_beam_alpha_growth=3.0, soft_beam_alpha_max=10.0
    )
    model.task.begin_epoch(epoch, model.model)
    assert loss.alpha == alpha


def test_label_costs_weigh_wrong_predictions(loaded):
    model = loaded("tagger_lstm")
    labels = [model.task.target_dictionary[i] for i in model.task.search_candidates().nonzero()]

    def objective(**flags):
        loss = make_criterion("soft_beam_direct", model.task, **flags).eval()
        return loss(model.model, model.batch())[2]

    plain = objective()
    doubled = objective(soft_beam_label_cost=",".join(f"{label}=2" for label in labels))
    torch.testing.assert_close(doubled["objective"], 2 * plain["objective"])
    torch.testing.assert_close(doubled["_token_hard_beam_cost"], 2 * plain["_token_hard_beam_cost"])


@pytest.mark.parametrize(
    "text,expected", [("", {}), ("O=2", {"O": 2}), (" O=0 , L1=0.5,", {"O": 0, "L1": 0.5}), ("L2=1e1", {"L2": 10})]
)
def test_label_costs_are_read(loaded, text, expected):
    dictionary = loaded("tagger_lstm").task.target_dictionary
    costs = parse_label_cost(text, dictionary)
    assert costs.tolist() == [expected.get(symbol, 1) for symbol in dictionary.symbols]


REFUSED = [
    ({"soft_beam_alpha": 0.0}, "--soft-beam-alpha must be a positive number, got 0.0"),
    ({"soft_beam_alpha": -1.0}, "--soft-beam-alpha must be a positive number, got -1.0"),
    ({"soft_beam_alpha": math.nan}, "--soft-beam-alpha must be a positive number, got nan"),
    ({"soft_beam_alpha": math.inf}, "--soft-beam-alpha must be a positive number, got inf"),
    ({"soft_beam_alpha_growth": 0.0}, "--soft-beam-alpha-growth must be a positive number, got 0.0"),
    ({"soft_beam_alpha_growth": -2.0}, "--soft-beam-alpha-growth must be a positive number, got -2.0"),
    ({"soft_beam_alpha": 5.0, "soft_beam_alpha_max": 4.0}, r"--soft-beam-alpha-max must be .* \(5.0\), got 4.0"),
    ({"soft_beam_size": 0}, r"--soft-beam-size must be in \[1, 3\], .* got 0"),
    ({"soft_beam_size": 4}, r"--soft-beam-size must be in \[1, 3\], .* got 4"),
    ({"search_nll_weight": -0.1}, "--search-nll-weight must be a number of at least 0, got -0.1"),
    ({"search_nll_weight": math.nan}, "--search-nll-weight must be a number of at least 0, got nan"),
    ({"soft_beam_label_cost": "X=2"}, "the label 'X' is not in the target dictionary"),
    ({"soft_beam_label_cost": "O"}, "must look like 'O=2,B-PER=0.5', got 'O'"),
    ({"soft_beam_label_cost": "O=x"}, "the cost of 'O' must be a number >= 0, got 'x'"),
    ({"soft_beam_label_cost": "O=-1"}, "the cost of 'O' must be a number >= 0, got '-1'"),
    ({"soft_beam_label_cost": "O=inf"}, "the cost of 'O' must be a number >= 0, got 'inf'"),
]


def test_a_kernel_that_cannot_run_is_refused(loaded, monkeypatch):
    model = loaded("tagger_lstm")
    monkeypatch.setattr(kernels, "installed", lambda: True)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    criterion = make_criterion("soft_beam_direct", model.task, soft_beam_kernel="triton")
    with pytest.raises(
        UsageError, match="--soft-beam-kernel triton needs the model on a GPU, or .* got a model on cpu"
    ):
        criterion(model.model, model.batch())
    with torch.no_grad():  # a validation runs anywhere
        criterion(model.model, model.batch())
    monkeypatch.setattr(kernels, "installed", lambda: False)
    with pytest.raises(UsageError, match="--soft-beam-kernel triton needs the package triton, which is not installed"):
        make_criterion("soft_beam_direct", model.task, soft_beam_kernel="triton")


@pytest.mark.skipif(not kernels.installed(), reason="needs the package triton (the extra `gpu`)")
@pytest.mark.parametrize("name", ["soft_beam_direct", "soft_beam_hinge"])
@pytest.mark.parametrize("arch", ["lstm", "tagger_lstm"])
def test_the_kernels_train_as_torch_does(loaded, arch, name):
    model = loaded(arch).without_dropout()
    device = "cuda" if torch.cuda.is_available() else "cpu"  # there in the interpreter: see conftest.py
    model.model.to(device)
    found = []
    for kernel in ("torch", "triton"):
        criterion = make_criterion(name, model.task, soft_beam_kernel=kernel, soft_beam_alpha=3.0).to(device)
        model.model.zero_grad()
        batch = model.batch() if device == "cpu" else utils.move_to_cuda(model.batch())
        loss, _, _ = criterion(model.model, batch)
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in model.model.parameters() if p.grad is not None)])
    for mine, expected in zip(*reversed(found), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("flags,message", REFUSED)
def test_flags_out_of_range_are_refused(loaded, flags, message):
    task = loaded("tagger_lstm").task
    with pytest.raises(UsageError, match=message):
        make_criterion("soft_beam_direct", task, **flags)
