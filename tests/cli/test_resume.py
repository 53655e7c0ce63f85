"""A run that is killed in the middle of an epoch and started again ends as one that was not."""

import signal

import commands
import forked
import pytest
import torch
from commands import SMALL, TINY

CRITERIONS = {
    "soft_beam_direct": ["--soft-beam-alpha", 0.5, "--soft-beam-alpha-growth", 3],
    "differentiable_scheduled_sampling": [
        *("--dss-feedback", "soft-sample", "--dss-decay", 1.5),
        *("--dss-alpha", 0.5, "--dss-alpha-growth", 3),
    ],
    "searnn": [
        *("--searnn-sampling", "policy=2", "--searnn-cells", 2, "--searnn-roll-in", "mixed"),
        *("--searnn-roll-out-precision", "bfloat16"),
    ],
    "global_likelihood": ["--global-likelihood-update", "every-step"],
    "beam_search_optimization": [
        *("--beam-training-size", 3, "--beam-search-optimization-start-size", 1),
        *("--beam-search-optimization-growth-epochs", 1),
    ],
    "minimum_risk": ["--minimum-risk-candidates", "sample"],
}
LOGGED = {
    "soft_beam_direct": ["train_nll_loss", "train_alpha"],
    "differentiable_scheduled_sampling": ["train_nll_loss", "train_alpha", "train_gold_probability"],
    "searnn": ["train_best_cost", "train_roll_outs", "train_decoder_steps"],
    "global_likelihood": ["train_gold_fell_out", "train_fall_place"],
    "beam_search_optimization": ["train_beam_size", "train_violations"],
    "minimum_risk": ["train_candidates", "train_expected_risk"],
}


@pytest.mark.parametrize("criterion", CRITERIONS)
@pytest.mark.parametrize("arch", ["tagger_lstm"])
def test_a_killed_run_resumes_to_the_same_model(trained, tmp_path, arch, criterion):
    model = trained(arch)
    annealed = ["--criterion", criterion, *CRITERIONS[criterion]]
    flags = [*TINY[arch], "--dropout", 0.3, "--optimizer", "adam", "--lr", 0.01, *annealed, "--max-epoch", 3]
    flags += ["--train-subset", SMALL, "--batch-size", 8, "--save-interval-updates", 4, "--log-interval", 1]
    flags += ["--finetune-from-model", model.checkpoint]

    def command(name):
        return commands.train_flags(model.data, model.task, tmp_path / name, *flags)

    whole = commands.run("train", *command("whole"))
    status, _, err = commands.finish(forked.killed_training(9, *command("killed")))
    assert status == -signal.SIGKILL, err
    resumed = commands.run("train", *command("killed"))

    assert "(epoch 2 @ 8 updates)" in resumed.text  # there are 6 updates in an epoch: the middle of the second
    names = ["train_loss", "train_objective", *LOGGED[criterion]]
    for name in names:
        assert [log[name] for log in resumed.logged("train")] == [log[name] for log in whole.logged("train")[1:]]
    expected, found = (
        torch.load(tmp_path / name / "checkpoint_last.pt", weights_only=True)["model"] for name in ("whole", "killed")
    )
    assert expected.keys() == found.keys()
    for name, parameter in expected.items():
        assert torch.equal(found[name], parameter), name
