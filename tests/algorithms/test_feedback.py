"""One step of scheduled sampling: the form that keeps little and looks at few tokens, against the plain one."""

import gc
import weakref

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from seqsearch_fairseq.algorithms import feedback as module
from seqsearch_fairseq.algorithms.feedback import FEEDBACKS, LARGE, Table, emit, smoothed_cross_entropy
from seqsearch_fairseq.algorithms.relaxations import gumbel_noise

VOCABULARY = LARGE + 37
ROWS, SIZE = 6, 5

each_feedback = pytest.mark.parametrize("feedback", FEEDBACKS)


def plain_emit(scores, gold, embedding, rows, feedback, alpha, candidates, label_smoothing=0.0):
    """What `emit` computes, by autograd alone and over the whole vocabulary."""
    losses = smoothed_cross_entropy(scores, gold, label_smoothing)
    perturbed = torch.log_softmax(scores, dim=1)[rows].masked_fill(~candidates, -torch.inf)
    if FEEDBACKS[feedback].noisy:
        perturbed = perturbed + gumbel_noise(perturbed, int(torch.randint(2**62, ())))
    if FEEDBACKS[feedback].soft:
        return losses, torch.softmax(alpha * perturbed, dim=1) @ embedding
    return losses, embedding[perturbed.argmax(dim=1)]


def problem(sharpness: float, dtype=torch.float64, vocabulary: int = VOCABULARY):
    """Scores (a leaf), gold, embedding (a leaf), rows, candidates. `sharpness` is the scores' standard deviation."""
    draws = torch.Generator().manual_seed(3)
    scores = sharpness * torch.randn(ROWS, vocabulary, generator=draws, dtype=dtype)
    embedding = torch.randn(vocabulary, SIZE, generator=draws, dtype=dtype)
    gold = torch.randint(vocabulary, (ROWS,), generator=draws)
    candidates = torch.ones(vocabulary, dtype=torch.bool)
    candidates[[1, 7]] = False
    return scores.requires_grad_(), gold, embedding.requires_grad_(), torch.tensor([0, 2, 3, 5]), candidates


