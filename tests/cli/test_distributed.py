"""Two processes on the CPU: the right gradients with legacy_ddp, a refusal without it."""

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
}


def two_processes(model, folder, *flags):
    method = f"tcp://localhost:{commands.free_port()}"
    together = ["--distributed-backend", "gloo", "--distributed-init-method", method, "--distributed-world-size", 2]
    together += ["--distributed-no-spawn", "--load-checkpoint-on-all-dp-ranks", *flags]
    shared = [*TINY[model.arch], *FLAGS, "--finetune-from-model", model.checkpoint]
    return [
        commands.start(
            "train",
            *commands.train_flags(model.data, model.task, folder, *shared, *together, "--distributed-rank", rank),
        )
        for rank in (0, 1)
    ]


@pytest.mark.parametrize("criterion", CRITERIONS)
@pytest.mark.parametrize("arch", ["tagger_lstm"])
def test_two_processes_update_as_one_does_on_both_batches(trained, tmp_path, arch, criterion):
    model = trained(arch)
    objective = ["--criterion", criterion, *CRITERIONS[criterion]]
    processes = two_processes(model, tmp_path / "two", *objective, "--ddp-backend", "legacy_ddp")
    shared = [*TINY[arch], *FLAGS, *objective, "--finetune-from-model", model.checkpoint]
    commands.train(model.data, model.task, tmp_path / "one", *shared, "--update-freq", 2)
    for process in processes:
        status, _, err = commands.finish(process)
        assert status == 0, err
    one, two, before = (
        torch.load(path, weights_only=True)["model"]
        for path in (
            tmp_path / "one" / "checkpoint_last.pt",
            tmp_path / "two" / "checkpoint_last.pt",
            model.checkpoint,
        )
    )
    moved = max(float((one[name] - before[name]).abs().max()) for name in one)
    assert moved > 1e-3
    for name, parameter in one.items():
        torch.testing.assert_close(two[name], parameter, rtol=0, atol=1e-6)


def test_other_data_parallel_back_ends_are_refused(trained, tmp_path):
    processes = two_processes(
        trained("tagger_lstm"), tmp_path, "--criterion", "soft_beam_direct", "--ddp-backend", "pytorch_ddp"
    )
    for process in processes:
        assert "--ddp-backend legacy_ddp" in commands.stderr_of_failure(process)
