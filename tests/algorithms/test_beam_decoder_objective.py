"""The loss of the beam decoder: its limit in CTC, batches and padding, what is skipped, and what is refused."""

import math

import pytest
import torch
from beam_decoder_problems import UNLIMITED, Batch, batch
from torch.nn.functional import ctc_loss

from seqsearch_fairseq.algorithms.beam_decoder import expansion, merging
from seqsearch_fairseq.algorithms.beam_decoder.language_models import NoLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.lexicon import Lexicon
from seqsearch_fairseq.algorithms.beam_decoder.objective import GOLD, BeamDecoderObjective, beam_decoder_objective
from seqsearch_fairseq.algorithms.beam_decoder.scoring import Weights
from seqsearch_fairseq.algorithms.beam_decoder.topologies import TOPOLOGIES, ctc

topologies = pytest.mark.parametrize("topology", TOPOLOGIES)


def objective(problem: Batch, beam_size: int = 7, **settings) -> BeamDecoderObjective:
    return beam_decoder_objective(*problem, beam_size=beam_size, **settings)


def with_weights(problem: Batch) -> tuple[Batch, list[torch.Tensor]]:
    """The batch, and its leaves: emissions, weights, and the n-gram's parameters."""
    weights = [torch.tensor(float(weight), dtype=torch.float64) for weight in problem.weights[:3]]
    if problem.weights.transitions is not None:
        weights.append(problem.weights.transitions.clone())
    leaves = [leaf.requires_grad_() for leaf in (problem.emissions.clone(), *weights)]
    problem = problem._replace(emissions=leaves[0], weights=Weights(*leaves[1:]))
    return problem, [*leaves, *problem.language_model.parameters()]


# The limit


@pytest.mark.parametrize("seed", range(3))
def test_where_each_unit_is_a_word_it_is_ctc(seed):
    units, lengths, counts = 4, torch.tensor([7, 5, 1, 6]), torch.tensor([3, 2, 0, 4])
    graph = ctc(Lexicon.build([(unit, [unit]) for unit in range(1, units)]), units, blank=0)
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(4, 7, units, generator=draw, dtype=torch.float64, requires_grad=True)
    words = torch.randint(units - 1, (4, 4), generator=draw)
    words[3] = torch.tensor([0, 0, 1, 1])  # two blanks are needed, which is all that six frames have room for
    words[torch.arange(4) >= counts.unsqueeze(1)] = -1
    emissions = scores.log_softmax(2)
    found = beam_decoder_objective(emissions, lengths, words, graph, NoLanguageModel(), Weights(), beam_size=UNLIMITED)
    theirs = ctc_loss(emissions.transpose(0, 1), (words + 1).clamp(min=0), lengths, counts, reduction="none")
    close = {"rtol": 0, "atol": 1e-8}
    torch.testing.assert_close(found.beam_scores, torch.zeros(4, dtype=torch.float64), **close)
    torch.testing.assert_close(-found.gold_scores, theirs, **close)
    torch.testing.assert_close(found.losses, theirs, **close)
    ours, wanted = (torch.autograd.grad(loss.sum(), scores, retain_graph=True)[0] for loss in (found.losses, theirs))
    torch.testing.assert_close(ours, wanted, **close)


# Batches


