"""Scheduled sampling: against the oracle, at its limits, its gradients, and where they go."""

import math

import numpy as np
import oracles
import pytest
import torch
from builders import Batch, PrefixTable, random_batch

from seqsearch_fairseq.algorithms import feedback as module
from seqsearch_fairseq.algorithms.feedback import FEEDBACKS
from seqsearch_fairseq.algorithms.scheduled_sampling import scheduled_sampling
from seqsearch_fairseq.algorithms.step import State

HARD = 1e8  # alpha that stands for infinity, in float64
SOFT = [name for name, kind in FEEDBACKS.items() if kind.soft]

each_feedback = pytest.mark.parametrize("feedback", FEEDBACKS)

# name -> options of `random_batch`
PROBLEMS = {"plain": {}, "masked": {"vocabulary": 5, "masked": [0, 3]}}


def run(batch: Batch, feedback: str, alpha: float, gold_probability: float = 0.0, smoothing: float = 0.0):
    arguments = feedback, alpha, gold_probability, batch.candidates, smoothing
    return scheduled_sampling(batch.step, batch.gold, batch.lengths, *arguments)


@pytest.fixture
def draws(monkeypatch):
    """The gold draws and the noise of a run, as the oracle wants them."""

    class Draws:
        def __init__(self):
            self.uniform, self.noise = None, []

        def feed_gold(self, b: int, gold_probability: float) -> list[bool]:
            return (self.uniform[b] < gold_probability).tolist()

        def noise_of(self, b: int, batch: Batch, gold_probability: float) -> np.ndarray:
            """(T_b, V), zeros where the sentence did not feed itself."""
            rows, calls = np.zeros((int(batch.lengths[b]), len(batch.wrong))), iter(self.noise)
            for t in range(int(batch.lengths.max())):
                own = (self.uniform[:, t] >= gold_probability) & (t + 1 < batch.lengths)
                noise = next(calls)
                if own[b]:
                    rows[t] = noise[int(own[:b].sum())].numpy()
            return rows

    found, rand, noise = Draws(), torch.rand, module.gumbel_noise

    def spy_on_rand(*shape, **options):
        drawn = rand(*shape, **options)
        found.uniform = drawn if found.uniform is None else found.uniform
        return drawn

    def spy_on_noise(*arguments):
        found.noise.append(noise(*arguments))
        return found.noise[-1]

    monkeypatch.setattr(torch, "rand", spy_on_rand)
    monkeypatch.setattr(module, "gumbel_noise", spy_on_noise)
    return found


# ------------------------------------------------------------------------------------------------- against the oracle


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("gold_probability", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 10.0])
@each_feedback
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_the_losses_are_the_oracles(draws, problem, feedback, alpha, gold_probability, smoothing):
    batch = random_batch(3, **problem)
    found = run(batch, feedback, alpha, gold_probability, smoothing)
    for b, model in enumerate(batch.models):
        fed = draws.feed_gold(b, gold_probability)
        noise = draws.noise_of(b, batch, gold_probability) if FEEDBACKS[feedback].noisy else None
        expected = oracles.scheduled_sampling(
            model, batch.gold_of(b), feedback, alpha, fed, batch.candidate_list, noise, smoothing
        )
        assert float(found.losses[b]) == pytest.approx(expected.loss, rel=1e-9)
        assert float(found.nll[b]) == pytest.approx(expected.nll, rel=1e-9)


@pytest.mark.parametrize("alpha", [0.7, 3.0])
@each_feedback
def test_the_gradients_are_the_oracles(draws, feedback, alpha):
    """Soft feedbacks differentiate everything, hard ones hold the choice fixed; the embedding rows move in both."""
    batch = random_batch(5, lengths=(4,), vocabulary=5, masked=[1], requires_grad=True)
    run(batch, feedback, alpha, 0.4).losses.sum().backward()
    found = torch.cat([leaf.grad.flatten() for leaf in batch.step.parameters]).numpy()
    parameters = torch.cat([leaf.detach().flatten() for leaf in batch.step.parameters]).numpy()
    shapes = [leaf.shape for leaf in batch.step.parameters]

    def model_of(flat: np.ndarray) -> oracles.Recurrence:
        pieces = torch.tensor(flat).split([shape.numel() for shape in shapes])
        step = batch.step.with_parameters([p.view(s) for p, s in zip(pieces, shapes, strict=True)])

        def one(inputs, state):
            tensors = {name: torch.tensor(array).unsqueeze(0) for name, array in zip("hc", state, strict=True)}
            scores, after = step(torch.tensor(inputs).unsqueeze(0), State(tensors))
            return scores[0].numpy(), [after.tensors[name][0].numpy() for name in "hc"]

        table = step.embedding.numpy()
        return oracles.Recurrence(one, [step.start_h[0].numpy(), step.start_c[0].numpy()], table[step.bos], table)

    fed = draws.feed_gold(0, 0.4)
    noise = draws.noise_of(0, batch, 0.4) if FEEDBACKS[feedback].noisy else None
    arguments = batch.gold_of(0), feedback, alpha, fed, batch.candidate_list, noise
    frozen = not FEEDBACKS[feedback].soft
    expected = oracles.scheduled_sampling_gradient(model_of, parameters, frozen, *arguments)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    if not frozen:  # and the choice does matter
        held = oracles.scheduled_sampling_gradient(model_of, parameters, True, *arguments)
        assert np.abs(held - expected).max() > 1e-2


