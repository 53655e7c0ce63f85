"""`searnn` as the trainer sees it."""

import math
from argparse import Namespace

import pytest
import torch
from fairseq import utils
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.logging import metrics
from glue import make_criterion
from rapidfuzz.distance import Levenshtein

from seqsearch_fairseq.adapters import FairseqStep
from seqsearch_fairseq.algorithms import best_token
from seqsearch_fairseq.algorithms.searnn import rollouts
from seqsearch_fairseq.algorithms.searnn.losses import LOSSES
from seqsearch_fairseq.algorithms.searnn.roll_in import Space, roll_in
from seqsearch_fairseq.algorithms.sequence_costs import FILL
from seqsearch_fairseq.criterions.searnn import SearnnCriterion
from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.models import gru_gates

ARCHS = ["lstm", "transformer", "attention_gru", "tagger_gru"]
CROSS_ENTROPY = {"searnn_roll_in": "reference", "searnn_roll_out": "reference", "searnn_loss": "ll"}


def gradients(criterion, model, batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss, _, _ = criterion(model, batch)
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("arch", ARCHS)
def test_references_hamming_and_ll_are_cross_entropy(loaded, arch):
    model = loaded(arch)
    loss, found = gradients(make_criterion("searnn", model.task, **CROSS_ENTROPY), model.model, model.batch())
    expected_loss, expected = gradients(CrossEntropyCriterion(model.task, False), model.model, model.batch())
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=0)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("roll_in,roll_out", [("learned", "learned"), ("reference", "learned"), ("learned", "focused")])
@pytest.mark.parametrize("arch", ARCHS)
def test_a_sentences_loss_and_gradient_do_not_depend_on_its_batch(loaded, arch, roll_in, roll_out):
    """KL does not break ties; the roll-outs' chunks differ as well."""
    model = loaded(arch, double=True)
    options = {"searnn_roll_in": roll_in, "searnn_roll_out": roll_out, "searnn_loss": "kl"}
    loss = make_criterion("searnn", model.task, searnn_roll_out_batch=100, **options).double()
    together, expected = gradients(loss, model.model, model.batch(4))
    loss = make_criterion("searnn", model.task, **options).double()
    alone, total = 0.0, {}
    for batch in model.one_by_one(4):
        part, found = gradients(loss, model.model, batch)
        alone = alone + part
        total = {name: total.get(name, 0.0) + gradient for name, gradient in found.items()}
    torch.testing.assert_close(alone, together, rtol=1e-12, atol=0)
    for name, gradient in expected.items():
        torch.testing.assert_close(total[name], gradient, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("arch", ARCHS)
def test_roll_outs_are_the_plain_decoders(loaded, arch):
    """Each roll-out by a decoder of its own, from the start, against the one that shares states and the encoder."""
    model = loaded(arch, double=True)
    batch, task = model.batch(4), model.task
    net_input = {name: value for name, value in batch["net_input"].items() if name != "prev_output_tokens"}
    with torch.no_grad():
        encoder_out = model.model.encoder(**net_input)
        step = FairseqStep(model.model, encoder_out, 4, "logits")
        lengths = task.search_lengths(batch)
        eos = None if task.one_label_a_word else task.target_dictionary.eos()
        gold = batch["target"].masked_fill(batch["target"] == task.target_dictionary.pad(), FILL)
        if eos is not None:
            gold = gold.masked_fill(gold == eos, FILL)
        space = Space(task.search_candidates(), eos, lengths + (0 if eos is None else 2))
        mixed = torch.rand(4, int(space.limits.max())) < 0.5
        rolled_in = roll_in(step, gold, mixed, space)
        sentence, position = rolled_in.tokens.ne(FILL).nonzero(as_tuple=True)
        token = torch.multinomial(task.search_candidates().double().expand(len(position), -1), 1).squeeze(1)
        actions = rollouts.Actions(sentence, position, token)
        found = rollouts.finish(step, rolled_in, actions, torch.full((4,), 1000), space)
        assert found.rolled_out > len(position) // 2 and bool(found.complete.all())
        for r in range(len(token)):
            b, t = int(sentence[r]), int(position[r])
            alone = FairseqStep(
                model.model, model.model.encoder.reorder_encoder_out(encoder_out, sentence[r : r + 1]), 1
            )
            prefix = [*rolled_in.tokens[b, :t].tolist(), int(token[r])]
            while prefix[-1] != eos and len(prefix) < int(space.limits[b]):
                state, scores = alone.start(1), None
                for previous in [alone.bos, *prefix]:
                    scores, state = alone(alone.embedding[previous].unsqueeze(0), state)
                prefix.append(int(scores.masked_fill(~space.candidates, -torch.inf).argmax()))
            expected = prefix[:-1] if prefix[-1] == eos else prefix
            assert [x for x in found.tokens[r].tolist() if x != FILL] == expected


@pytest.mark.parametrize(
    "options",
    [
        {"searnn_roll_out": "learned"},
        {"searnn_roll_out": "mixed", "searnn_cost": "edit", "searnn_roll_in": "mixed"},
        {"searnn_roll_out": "focused", "searnn_focus": 2, "searnn_roll_in": "reference"},
        {"searnn_roll_out": "learned", "searnn_sampling": "policy=3", "searnn_cells": 2, "searnn_roll_out_batch": 50},
    ],
)
@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("arch", ["attention_gru", "tagger_gru"])
def test_the_search_of_rows_is_the_plain_way(loaded, monkeypatch, arch, options, small):
    """The same costs, losses and gradients as by the decoder's own steps, however the work is cut."""
    model = loaded(arch, double=True)
    for module, name, size in ((gru_gates, "BLOCK", 5), (gru_gates, "TABLE", 0), (best_token, "ROWS", 3)):
        monkeypatch.setattr(module, name, size if small else getattr(module, name))
    criterion = make_criterion("searnn", model.task, searnn_loss="kl", **options).double()
    found = []
    for faster in (True, False):
        if not faster:
            monkeypatch.setattr(FairseqStep, "row_step", None)
            monkeypatch.setattr(FairseqStep, "_faster_step", lambda self: None)
        torch.manual_seed(1)
        loss, gradient = gradients(criterion, model.model, model.batch())
        torch.manual_seed(1)
        found.append((loss, gradient, criterion(model.model, model.batch())[2]))
    (loss, gradient, log), (expected_loss, expected_gradient, expected_log) = found
    torch.testing.assert_close(loss, expected_loss, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-10)
    for name in ("_cell_best_cost", "_cell_gold_not_best", "_units_cell"):
        assert log[name] == expected_log[name]


@pytest.mark.parametrize("options", [{"searnn_loss": name} for name in LOSSES])
@pytest.mark.parametrize("arch", ARCHS)
def test_every_loss_trains_every_parameter(loaded, arch, options):
    model = loaded(arch)
    model.model.train()
    sampling = {"searnn_sampling": "top-k=2,uniform=1", "searnn_cells": 2, "searnn_sampled_softmax": True}
    criterion = make_criterion("searnn", model.task, searnn_roll_in="mixed", **options, **sampling)
    loss, found = gradients(criterion, model.model, model.batch())
    assert loss > 0 and found.keys() == dict(model.model.named_parameters()).keys()
    assert all(bool(gradient.isfinite().all()) for gradient in found.values())


def test_dropout_is_off_in_roll_outs_and_on_again_after_them(loaded):
    model = loaded("lstm")
    model.model.train()
    modes = []
    hook = model.model.decoder.register_forward_pre_hook(lambda module, args: modes.append(module.training))
    original = model.model.decoder.extract_features
    model.model.decoder.extract_features = lambda *args, **options: (
        modes.append(model.model.decoder.training),
        original(*args, **options),
    )[1]
    make_criterion("searnn", model.task, searnn_roll_out="learned")(model.model, model.batch())
    hook.remove()
    assert modes[0] and not modes[-1]
    assert all(module.training for module in model.model.modules())


@pytest.mark.parametrize("training", [False, True])
def test_with_dropout_a_roll_out_does_not_repeat_the_roll_in(loaded, monkeypatch, training):
    model, asked = loaded("lstm"), []
    model.model.train(training)
    plain = rollouts.finish

    def finish(*args, own_continuation):
        asked.append(own_continuation)
        return plain(*args, own_continuation=own_continuation)

    monkeypatch.setattr("seqsearch_fairseq.algorithms.searnn.algorithm.finish", finish)
    make_criterion("searnn", model.task)(model.model, model.batch())
    assert set(asked) == {not training}


@pytest.mark.parametrize("arch", ARCHS)
def test_with_everything_sampled_nothing_changes(loaded, arch):
    """As many tokens and cells as there are: the same as all, whichever sampler."""
    model = loaded(arch, double=True)
    count = int(model.task.occurring_candidates().sum())
    options = {"searnn_roll_out": "learned", "searnn_loss": "kl", "searnn_sampled_softmax": True}
    expected, _ = gradients(make_criterion("searnn", model.task, **options).double(), model.model, model.batch(3))
    for sampler in ("uniform", "policy", "top-k"):
        sampled = make_criterion(
            "searnn", model.task, searnn_sampling=sampler, searnn_tokens=count, searnn_cells=1000, **options
        )
        found, _ = gradients(sampled.double(), model.model, model.batch(3))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("arch", ARCHS)
def test_what_is_logged(loaded, arch):
    model = loaded(arch)
    criterion = make_criterion("searnn", model.task, searnn_roll_out="learned", searnn_cost="edit").train()
    logs = [criterion(model.model, batch)[2] for batch in (model.batch(), model.batch())]
    with metrics.aggregate() as found:
        criterion.reduce_metrics(logs)
    found = found.get_smoothed_values()
    cells = logs[0]["_units_cell"]
    assert 0 < found["roll_outs"] <= cells * len(model.task.target_dictionary)
    assert found["decoder_steps"] >= found["roll_outs"]
    assert 0 <= found["best_cost"] and 0 <= found["gold_not_best"] <= 1
    assert 0 < found["roll_out_time_share"] < 1
    assert "nll_loss" not in found
    criterion.eval()
    loss, _, log = criterion(model.model, model.batch())
    with metrics.aggregate() as found:
        criterion.reduce_metrics([log])
    expected, _, _ = CrossEntropyCriterion(model.task, False)(model.model, model.batch())
    torch.testing.assert_close(loss, expected)
    assert found.get_smoothed_values()["greedy_cost"] >= 0


@pytest.mark.parametrize(
    "options,message",
    [
        ({"searnn_roll_out_batch": 0}, "--searnn-roll-out-batch must be at least 1, got 0"),
        ({"searnn_cells": -1}, "--searnn-cells must be at least 0, got -1"),
        ({"searnn_sampling": "uniform", "searnn_tokens": 1000}, "uniform must choose 1 to .* got 1000"),
        ({"searnn_sampling": "uniform=0"}, "uniform must choose 1 to .* got 0"),
        ({"searnn_sampling": "best"}, "--searnn-sampling must be all or name uniform, corpus, .* got 'best'"),
        ({"searnn_sampling": "uniform=x"}, "the count of uniform must be a whole number, got 'x'"),
        ({"searnn_sampling": "uniform,uniform"}, "names uniform twice"),
        ({"searnn_neighbors": 2}, "--searnn-neighbors adds to samplers"),
        ({"searnn_reference_prob": 1.5}, r"--searnn-reference-prob must be in \[0, 1\], got 1.5"),
        ({"searnn_cost_scale": 0.0}, "--searnn-cost-scale must be a positive number, got 0.0"),
        ({"searnn_cost_scale": math.inf}, "--searnn-cost-scale must be a positive number, got inf"),
        ({"searnn_sampling": "uniform", "searnn_loss": "llcas"}, "needs --searnn-sampled-softmax"),
        ({"searnn_cost": "chunk-f1"}, "--searnn-cost chunk-f1 is for search_tagging"),
        ({"searnn_reference_policy": "max-f1"}, "max-f1 goes with --searnn-cost chunk-f1, got hamming"),
        ({"searnn_reference_policy": "best-suffix-bleu-1"}, "goes with --searnn-cost bleu, bleu-1, gleu, got hamming"),
    ],
)
def test_bad_flags_are_refused(loaded, options, message):
    with pytest.raises(UsageError, match=message):
        make_criterion("searnn", loaded("lstm").task, **options)


@pytest.mark.parametrize(
    "options,message",
    [
        ({"searnn_cost": "chunk-f1"}, "--searnn-cost chunk-f1: chunk F1 needs BIO labels"),
        ({"searnn_reference_policy": "best-suffix"}, "best-suffix is for search_translation"),
    ],
)
def test_what_does_not_fit_a_tagger_is_refused(loaded, options, message):
    with pytest.raises(UsageError, match=message):
        make_criterion("searnn", loaded("tagger_gru").task, **options)


def test_running_out_of_memory_names_the_flag_to_lower(loaded, monkeypatch):
    def fail(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    model = loaded("lstm")
    criterion = make_criterion("searnn", model.task)
    monkeypatch.setattr(FairseqStep, "narrow", fail)
    with pytest.raises(UsageError, match=r"lower --searnn-roll-out-batch \(it is 8192\)"):
        criterion(model.model, model.batch())


def test_only_memory_errors_are_taken_for_one(loaded, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("something else")

    model = loaded("lstm")
    monkeypatch.setattr(FairseqStep, "narrow", fail)
    with pytest.raises(RuntimeError, match="something else"):
        make_criterion("searnn", model.task)(model.model, model.batch())


def test_focus_grows_by_the_epoch(loaded):
    model = loaded("lstm")
    criterion = make_criterion("searnn", model.task, searnn_focus=2, searnn_focus_growth=3)
    assert isinstance(criterion, SearnnCriterion) and criterion.focus == 2
    model.task.epoch = 4
    assert criterion.focus == 11


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("arch", ARCHS)
def test_a_half_precision_model_gets_a_float32_loss(loaded, arch, dtype):
    model = loaded(arch)
    options = {"searnn_roll_in": "reference", "searnn_roll_out": "learned", "searnn_loss": "kl"}
    options["searnn_roll_out_precision"] = "bfloat16"
    whole, _, _ = make_criterion("searnn", model.task, **options)(model.model, model.batch())
    half, _, _ = make_criterion("searnn", model.task, **options).to(dtype)(model.model.to(dtype), model.batch())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, whole, rtol=0.1, atol=0.1)
    half.backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.model.parameters() if p.grad is not None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("arch", ARCHS)
def test_a_gpu_gives_the_loss_of_the_cpu(loaded, arch, loss):
    model = loaded(arch, double=True).without_dropout()
    options = {"searnn_roll_in": "learned", "searnn_roll_out": "learned", "searnn_loss": loss, "searnn_cost": "edit"}
    options |= {"searnn_sampling": "top-k=3,neighbors=2", "searnn_sampled_softmax": True, "searnn_cost_scale": 7.0}
    torch.manual_seed(1)
    expected, _, _ = make_criterion("searnn", model.task, **options).double()(model.model, model.batch())
    batch = utils.move_to_cuda(model.batch())
    criterion = make_criterion("searnn", model.task, **options).double().cuda()
    torch.manual_seed(1)
    found, _, _ = criterion(model.model.cuda(), batch)
    torch.testing.assert_close(found.cpu(), expected)
    found.backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.model.parameters() if p.grad is not None)


def test_counts_survive_half_precision(loaded):
    model = loaded("lstm")
    model.task.target_dictionary.count[-1] = 200_000
    criterion = make_criterion("searnn", model.task, searnn_sampling="corpus").half()
    assert int(criterion.frequencies[-1]) == 200_000


def test_in_validation_the_gold_counts_once(loaded):
    model = loaded("lstm")
    criterion = make_criterion("searnn", model.task, search_nll_weight=3.0)
    expected, _, _ = CrossEntropyCriterion(model.task, False)(model.model, model.batch())
    found = [criterion.train(mode)(model.model, model.batch())[0] for mode in (False, True)]
    torch.testing.assert_close(found[0], expected)
    assert float(found[1].detach()) > 3 * float(expected.detach())


def test_no_sequence_is_longer_than_the_decoders_positions(loaded, monkeypatch):
    model = loaded("transformer")
    longest = int(model.task.search_lengths(model.batch()).max())
    monkeypatch.setattr(model.model.decoder, "max_positions", lambda: longest)
    seen = []
    plain = roll_in
    monkeypatch.setattr(
        "seqsearch_fairseq.algorithms.searnn.algorithm.roll_in",
        lambda *args: seen.append(int(args[-1].limits.max())) or plain(*args),
    )
    make_criterion("searnn", model.task)(model.model, model.batch())
    assert seen == [longest]


@pytest.mark.parametrize("arch", ARCHS)
def test_greedy_cost_is_the_plain_decoders(loaded, arch):
    """Of a model that is far from converged, whose output may be much longer than the gold."""
    model = loaded(arch, double=True)
    criterion = make_criterion("searnn", model.task, searnn_cost="edit").eval()
    batch, task = model.batch(), model.task
    generator = task.build_generator(
        [model.model], Namespace(beam=1, max_len_a=0, max_len_b=200, max_len=200), extra_gen_cls_kwargs=None
    )
    eos, pad = task.target_dictionary.eos(), task.target_dictionary.pad()
    expected = 0.0
    for found, gold in zip(generator.generate([model.model], batch), batch["target"], strict=True):
        gold = [token for token in gold.tolist() if token not in (eos, pad)]
        limit = len(gold) if task.one_label_a_word else 2 * (len(gold) + 1) + 10
        output = [token for token in found[0]["tokens"].tolist()[:limit] if token != eos]
        expected += Levenshtein.distance(output, gold) / len(gold)
    log = criterion(model.model, batch)[2]
    assert float(log["_sentence_greedy_cost"]) == pytest.approx(expected)


@pytest.mark.parametrize("policy", ["copy", "max-f1"])
def test_chunks_can_be_the_cost(loaded, policy):
    model = loaded("tagger_gru")
    dictionary = model.task.target_dictionary
    for i in range(dictionary.nspecial, len(dictionary)):
        if not dictionary.symbols[i].startswith("madeupword"):
            dictionary.symbols[i] = ["O", "B-X", "I-X", "B-Y", "I-Y"][i % 5]
    options = {"searnn_cost": "chunk-f1", "searnn_reference_policy": policy, "searnn_loss": "kl"}
    criterion = make_criterion("searnn", model.task, searnn_cost_scale=10.0, **options)
    loss, log = criterion(model.model, model.batch())[::2]
    assert float(loss.detach()) > 0 and 0 <= float(log["_cell_best_cost"]) <= log["_units_cell"]
    criterion.eval()
    assert 0 <= float(criterion(model.model, model.batch())[2]["_sentence_greedy_cost"]) <= 8