@topologies
@pytest.mark.parametrize("gold", GOLD)
def test_a_batch_is_one_by_one(topology, gold):
    problem, leaves = with_weights(batch(topology))
    settings = {"threshold": 9.0, "gold": gold}
    together = objective(problem, **settings)
    gradients = torch.autograd.grad(together.losses.sum(), leaves)
    sums = [torch.zeros_like(leaf) for leaf in leaves]
    for b, length in enumerate(problem.lengths.tolist()):
        rows = slice(b, b + 1)
        alone = objective(
            problem._replace(
                emissions=problem.emissions[rows, :length], lengths=problem.lengths[rows], words=problem.words[rows]
            ),
            **settings,
        )
        for name, ours, theirs in zip(alone._fields, alone, together, strict=True):
            torch.testing.assert_close(ours[0], theirs[b], rtol=0, atol=1e-12, msg=name)
        for total, gradient in zip(sums, torch.autograd.grad(alone.losses.sum(), leaves), strict=True):
            total += gradient
    for ours, theirs in zip(gradients, sums, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@topologies
@pytest.mark.parametrize("value", [math.nan, math.inf, 50.0])
def test_padding_frames_say_nothing(topology, value):
    problem, leaves = with_weights(batch(topology))
    padded = problem.emissions.detach().clone()
    padded[torch.arange(9) >= problem.lengths.unsqueeze(1)] = value
    padded.requires_grad_()
    ours, theirs = objective(problem._replace(emissions=padded)), objective(problem)
    assert torch.equal(ours.losses, theirs.losses)
    (gradient,) = torch.autograd.grad(ours.losses.sum(), padded)
    assert torch.equal(gradient, torch.autograd.grad(theirs.losses.sum(), leaves[0])[0])
    assert not gradient[torch.arange(9) >= problem.lengths.unsqueeze(1)].any()


def test_an_empty_transcription_is_learnt_and_one_that_is_too_long_is_skipped():
    problem, leaves = with_weights(batch())
    found = objective(problem)
    assert found.skipped.tolist() == [False, False, True, False]  # four units, two frames
    assert found.gold_scores[2] == -math.inf and found.losses[2] == 0
    assert found.losses[1] > 0
    (gradient,) = torch.autograd.grad(found.losses.sum(), leaves[0])
    assert gradient[1].any() and not gradient[2].any() and gradient.isfinite().all()
    nothing = problem._replace(words=problem.words[:, :0])
    assert not objective(nothing).skipped.any()


def test_a_gold_that_is_kept_gives_no_negative_loss_and_a_lost_one_is_told():
    problem = batch(seed=1)
    kept, free = (objective(problem, beam_size=1, gold=gold) for gold in GOLD)
    assert (kept.losses > -1e-12).all() and not kept.gold_lost.any()
    assert kept.gold_outside.any() and torch.equal(free.gold_outside, free.gold_lost) and free.gold_lost.any()


def test_without_gradient_the_loss_is_the_same():
    problem = batch("asg")
    with torch.no_grad():
        plain = objective(problem)
    assert torch.equal(plain.losses, objective(problem).losses.detach())


def test_the_backward_pass_may_run_twice():
    problem, leaves = with_weights(batch("asg"))
    loss = objective(problem).losses.sum()
    one, two = (torch.autograd.grad(loss, leaves, retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


# Numbers


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_searched_in_float32(dtype):
    problem = batch()
    half = problem.emissions.to(dtype).requires_grad_()
    wide = half.detach().float().requires_grad_()
    ours, theirs = (objective(problem._replace(emissions=emissions)) for emissions in (half, wide))
    assert ours.losses.dtype == torch.float32 and torch.equal(ours.losses, theirs.losses)
    (gradient,) = torch.autograd.grad(ours.losses.sum(), half)
    assert torch.equal(gradient, torch.autograd.grad(theirs.losses.sum(), wide)[0].to(dtype))


def test_far_below_zero_float32_keeps_its_digits():
    problem = batch()
    exact = objective(problem).losses
    shifted = objective(problem._replace(emissions=(problem.emissions - 1000).float())).losses
    torch.testing.assert_close(shifted, exact.float(), rtol=0, atol=1e-3)  # what -1000 leaves of each emission


@topologies
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_emission_that_is_no_number_gives_a_loss_that_is_none(topology, value):
    problem = batch(topology)
    problem.emissions[3, 6, 1] = value
    assert objective(problem).losses.isnan().tolist() == [False, False, False, True]


def test_what_cannot_be_is_minus_infinity():
    problem = batch()
    emissions = problem.emissions.clone()
    emissions[0, 4, 1:] = -math.inf  # blank alone
    emissions[1, 2] = -math.inf  # no unit at all
    emissions.requires_grad_()
    found = objective(problem._replace(emissions=emissions))
    assert found.skipped.tolist() == [False, True, True, False]
    (gradient,) = torch.autograd.grad(found.losses.sum(), emissions)
    assert found.losses.isfinite().all() and gradient.isfinite().all()
    assert not gradient[1].any()


# What is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beam_size": 0}, "`beam_size` must be at least 1, got 0"),
        ({"threshold": -1.0}, "`threshold` must be at least 0, got -1.0"),
        ({"threshold": math.nan}, "`threshold` must be at least 0, got nan"),
        ({"gold": "both"}, "`gold` must be one of in-beam, free, got both"),
        ({"emissions": torch.zeros(4, 9, 3)}, r"`emissions` must be \(B, T, 4\), got \(4, 9, 3\)"),
        ({"emissions": torch.zeros(9, 4)}, r"`emissions` must be \(B, T, 4\), got \(9, 4\)"),
        ({"lengths": torch.tensor([9, 5])}, r"`lengths` must be \(4,\), got \(2,\)"),
        ({"lengths": torch.tensor([9, 0, 2, 7])}, r"`lengths` must be in \[1, 9\], got \[9, 0, 2, 7\]"),
        ({"lengths": torch.tensor([9, 10, 2, 7])}, r"`lengths` must be in \[1, 9\], got \[9, 10, 2, 7\]"),
        ({"words": torch.zeros(3, 2)}, r"`words` must be \(4, M\), got \(3, 2\)"),
        ({"words": torch.full((4, 1), 3)}, r"`words` must be in \[0, 2\], or -1 after a transcription's end"),
        ({"words": torch.full((4, 1), -2)}, r"`words` must be in \[0, 2\], or -1 after a transcription's end"),
        ({"words": torch.tensor([[-1, 0]] * 4)}, "`words` must have -1 only after a transcription's end"),
        ({"weights": Weights(transitions=torch.zeros(4, 4))}, "must be given in ASG, and must be None in CTC"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        beam_decoder_objective(**{**batch()._asdict(), "beam_size": 5, **changes})


def test_transitions_are_needed_in_asg():
    problem = batch("asg")
    with pytest.raises(ValueError, match="`weights.transitions` must be given in ASG, and must be None in CTC"):
        objective(problem._replace(weights=Weights()))
    with pytest.raises(ValueError, match=r"`weights.transitions` must be \(4, 4\), got \(3, 4\)"):
        objective(problem._replace(weights=Weights(transitions=torch.zeros(3, 4))))


def test_a_batch_that_cannot_be_numbered_is_refused():
    problem = batch()
    model = NoLanguageModel()
    model.state_limit = 1 << 60
    with pytest.raises(ValueError, match="the batch of 4 sentences is too large for 9 places"):
        objective(problem._replace(language_model=model))


# Size


@topologies
@pytest.mark.parametrize("gold", GOLD)
def test_a_large_lexicon_and_language_model_are_searched_as_small_ones(topology, gold, monkeypatch):
    """Where tables would be too large, keys are hashed and words are looked up one by one."""
    found = []
    for own_slots, table in ((merging.OWN_SLOTS, expansion.TABLE), (0, 0)):
        monkeypatch.setattr(merging, "OWN_SLOTS", own_slots)
        monkeypatch.setattr(expansion, "TABLE", table)
        problem, leaves = with_weights(batch(topology))
        losses = objective(problem, gold=gold).losses
        found.append([losses, *torch.autograd.grad(losses.sum(), leaves)])
    for small, large in zip(*found, strict=True):
        torch.testing.assert_close(small, large, rtol=0, atol=1e-12)