@pytest.mark.parametrize("feedback", SOFT)
def test_gradcheck(feedback):
    batch = random_batch(1, vocabulary=5, masked=[2], requires_grad=True)

    def losses(*parameters):
        torch.manual_seed(4)  # the same draws in every evaluation
        return run(batch._replace(step=batch.step.with_parameters(parameters)), feedback, 2.0, 0.3, 0.1).losses

    assert torch.autograd.gradcheck(losses, batch.step.parameters)


# ---------------------------------------------------------------------------------------------------------- the limits


@each_feedback
def test_with_gold_throughout_it_is_teacher_forcing(feedback):
    batch = random_batch(2)
    expected = -batch.step.gold_scores(batch.gold, batch.lengths)
    torch.testing.assert_close(run(batch, feedback, 1.0, 1.0).losses, expected)


@pytest.mark.parametrize("soft,hard", [("soft-argmax", "argmax"), ("soft-sample", "sample")])
def test_a_large_alpha_makes_a_soft_feedback_hard(soft, hard):
    batch = random_batch(6, lengths=(6, 3, 5), vocabulary=6)
    found = []
    for feedback in (soft, hard):
        torch.manual_seed(7)
        found.append(run(batch, feedback, HARD, 0.3).losses)
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=0)


@pytest.mark.parametrize("feedback", ["soft-sample", "sample"])
def test_samples_have_the_frequencies_of_the_models_distribution(feedback):
    """A table model of two steps whose second step gives away which token was fed: chi-square over 8,000 sentences."""
    count, vocabulary = 8000, 5
    scores = torch.tensor([0.3, -1.0, 1.2, 0.0, -0.5], dtype=torch.float64)
    first = scores.expand(count, 1, vocabulary)
    told = -torch.arange(1.0, vocabulary + 1, dtype=torch.float64)  # score of token 0 after each prefix
    second = torch.zeros(vocabulary, vocabulary, dtype=torch.float64)
    second[:, 0] = told
    step = PrefixTable([first, second.expand(count, -1, -1)])
    gold, lengths = torch.zeros(count, 2, dtype=torch.long), torch.full((count,), 2)
    everything = torch.ones(vocabulary, dtype=torch.bool)
    losses = scheduled_sampling(step, gold, lengths, feedback, HARD, 0.0, everything).losses
    by_token = torch.logsumexp(scores, 0) - scores[0] + torch.logsumexp(second, 1) - told
    fed = (losses.unsqueeze(1) - by_token).abs().argmin(dim=1)
    observed = torch.bincount(fed, minlength=vocabulary).double()
    expected = count * torch.softmax(scores, 0)
    assert float(((observed - expected).square() / expected).sum()) < 18.5  # 4 degrees of freedom, p = 0.001


def test_the_gold_is_fed_as_often_as_asked():
    count, length = 400, 21
    step = PrefixTable([torch.zeros(count, 1, 3, dtype=torch.float64)] * length)
    seen = []

    class Spy:
        batch_size, bos, embedding, start = step.batch_size, step.bos, step.embedding, step.start

        def __call__(self, inputs, state):
            seen.append(inputs)
            return step(inputs, State({"code": torch.zeros_like(state.tensors["code"])}, 0))

    gold, everything = torch.full((count, length), 2), torch.ones(3, dtype=torch.bool)
    scheduled_sampling(Spy(), gold, torch.full((count,), length), "argmax", 1.0, 0.7, everything)
    share = float(torch.stack(seen[1:])[..., 2].mean())  # the ties of argmax go to token 0
    assert abs(share - 0.7) < 4 * math.sqrt(0.7 * 0.3 / (count * (length - 1)))


# ------------------------------------------------------------------------------------------------- credit assignment


