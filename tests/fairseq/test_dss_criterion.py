"""`differentiable_scheduled_sampling` as the trainer sees it."""

import math

import pytest
import torch
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.logging import metrics
from glue import make_criterion

from seqsearch_fairseq.adapters import FairseqStep
from seqsearch_fairseq.algorithms.hard_beam import hard_beam
from seqsearch_fairseq.criterions.scheduled_sampling import ScheduledSamplingCriterion
from seqsearch_fairseq.errors import UsageError

NAME = "differentiable_scheduled_sampling"
ARCHS = ["lstm", "transformer", "tagger_lstm"]
FEEDBACKS = ["soft-argmax", "soft-sample", "argmax", "sample"]


def gradients(criterion, model, batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss, _, _ = criterion(model, batch)
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("loop", [False, True], ids=["at once", "step by step"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("arch", ARCHS)
def test_without_decay_it_is_cross_entropy(loaded, monkeypatch, arch, smoothing, loop):
    if loop:
        for name in ("teacher_forced", "needs_teacher_forcing", "needs_gold_gradient"):
            monkeypatch.setattr(ScheduledSamplingCriterion, name, False)
    model = loaded(arch)
    ours = make_criterion(NAME, model.task, dss_decay="none", label_smoothing=smoothing)
    theirs = LabelSmoothedCrossEntropyCriterion(model.task, False, smoothing)
    if smoothing == 0:
        theirs = CrossEntropyCriterion(model.task, False)
    loss, found = gradients(ours, model.model, model.batch())
    expected_loss, expected = gradients(theirs, model.model, model.batch())
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=0)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("feedback", ["soft-argmax", "argmax"])
@pytest.mark.parametrize("arch", ARCHS)
def test_a_sentences_loss_and_gradient_do_not_depend_on_its_batch(loaded, arch, feedback):
    model = loaded(arch, double=True)
    loss = make_criterion(NAME, model.task, dss_decay="always", dss_feedback=feedback, dss_alpha=2.0).double()
    together, expected = gradients(loss, model.model, model.batch())
    alone, total = 0.0, {}
    for batch in model.one_by_one():
        part, found = gradients(loss, model.model, batch)
        alone = alone + part
        total = {name: total.get(name, 0.0) + gradient for name, gradient in found.items()}
    torch.testing.assert_close(alone, together, rtol=1e-12, atol=0)
    for name, gradient in expected.items():
        torch.testing.assert_close(total[name], gradient, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("feedback", FEEDBACKS)
@pytest.mark.parametrize("arch", ARCHS)
def test_every_feedback_trains_every_parameter(loaded, arch, feedback):
    model = loaded(arch)
    loss, found = gradients(
        make_criterion(NAME, model.task, dss_decay="always", dss_feedback=feedback), model.model, model.batch()
    )
    assert loss > 0 and found.keys() == dict(model.model.named_parameters()).keys()
    assert all(bool(gradient.isfinite().all()) for gradient in found.values())


@pytest.mark.parametrize("arch", ARCHS)
def test_validation_measures_exposure_bias(loaded, arch):
    """The gold's cost on the model's own greedy output, read off the plain decoder, against teacher forcing."""
    model = loaded(arch, double=True)
    batch, task = model.batch(), model.task
    with torch.no_grad():
        criterion = make_criterion(NAME, task, dss_decay="always", label_smoothing=0.1).double().eval()
        loss, _, logs = criterion(model.model, batch)
        source = {name: value for name, value in batch["net_input"].items() if name != "prev_output_tokens"}
        encoder_out = model.model.encoder(**source)
        gold, lengths = batch["target"], task.search_lengths(batch)
        step = FairseqStep(model.model, encoder_out, len(gold))
        own = hard_beam(step, lengths, 1, task.search_candidates()).tokens[:, 0].clamp(min=0)
        start = torch.full_like(own[:, :1], task.target_dictionary.eos())
        arguments = {"encoder_out": encoder_out, "src_lengths": source["src_lengths"]}
        scores = model.model.decoder(torch.cat([start, own[:, :-1]], dim=1), **arguments)[0].log_softmax(-1)
        inside = gold.ne(task.target_dictionary.pad())
        free_running = -(scores.gather(2, gold.unsqueeze(2)).squeeze(2) * inside).sum() / math.log(2)
        smoothed = LabelSmoothedCrossEntropyCriterion(task, False, 0.1).double()(model.model, batch)[0]
    torch.testing.assert_close(logs["_token_free_running_nll_loss"], free_running)
    bias = free_running - logs["nll_loss"] / math.log(2)
    torch.testing.assert_close(logs["_token_exposure_bias"], bias)
    torch.testing.assert_close(loss, smoothed.to(loss.dtype), rtol=1e-6, atol=0)  # so that epochs compare


def test_the_gold_is_fed_less_and_alpha_grows_with_the_tasks_epoch(loaded):
    model = loaded("tagger_lstm")
    criterion = make_criterion(NAME, model.task, dss_decay="2", dss_alpha=2.0, dss_alpha_growth=3.0, dss_alpha_max=9.0)
    seen = []
    for epoch in (1, 2, 3):
        model.task.begin_epoch(epoch, model.model)
        logs = criterion(model.model, model.batch())[2]
        seen.append((logs["_setting_alpha"] / 8, logs["_setting_gold_probability"] / 8))
    expected = [(2.0, 1.0), (6.0, 2 / (2 + math.exp(1.0))), (9.0, 2 / (2 + math.exp(1.5)))]
    assert seen == [pytest.approx(pair) for pair in expected]


def test_the_weight_of_cross_entropy_adds_teacher_forcing(loaded):
    model = loaded("tagger_lstm", double=True)
    plain = make_criterion(NAME, model.task, dss_decay="always").double()
    added = make_criterion(NAME, model.task, dss_decay="always", search_nll_weight=0.5).double()
    forced = CrossEntropyCriterion(model.task, False)(model.model, model.batch())[0].double()
    difference = added(model.model, model.batch())[0] - plain(model.model, model.batch())[0]
    torch.testing.assert_close(difference, 0.5 * forced, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("feedback", FEEDBACKS)
@pytest.mark.parametrize("arch", ARCHS)
def test_a_half_precision_model_gets_a_float32_loss(loaded, arch, feedback, dtype):
    model = loaded(arch)
    model.model.to(dtype)
    criterion = make_criterion(NAME, model.task, dss_decay="always", dss_feedback=feedback).to(dtype)
    loss, found = gradients(criterion, model.model, model.batch())
    assert loss.dtype == torch.float32
    assert all(bool(gradient.isfinite().all()) for gradient in found.values())


REFUSED = [
    ({"dss_alpha": 0.0}, "--dss-alpha must be a positive number, got 0.0"),
    ({"dss_alpha": -1.0}, "--dss-alpha must be a positive number, got -1.0"),
    ({"dss_alpha": math.nan}, "--dss-alpha must be a positive number, got nan"),
    ({"dss_alpha_growth": 0.0}, "--dss-alpha-growth must be a positive number, got 0.0"),
    ({"dss_alpha": 5.0, "dss_alpha_max": 4.0}, r"--dss-alpha-max must be at least --dss-alpha \(5.0\), got 4.0"),
    ({"dss_decay": "0"}, "--dss-decay must be a positive number, 'always' or 'none', got '0'"),
    ({"dss_decay": "-3"}, "--dss-decay must be a positive number, 'always' or 'none', got '-3'"),
    ({"dss_decay": "inf"}, "--dss-decay must be a positive number, 'always' or 'none', got 'inf'"),
    ({"dss_decay": "often"}, "--dss-decay must be a positive number, 'always' or 'none', got 'often'"),
    ({"label_smoothing": 1.0}, r"--label-smoothing must be in \[0, 1\), got 1.0"),
    ({"label_smoothing": -0.1}, r"--label-smoothing must be in \[0, 1\), got -0.1"),
]


@pytest.mark.parametrize("flags,message", REFUSED)
def test_flags_out_of_range_are_refused(loaded, flags, message):
    task = loaded("tagger_lstm").task
    with pytest.raises(UsageError, match=message):
        make_criterion(NAME, task, **flags)


def test_a_decoder_without_a_step_is_refused(loaded):
    model = loaded("lstm")

    class Other(type(model.model.decoder)):
        def forward(self, *arguments, **options):
            return super().forward(*arguments, **options)

    model.model.decoder.__class__ = Other
    with pytest.raises(UsageError, match="cannot step through the decoder Other; supported are: LSTMDecoder"):
        make_criterion(NAME, model.task)(model.model, model.batch())


def test_the_loss_is_logged_in_bits_as_cross_entropy_logs_it(loaded):
    model = loaded("tagger_lstm")
    found = []
    for criterion in (make_criterion(NAME, model.task, dss_decay="none"), CrossEntropyCriterion(model.task, False)):
        _, _, logs = criterion(model.model, model.batch())
        with metrics.aggregate() as logged:
            type(criterion).reduce_metrics([logs])
        found.append(logged.get_smoothed_values()["loss"])
    assert found[0] == pytest.approx(float(found[1]), abs=2e-3)
