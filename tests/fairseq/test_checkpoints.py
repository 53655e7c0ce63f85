"""A checkpoint cannot run code, and normal checkpoints load everywhere."""

import argparse
import builtins
import os
import pickle

import commands
import numpy as np
import pytest
import torch
from commands import OPTIMIZER, SMALL, TINY

from seqsearch_fairseq.checkpoints import ALLOWED_TYPES


class Attack:
    """Unpickling it calls `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


ATTACKS = {
    "os.system": lambda path: Attack(os.system, f"touch {path}"),
    "exec": lambda path: Attack(builtins.exec, f"open({str(path)!r}, 'w').close()"),
    "eval": lambda path: Attack(builtins.eval, f"open({str(path)!r}, 'w').close()"),
}


@pytest.fixture(params=ATTACKS)
def attack(request, trained, tmp_path):
    """A good checkpoint to which something was added that makes the file `traces`, and that file."""
    content = torch.load(trained("tagger_lstm").checkpoint, weights_only=True)
    content["extra_state"]["surprise"] = ATTACKS[request.param](tmp_path / "traces")
    torch.save(content, tmp_path / "attack.pt")
    return tmp_path / "attack.pt", tmp_path / "traces"


def resume(model, checkpoint, save_dir, *flags):
    shared = [*TINY[model.arch], *OPTIMIZER, "--criterion", "soft_beam_direct", "--train-subset", SMALL, *flags]
    return commands.train(model.data, model.task, save_dir, *shared, "--max-epoch", 1)


def use(way: str, model, checkpoint, folder) -> commands.Output:
    """Let one of fairseq's commands load `checkpoint`."""
    if way == "generate":
        return commands.generate(model.data, model.task, checkpoint, "--gen-subset", "valid", "--beam", 2)
    if way == "validate":
        return commands.validate(model.data, model.task, checkpoint)
    if way == "interactive":
        (folder / "input").write_text("w1 w2\n")
        return commands.run(
            "interactive",
            *commands.decode_flags(model.data, model.task, checkpoint, "--beam", 2, "--input", folder / "input"),
        )
    if way == "finetune":
        return resume(model, checkpoint, folder / "run", "--finetune-from-model", checkpoint)
    reset = ["--reset-optimizer", "--reset-lr-scheduler", "--reset-meters", "--reset-dataloader"]
    return resume(model, checkpoint, folder / "run", "--restore-file", checkpoint, *reset)


WAYS = ["generate", "validate", "interactive", "finetune", "restore"]


@pytest.mark.parametrize("way", WAYS)
def test_a_checkpoint_that_would_run_code_is_refused_and_runs_nothing(trained, attack, tmp_path, way):
    checkpoint, traces = attack
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        use(way, trained("tagger_lstm"), checkpoint, tmp_path)
    assert not traces.exists()


def test_the_attack_would_have_worked(attack):
    checkpoint, traces = attack
    torch.load(checkpoint, weights_only=False)
    assert traces.exists()


@pytest.mark.parametrize("way", WAYS)
def test_a_normal_checkpoint_loads(trained, tmp_path, way):
    model = trained("tagger_lstm")
    assert use(way, model, model.checkpoint, tmp_path).text


@pytest.mark.parametrize("arch", ["lstm", "transformer", "tagger_gru"])
def test_checkpoints_hold_nothing_but_tensors_containers_and_allowed_types(trained, arch):
    assert torch.serialization.get_unsafe_globals_in_checkpoint(trained(arch).checkpoint) == []


def test_only_records_and_arrays_are_allowed():
    arrays = {np.ndarray, np.dtype, np._core.multiarray._reconstruct, np._core.multiarray.scalar}
    arrays |= {type(np.dtype(name)) for name in ("int64", "float64")}
    assert argparse.Namespace in ALLOWED_TYPES
    assert set(ALLOWED_TYPES) <= {argparse.Namespace} | arrays
    assert set(ALLOWED_TYPES) <= set(torch.serialization.get_safe_globals())


@pytest.mark.parametrize("metric,flags", [("bleu", ["--eval-bleu"]), ("hard_beam_cost", [])])
def test_a_checkpoint_that_remembers_its_best_score_resumes(trained, tmp_path, metric, flags):
    model = trained("lstm")
    flags = [*TINY["lstm"], *OPTIMIZER, *flags, "--criterion", "soft_beam_direct", "--train-subset", SMALL]
    flags += ["--best-checkpoint-metric", metric, "--finetune-from-model", model.checkpoint]
    commands.train(model.data, model.task, tmp_path, *flags, "--max-epoch", 1)
    log = commands.train(model.data, model.task, tmp_path, *flags, "--max-epoch", 2)
    assert "Loaded checkpoint" in log.text
    assert commands.generate(model.data, model.task, tmp_path / "checkpoint_best.pt", "--gen-subset", "valid").lines(
        "H"
    )
    assert [line["epoch"] for line in log.logged("train")] == [2]
