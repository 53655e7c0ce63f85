"""A mistake of the user ends a command with one sentence and an exit status, not with a stack trace."""

import os

import commands
import pytest
import torch
from commands import OPTIMIZER, TINY

SOFT_BEAM = ["--criterion", "soft_beam_direct"]


def missing_folder(trained, folder):
    flags = [*TINY["lstm"], *OPTIMIZER, *SOFT_BEAM]
    return "train", commands.train_flags(folder / "nowhere", "search_translation", folder / "save", *flags)


def alpha_of_zero(trained, folder):
    model = trained("tagger_gru")
    flags = [*TINY[model.arch], *OPTIMIZER, *SOFT_BEAM, "--soft-beam-alpha", "0"]
    return "train", commands.train_flags(model.data, model.task, folder / "save", *flags)


def unknown_feedback(trained, folder):
    model = trained("tagger_gru")
    flags = [
        *TINY[model.arch],
        *OPTIMIZER,
        "--criterion",
        "differentiable_scheduled_sampling",
        "--dss-feedback",
        "soft",
    ]
    return "train", commands.train_flags(model.data, model.task, folder / "save", *flags)


def two_models(trained, folder):
    model = trained("tagger_gru")
    paths = f"{model.checkpoint}:{model.checkpoint}"
    return "generate", commands.decode_flags(model.data, model.task, paths, "--decoder", "soft-beam", "--beam", 2)


@pytest.mark.parametrize(
    "mistake,message",
    [
        (missing_folder, "nowhere does not exist"),
        (alpha_of_zero, "--soft-beam-alpha must be a positive number, got 0.0"),
        (unknown_feedback, "argument --dss-feedback: invalid choice: 'soft'"),
        (two_models, "got an ensemble of 2"),
    ],
)
def test_a_mistake_ends_the_command_with_one_sentence(trained, tmp_path, mistake, message):
    command, arguments = mistake(trained, tmp_path)
    err = commands.stderr_of_failure(commands.start(command, *arguments))
    assert message in err
    assert "error: " in err.strip().splitlines()[-1]
    assert "Traceback" not in err


def test_a_checkpoint_that_would_run_code_ends_the_command_with_a_failure(trained, tmp_path):
    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'traces'}",)

    model = trained("tagger_gru")
    torch.save({"model": {}, "surprise": Attack()}, tmp_path / "attack.pt")
    process = commands.start("generate", *commands.decode_flags(model.data, model.task, tmp_path / "attack.pt"))
    status, _, err = commands.finish(process)
    assert status not in (0, None)
    assert "Weights only load failed" in err
    assert not (tmp_path / "traces").exists()