def both_ways(sharpness, feedback, alpha, smoothing=0.0, dtype=torch.float64):
    """(values, gradients) of the plain form and of `emit`, and the gradients of a second backward pass of `emit`."""
    scores, gold, embedding, rows, candidates = problem(sharpness, dtype)
    weights = torch.randn(len(rows), SIZE, generator=torch.Generator().manual_seed(1), dtype=dtype)
    settings = rows, feedback, alpha
    found = []
    for fast in (False, True):
        torch.manual_seed(2)
        if fast:
            losses, _, inputs = emit(scores, gold, Table(embedding, candidates), *settings, smoothing)
        else:
            losses, inputs = plain_emit(scores, gold, embedding, *settings, candidates, smoothing)
        total = losses.sum() + (inputs * weights).sum()
        for _ in range(1 + fast):
            found.append([losses, inputs, *torch.autograd.grad(total, (scores, embedding), retain_graph=True)])
    return found


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("alpha", [1.0, 10.0])
@pytest.mark.parametrize("sharpness", [0.5, 20.0], ids=["flat", "sharp"])
@each_feedback
def test_values_and_gradients_are_those_of_the_plain_form_twice(feedback, sharpness, alpha, smoothing):
    plain, *fast = both_ways(sharpness, feedback, alpha, smoothing)
    for again in fast:
        for found, expected in zip(again, plain, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("sharpness", [0.5, 6.0, 20.0])
@each_feedback
def test_float32_is_as_exact_as_the_plain_form(feedback, sharpness):
    plain, fast, _ = both_ways(sharpness, feedback, 2.0, dtype=torch.float32)
    for found, expected in zip(fast, plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sharpness,sharp_rows", [(0.5, 0), (20.0, 4)])
def test_the_bound_decides_which_rows_keep_few_tokens(sharpness, sharp_rows):
    scores, _, _, rows, _ = problem(sharpness)
    choice = module._choose(torch.log_softmax(scores, 1)[rows].detach(), FEEDBACKS["soft-argmax"], 2.0)
    assert (0 if choice.tokens is None else len(choice.tokens)) == sharp_rows
    assert choice.sharp is None and choice.flat is None  # all rows are of one kind


def test_sharp_and_flat_rows_mix():
    scores, gold, embedding, rows, candidates = problem(0.5)
    mixed = (scores.detach() * torch.tensor([40.0, 1, 40, 1, 1, 1]).unsqueeze(1)).requires_grad_()
    settings = rows, "soft-argmax", 2.0
    expected = plain_emit(mixed, gold, embedding, *settings, candidates)[1]
    found = emit(mixed, gold, Table(embedding, candidates), *settings).inputs
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    for leaf in (mixed, embedding):
        pair = [torch.autograd.grad(out.square().sum(), leaf, retain_graph=True)[0] for out in (found, expected)]
        torch.testing.assert_close(pair[0], pair[1], rtol=1e-9, atol=1e-12)


def test_a_backward_pass_for_the_scores_alone_leaves_nothing_behind():
    scores, gold, embedding, rows, candidates = problem(0.5)
    inputs = emit(scores, gold, Table(embedding, candidates), rows, "soft-argmax", 1.0).inputs
    torch.autograd.grad(inputs.sum(), scores, retain_graph=True)
    (found,) = torch.autograd.grad(inputs.sum(), embedding)
    (expected,) = torch.autograd.grad(
        plain_emit(scores, gold, embedding, rows, "soft-argmax", 1.0, candidates)[1].sum(), embedding
    )
    torch.testing.assert_close(found, expected)


def test_without_rows_it_is_cross_entropy():
    scores, gold, embedding, _, candidates = problem(1.0)
    nobody = torch.zeros(0, dtype=torch.long)
    emission = emit(scores, gold, Table(embedding, candidates), nobody, "soft-sample", 1.0)
    assert emission.inputs.shape == (0, SIZE)
    torch.testing.assert_close(emission.losses, torch.nn.functional.cross_entropy(scores, gold, reduction="none"))


@pytest.mark.parametrize("vocabulary", [LARGE, VOCABULARY])
@pytest.mark.parametrize("sharpness", [0.5, 20.0], ids=["flat", "sharp"])
@each_feedback
def test_it_keeps_one_tensor_of_the_scores_size_as_cross_entropy_does(feedback, sharpness, vocabulary):
    scores, gold, embedding, rows, candidates = problem(sharpness, vocabulary=vocabulary)
    table = Table(embedding, candidates)

    def kept(function) -> list[int]:
        held = []  # so that no storage is freed and its address used again

        def pack(tensor):
            held.append(tensor.detach())
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            result = function()
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in held}
        del storages[scores.untyped_storage().data_ptr()], result
        return [size for size in storages.values() if size >= scores.nbytes // 2]

    def ours():
        return emit(scores * 1.0, gold, table, rows, feedback, 3.0), scores.square()

    def theirs():
        return torch.nn.functional.cross_entropy(scores * 1.0, gold), scores.square()

    assert kept(ours) == kept(theirs) == [scores.nbytes]


def test_the_table_is_freed_with_the_graph_by_counting_references_alone():
    scores, gold, embedding, rows, candidates = problem(0.5)
    table = Table(embedding, candidates)
    followed = weakref.ref(table), weakref.ref(table.link)
    emission = emit(scores, gold, table, rows, "soft-argmax", 1.0)
    gc.disable()
    try:
        emission.inputs.sum().backward()
        del table, emission
        assert [reference() for reference in followed] == [None, None]
    finally:
        gc.enable()


@each_feedback
def test_a_frozen_embedding_changes_no_other_gradient(feedback):
    scores, gold, embedding, rows, candidates = problem(0.5)
    found = []
    for table in (Table(embedding, candidates), Table(embedding.detach(), candidates)):
        torch.manual_seed(1)
        emission = emit(scores, gold, table, rows, feedback, 2.0)
        (gradient,) = torch.autograd.grad(emission.inputs.sum() + emission.losses.sum(), scores)
        found.append(gradient)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


@each_feedback
def test_autocast_does_not_round_it(feedback):
    scores, gold, embedding, rows, candidates = problem(0.5, torch.float32)
    found = []
    for enabled in (False, True):
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            found.append(emit(scores, gold, Table(embedding, candidates), rows, feedback, 2.0))
    for whole, cast in zip(*found, strict=True):
        torch.testing.assert_close(cast, whole, rtol=0, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
@pytest.mark.parametrize("sharpness", [0.5, 20.0], ids=["flat", "sharp"])
@pytest.mark.parametrize("feedback", ["soft-argmax", "argmax"])
def test_a_gpu_gives_what_the_cpu_gives(feedback, sharpness):
    found = []
    for device in ("cpu", "cuda"):
        scores, gold, embedding, rows, candidates = (tensor.detach().to(device) for tensor in problem(sharpness))
        leaves = scores.requires_grad_(), embedding.requires_grad_()
        emission = emit(scores, gold, Table(embedding, candidates), rows, feedback, 2.0)
        gradients = torch.autograd.grad(emission.losses.sum() + emission.inputs.square().sum(), leaves)
        found.append([tensor.cpu() for tensor in (*emission, *gradients)])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected)
