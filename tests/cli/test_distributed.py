"""Two processes on the CPU: the right gradients with legacy_ddp, a refusal without it."""

from pathlib import Path

import commands
import forked
import pytest
import speech
import torch
from commands import SMALL, TINY

NO_SUBSET = [
    *("--optimizer", "sgd", "--clip-norm", "0", "--dropout", "0"),
    *("--batch-size", "8", "--max-update", "1", "--disable-validation"),
]
FLAGS = [*NO_SUBSET, "--lr", "0.5", "--train-subset", SMALL]
CRITERIONS = {
    "soft_beam_direct": [],
    "differentiable_scheduled_sampling": ["--dss-decay", "always"],  # and soft argmax: nothing is drawn
    "searnn": ["--searnn-roll-out", "learned", "--searnn-loss", "kl"],
    "global_likelihood": [],
    "beam_search_optimization": [],
    "minimum_risk": [],
}


def tagging_run(model, folder: Path, *flags) -> list:
    """Arguments of fairseq-train that go on from a model."""
    shared = [*TINY[model.arch], *FLAGS, "--finetune-from-model", model.checkpoint]
    return commands.train_flags(model.data, model.task, folder, *shared, *flags)


def recognition_run(data: Path, lm: Path, folder: Path, *flags) -> list:
    """Arguments of fairseq-train for dbd in ASG, with all that it can learn."""
    words = ["--recognition-lexicon", data / "lexicon.txt", "--recognition-lm", lm]
    arch = [*speech.TINY[: speech.TINY.index("--dropout")], *words, "--recognition-topology", "asg"]
    learned = ["--criterion", "dbd", "--dbd-beam-size", 10, "--dbd-train-lm", "--search-nll-weight", 0.1]
    return commands.train_flags(data, "search_recognition", folder, *arch, *NO_SUBSET, "--lr", 0.05, *learned, *flags)


def two_processes(runs: list[list]) -> list[forked.Forked]:
    """Two processes that make the same training runs together, one after the other; a run is all its arguments."""
    method = f"tcp://localhost:{commands.free_port()}"
    together = ["--distributed-backend", "gloo", "--distributed-init-method", method, "--distributed-world-size", 2]
    together += ["--distributed-no-spawn", "--load-checkpoint-on-all-dp-ranks"]
    return [forked.in_turn("train", [[*run, *together, "--distributed-rank", rank] for run in runs]) for rank in (0, 1)]


@pytest.fixture(scope="module")
def two(trained, spoken, rnnlm, tmp_path_factory):
    """The folder in which two processes have trained with each criterion, in a folder of its name."""

    def build(folder: Path) -> None:
        shared = ["--ddp-backend", "legacy_ddp"]
        model = trained("tagger_lstm")
        runs = [
            tagging_run(model, folder / name, "--criterion", name, *flags, *shared)
            for name, flags in CRITERIONS.items()
        ]
        runs += [recognition_run(spoken, lm, folder / lm.name, *shared) for lm in (spoken / "ngram.arpa", rnnlm)]
        for process in two_processes(runs):
            status, _, err = commands.finish(process)
            assert status == 0, err

    return commands.once(tmp_path_factory, "two_processes", build)


@pytest.mark.parametrize("criterion", CRITERIONS)
def test_two_processes_update_as_one_does_on_both_batches(trained, two, tmp_path, criterion):
    model = trained("tagger_lstm")
    objective = ["--criterion", criterion, *CRITERIONS[criterion]]
    commands.run("train", *tagging_run(model, tmp_path, *objective, "--update-freq", 2))
    one, both = model_of(tmp_path), model_of(two / criterion)
    before = torch.load(model.checkpoint, weights_only=True)["model"]
    moved = max(float((one[name] - before[name]).abs().max()) for name in one)
    assert moved > 1e-3
    for name, parameter in one.items():
        torch.testing.assert_close(both[name], parameter, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["ngrams", "recurrent"])
def test_two_processes_learn_the_weights_of_the_decoder_as_one_does(spoken, rnnlm, two, tmp_path, kind):
    lm = {"ngrams": spoken / "ngram.arpa", "recurrent": rnnlm}[kind]
    commands.run("train", *recognition_run(spoken, lm, tmp_path, "--update-freq", 2))
    one, both = model_of(tmp_path), model_of(two / lm.name)
    assert float(one["beam_decoder.transitions"].abs().max()) > 1e-3
    assert abs(float(one["beam_decoder.lm_weight"] * one["beam_decoder.rate"]) - 1.0) > 1e-3
    for name, parameter in one.items():
        torch.testing.assert_close(both[name], parameter, rtol=0, atol=1e-5)


def model_of(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)["model"]


def test_other_data_parallel_back_ends_are_refused(trained, tmp_path):
    flags = ["--criterion", "soft_beam_direct", "--ddp-backend", "pytorch_ddp"]
    for process in two_processes([tagging_run(trained("tagger_lstm"), tmp_path, *flags)]):
        assert "--ddp-backend legacy_ddp" in commands.stderr_of_failure(process)
