"""Two processes on the CPU: the right gradients with legacy_ddp, a refusal without it."""

import json
import subprocess
import sys
from pathlib import Path

import commands
import pytest
import torch
from commands import SMALL, TINY

FLAGS = [
    *("--optimizer", "sgd", "--lr", "0.5", "--clip-norm", "0", "--dropout", "0"),
    *("--train-subset", SMALL, "--batch-size", "8", "--max-update", "1", "--disable-validation"),
]
CRITERIONS = {
    "soft_beam_direct": [],
    "differentiable_scheduled_sampling": ["--dss-decay", "always"],  # and soft argmax: nothing is drawn
    "searnn": ["--searnn-roll-out", "learned", "--searnn-loss", "kl"],
    "global_likelihood": [],
    "beam_search_optimization": [],
    "minimum_risk": [],
}


EACH_IN_TURN = """
import json, sys
from fairseq_cli.train import cli_main

for arguments in json.loads(sys.argv[1]):
    sys.argv = ["fairseq-train", *arguments]
    cli_main()
"""


def two_processes(model, runs: list[list]) -> list[subprocess.Popen]:
    """Two processes that make the same training runs together, one after the other; a run is a folder and flags."""
    method = f"tcp://localhost:{commands.free_port()}"
    together = ["--distributed-backend", "gloo", "--distributed-init-method", method, "--distributed-world-size", 2]
    together += ["--distributed-no-spawn", "--load-checkpoint-on-all-dp-ranks"]
    shared = [*TINY[model.arch], *FLAGS, "--finetune-from-model", model.checkpoint, *together]
    processes = []
    for rank in (0, 1):
        lines = [
            commands.train_flags(model.data, model.task, folder, *shared, *flags, "--distributed-rank", rank)
            for folder, *flags in runs
        ]
        argv = [sys.executable, "-c", EACH_IN_TURN, json.dumps([[str(word) for word in line] for line in lines])]
        processes.append(
            subprocess.Popen(argv, env=commands.ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        )
    return processes


@pytest.fixture(scope="module")
def two(trained, tmp_path_factory):
    """The folder in which two processes have trained with each criterion, in a folder of its name."""

    def build(folder: Path) -> None:
        shared = ["--ddp-backend", "legacy_ddp"]
        runs = [[folder / name, "--criterion", name, *flags, *shared] for name, flags in CRITERIONS.items()]
        for process in two_processes(trained("tagger_lstm"), runs):
            status, _, err = commands.finish(process)
            assert status == 0, err

    return commands.once(tmp_path_factory, "two_processes", build)


@pytest.mark.parametrize("criterion", CRITERIONS)
def test_two_processes_update_as_one_does_on_both_batches(trained, two, tmp_path, criterion):
    model = trained("tagger_lstm")
    objective = ["--criterion", criterion, *CRITERIONS[criterion], "--finetune-from-model", model.checkpoint]
    commands.train(model.data, model.task, tmp_path, *TINY[model.arch], *FLAGS, *objective, "--update-freq", 2)
    paths = tmp_path / "checkpoint_last.pt", two / criterion / "checkpoint_last.pt", model.checkpoint
    one, both, before = (torch.load(path, weights_only=True)["model"] for path in paths)
    moved = max(float((one[name] - before[name]).abs().max()) for name in one)
    assert moved > 1e-3
    for name, parameter in one.items():
        torch.testing.assert_close(both[name], parameter, rtol=0, atol=1e-6)


def test_other_data_parallel_back_ends_are_refused(trained, tmp_path):
    refused = [tmp_path, "--criterion", "soft_beam_direct", "--ddp-backend", "pytorch_ddp"]
    for process in two_processes(trained("tagger_lstm"), [refused]):
        assert "--ddp-backend legacy_ddp" in commands.stderr_of_failure(process)
