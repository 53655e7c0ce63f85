"""A mistake of the user ends a command with one sentence and an exit status, not with a stack trace."""

import os

import commands
import forked
import pytest
import torch
from commands import OPTIMIZER, TINY

from seqsearch_fairseq.errors import sentence

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
    err = commands.stderr_of_failure(forked.command(command, *arguments))
    assert message in err
    assert "error: " in err.strip().splitlines()[-1]
    assert "Traceback" not in err


def test_a_kernel_that_cannot_run_on_the_models_device_is_one_sentence(trained, tmp_path):
    model = trained("tagger_gru")
    flags = [*TINY[model.arch], *OPTIMIZER, *SOFT_BEAM, "--soft-beam-kernel", "triton"]
    arguments = commands.train_flags(model.data, model.task, tmp_path / "save", *flags)
    process = forked.command("train", *arguments, TRITON_INTERPRET="0")
    last = commands.stderr_of_failure(process).strip().splitlines()[-1]
    assert last.startswith("error: --soft-beam-kernel triton needs the ")


def test_a_checkpoint_that_would_run_code_ends_the_command_with_a_failure(trained, tmp_path):
    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'traces'}",)

    model = trained("tagger_gru")
    torch.save({"model": {}, "surprise": Attack()}, tmp_path / "attack.pt")
    process = forked.command("generate", *commands.decode_flags(model.data, model.task, tmp_path / "attack.pt"))
    status, _, err = commands.finish(process)
    assert status not in (0, None)
    assert err.strip().splitlines()[-1].startswith(f"error: the checkpoint {tmp_path / 'attack.pt'} is refused: ")
    assert "Traceback" not in err
    assert not (tmp_path / "traces").exists()


COMBINATIONS = {
    "--sampling": "--sampling requires --nbest to be equal to --beam",
    "--nbest 5": "--nbest must be in [1, 2], the width of the beam, got 5",
    "--nbest 0": "--nbest must be in [1, 2], the width of the beam, got 0",
    "--sampling-topk 3": "--sampling-topk requires --sampling",
    "--sampling --nbest 2 --sampling-topk 5000": "--sampling-topk must be at most 8, the size of the vocabulary, got",
    "--diverse-beam-groups 3": "DiverseBeamSearch requires --beam to be divisible by the number of groups",
    "--temperature 0": "--temperature must be greater than 0",
    "--prefix-size 2": "search_tagging does not support --prefix-size, got 2; leave it out",
    "--constraints": "--constraints needs constraints with each sentence, which fairseq-interactive reads",
    "--print-alignment hard": "--print-alignment needs a model with attention",
    "--print-step": "--print-step is for models that refine their output",
    "--retain-iter-history": "--retain-iter-history is for models that refine their output",
    "--max-tokens 1": "Sentences lengths should not exceed max_tokens=1",
    "--lm-path nowhere.pt": "the checkpoint nowhere.pt does not exist",
    "--results-path /dev/null/results": "/dev/null/results: Not a directory",
}


@pytest.mark.parametrize("flags", COMBINATIONS)
def test_generation_flags_that_do_not_fit_are_one_sentence(trained, flags):
    model = trained("tagger_lstm")
    with pytest.raises(Exception) as caught:
        commands.generate(
            model.data, model.task, model.checkpoint, "--gen-subset", "valid", "--beam", 2, *flags.split()
        )
    said = sentence(caught.value)
    assert said is not None and said.startswith(COMBINATIONS[flags]), caught.value