class Decision:
    """The example of the paper's section 2 as a model of two steps with one parameter.

    Step 1 scores `[theta, 1 - theta]`: it outputs token 0 while theta > 1/2. Step 2 finds the gold token the likelier
    the more of token 1 it reads. So theta should fall, and only step 2 knows it.
    """

    batch_size, bos = 1, 0
    embedding = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)

    def __init__(self, theta: torch.Tensor):
        self.theta = theta

    def start(self, beam_size):
        return State({})

    def __call__(self, inputs, state):
        if state.position == 0:
            scores = torch.stack([self.theta, 1 - self.theta]).unsqueeze(0)
            return scores, State({}, 1)
        weight = torch.tensor([[-1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
        return inputs @ weight, State({}, 2)


def of_second_step(feedback: str, theta: float, alpha: float = 5.0) -> float:
    """The derivative of the second step's cross entropy with respect to theta."""
    parameter = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    gold, everything = torch.tensor([[0, 0]]), torch.ones(2, dtype=torch.bool)

    def total(length: int, feedback: str) -> torch.Tensor:
        arguments = gold[:, :length], torch.tensor([length]), feedback, alpha, 0.0, everything
        return scheduled_sampling(Decision(parameter), *arguments).losses.sum()

    (gradient,) = torch.autograd.grad(total(2, feedback) - total(1, feedback), parameter)
    return float(gradient)


@pytest.mark.parametrize("theta", [0.45, 0.52, 0.6])
def test_credit_reaches_the_earlier_decision_through_a_soft_feedback_alone(theta):
    assert of_second_step("argmax", theta) == pytest.approx(0.0, abs=1e-12)
    assert of_second_step("sample", theta) == pytest.approx(0.0, abs=1e-12)
    assert of_second_step("soft-argmax", theta) > 0.1  # the loss falls as theta does
    assert of_second_step("soft-sample", theta) > 0.0


# ---------------------------------------------------------------------------------------- what must not change a loss


@pytest.mark.parametrize("feedback", ["soft-argmax", "argmax"])
def test_a_sentences_loss_does_not_depend_on_its_batch(feedback):
    batch = random_batch(8, lengths=(2, 6, 4, 1))
    together = run(batch, feedback, 2.0).losses
    alone = torch.cat([run(batch.sentences([b]), feedback, 2.0).losses for b in range(4)])
    torch.testing.assert_close(alone, together, rtol=1e-12, atol=0)


@each_feedback
def test_what_the_decoder_says_after_a_sentences_end_does_not_count(feedback):
    batch = random_batch(8, lengths=(2, 6), requires_grad=True)

    class Overflowing:
        batch_size, bos, embedding, start = 2, batch.step.bos, batch.step.embedding, batch.step.start

        def __call__(self, inputs, state):
            scores, after = batch.step(inputs, state)
            ended = torch.tensor([[state.position >= 2], [False]])
            return torch.where(ended, torch.inf, scores), after

    found = []
    for step in (batch.step, Overflowing()):
        torch.manual_seed(3)
        arguments = batch.gold, batch.lengths, feedback, 1.0, 0.3, batch.candidates, 0.1
        losses = scheduled_sampling(step, *arguments).losses
        found.append([losses, *torch.autograd.grad(losses.sum(), batch.step.parameters)])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected)


@each_feedback
def test_the_same_seed_draws_the_same(feedback):
    batch = random_batch(9, lengths=(6, 6))
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(run(batch, feedback, 1.0, 0.5).losses.tolist())
    assert found[0] == found[1] != found[2]


@each_feedback
def test_half_precision_scores_are_normalised_in_float32(feedback):
    batch = random_batch(4)

    class Half:
        batch_size, bos, start = batch.step.batch_size, batch.step.bos, batch.step.start
        embedding = batch.step.embedding.bfloat16()

        def __call__(self, inputs, state):
            scores, state = batch.step(inputs.double(), state)
            return scores.bfloat16(), state

    found = scheduled_sampling(Half(), batch.gold, batch.lengths, feedback, 1.0, 0.0, batch.candidates)
    assert found.losses.dtype == torch.float32


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "changed,message",
    [
        ({"feedback": "softmax"}, "`feedback` must be one of soft-argmax, .* got softmax"),
        ({"alpha": 0.0}, "`alpha` must be a positive number, got 0.0"),
        ({"alpha": math.inf}, "`alpha` must be a positive number, got inf"),
        ({"gold_probability": 1.5}, r"`gold_probability` must be in \[0, 1\], got 1.5"),
        ({"label_smoothing": 1.0}, r"`label_smoothing` must be in \[0, 1\), got 1.0"),
        ({"lengths": torch.tensor([0, 1, 1])}, "`lengths` must be at least 1"),
    ],
)
def test_arguments_out_of_range_are_refused(changed, message):
    batch = random_batch(0)
    arguments = {
        "lengths": batch.lengths,
        "feedback": "argmax",
        "alpha": 1.0,
        "gold_probability": 0.5,
        "candidates": batch.candidates,
    }
    with pytest.raises(ValueError, match=message):
        scheduled_sampling(batch.step, batch.gold, **{**arguments, **changed})
