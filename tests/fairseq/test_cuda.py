"""On a GPU: losses and gradients of the CPU, half precision, and the commands end to end. Skipped without one."""

import math

import commands
import pytest
import torch
from fairseq import utils
from glue import make_criterion
from test_dbd_criterion import batch_of, model_of, task_on

from seqsearch_fairseq.generation.recognition import RecognitionGenerator, beam

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")

ALWAYS = {"dss_decay": "always"}
CRITERIONS = {
    "soft_beam_direct": {},
    "soft_beam_direct successive": {"soft_beam_top_k": "successive"},
    "soft_beam_direct sharp": {"soft_beam_alpha": 100.0},
    "soft_beam_hinge": {"soft_beam_scores": "logits"},
    "differentiable_scheduled_sampling": ALWAYS,
    "differentiable_scheduled_sampling argmax": ALWAYS | {"dss_feedback": "argmax"},
    "global_likelihood": {},
    "global_likelihood every-step": {"global_likelihood_update": "every-step"},
    "beam_search_optimization": {},
    "minimum_risk": {},
}
TRITON = {
    f"soft_beam_direct triton {alpha}": {"soft_beam_alpha": alpha, "soft_beam_kernel": "triton"}
    for alpha in (1.0, 100.0)
}


@pytest.mark.parametrize("name", CRITERIONS)
@pytest.mark.parametrize("arch", ["lstm", "transformer", "attention_gru", "tagger_lstm", "tagger_gru"])
def test_loss_and_gradients_are_those_of_the_cpu(loaded, arch, name):
    model = loaded(arch, double=True).without_dropout()
    found = []
    for device in ("cpu", "cuda"):
        batch = model.batch() if device == "cpu" else utils.move_to_cuda(model.batch())
        criterion = make_criterion(name.split()[0], model.task, **CRITERIONS[name]).double().to(device)
        model.model.to(device).zero_grad()
        loss, _, _ = criterion(model.model, batch)
        loss.backward()
        found.append([loss, *(p.grad for p in model.model.parameters() if p.grad is not None)])
    for on_cpu, on_gpu in zip(*found, strict=True):
        # Attention is in float32 in fairseq's transformer, whatever the model's dtype.
        torch.testing.assert_close(on_gpu.cpu(), on_cpu.cpu(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("topology", ["ctc", "asg"])
def test_training_through_the_decoder_and_decoding_are_those_of_the_cpu(spoken, topology):
    task = task_on(spoken, recognition_topology=topology)
    model = model_of(task).double()
    criterion = make_criterion("dbd", task, dbd_train_lm=True, search_nll_weight=0.5)
    found, said = [], []
    for device in ("cpu", "cuda"):
        batch = batch_of(task) if device == "cpu" else utils.move_to_cuda(batch_of(task))
        batch["net_input"]["source"] = batch["net_input"]["source"].double()
        model.to(device).zero_grad()
        loss, _, _ = criterion(model, batch)
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
        hypotheses = RecognitionGenerator(task, beam).generate([model.eval()], batch)
        said.append([best["tokens"].tolist() for best, *_ in hypotheses])
        model.train()
    assert said[0] == said[1] and len(found[0]) == len(found[1])
    for on_cpu, on_gpu in zip(*found, strict=True):
        torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", [*CRITERIONS, *TRITON, "searnn"])
@pytest.mark.parametrize("arch", ["lstm", "tagger_lstm"])
def test_in_half_precision_the_search_is_in_float32(loaded, arch, name, dtype):
    model = loaded(arch).without_dropout()
    batch = utils.move_to_cuda(model.batch())
    model.model.cuda().to(dtype)
    criterion = make_criterion(name.split()[0], model.task, **(CRITERIONS | TRITON).get(name, {})).cuda().to(dtype)
    loss, _, _ = criterion(model.model, batch)
    assert loss.dtype == torch.float32 and bool(loss.isfinite())
    loss.backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.model.parameters() if p.grad is not None)


@pytest.mark.parametrize("decoder", ["greedy", "beam", "soft-beam"])
@pytest.mark.parametrize("arch", ["lstm", "transformer", "tagger_lstm"])
def test_decoding_prints_what_the_cpu_prints(trained, arch, decoder):
    model = trained(arch)
    flags = commands.decode_flags(model.data, model.task, model.checkpoint, "--no-progress-bar", "--decoder", decoder)
    flags += ["--gen-subset", "valid", "--beam", 3]
    on_cpu = commands.run("generate", *flags).lines("H")
    on_gpu = commands.run("generate", *(flag for flag in flags if flag != "--cpu")).lines("H")
    assert on_cpu.keys() == on_gpu.keys()
    same = sum(on_gpu[number][0][1] == lines[0][1] for number, lines in on_cpu.items())
    assert same >= 0.85 * len(on_cpu) > 0  # sums in float32 differ in their last digits, which can turn a tie


@pytest.mark.parametrize("precision", [None, "--fp16", "--amp"])
@pytest.mark.parametrize(
    "criterion",
    ["soft_beam_direct", "differentiable_scheduled_sampling", "searnn", "global_likelihood", "minimum_risk"],
)
def test_training_resumes(tmp_path, trained, criterion, precision):
    begun = trained("tagger_lstm")
    flags = [*commands.TINY["tagger_lstm"], *commands.OPTIMIZER, "--finetune-from-model", begun.checkpoint]
    flags += ["--criterion", criterion, *([precision] if precision else [])]
    flags = [flag for flag in commands.train_flags(begun.data, begun.task, tmp_path, *flags) if flag != "--cpu"]
    commands.run("train", *flags, "--max-epoch", 1)
    (log,) = commands.run("train", *flags, "--max-epoch", 2).logged("valid")
    assert log["epoch"] == 2 and math.isfinite(log["valid_loss"])
