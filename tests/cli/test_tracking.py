"""This package's own figures in TensorBoard and in Weights & Biases: fairseq's flags, the extra `[tracking]`."""

import struct
from pathlib import Path
from types import SimpleNamespace

import commands
import pytest
from commands import OPTIMIZER, SMALL, TINY
from fairseq.logging import progress_bar

TRACKED = {
    "soft_beam_direct": {
        "train": {"alpha": 2.0, "beam_distance": None, "beam_collapsed": None, "objective": None},
        "valid": {"alpha": 2.0, "beam_distance": None, "hard_beam_cost": None},
    },
    "differentiable_scheduled_sampling": {
        "train": {"alpha": 2.0, "gold_probability": 0.0, "objective": None},
        "valid": {"alpha": 2.0, "exposure_bias": None, "free_running_nll_loss": None},
    },
}
FLAGS = {
    "soft_beam_direct": ["--soft-beam-alpha", 2],
    "differentiable_scheduled_sampling": ["--dss-alpha", 2, "--dss-decay", "always"],
}


def train(model, save_dir, criterion, *flags):
    shared = [*TINY[model.arch], *OPTIMIZER, "--train-subset", SMALL, "--max-epoch", 1, "--log-interval", 1]
    own = ["--finetune-from-model", model.checkpoint, "--criterion", criterion, *FLAGS[criterion]]
    return commands.train(model.data, model.task, save_dir, *shared, *own, *flags)


def events(folder: Path) -> dict[str, float]:
    """The last value of each figure in the event files of a folder: records of length, checksum, event, checksum."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = {}
    for file in folder.glob("events.*"):
        data, position = file.read_bytes(), 0
        while position < len(data):
            (length,) = struct.unpack_from("<Q", data, position)
            event = event_pb2.Event.FromString(data[position + 12 : position + 12 + length])
            found.update({value.tag: value.simple_value for value in event.summary.value})
            position += length + 16
    return found


def check(found: dict[str, dict[str, float]], log, criterion: str) -> None:
    """That the figures arrived, with the values that the log has."""
    for split, figures in TRACKED[criterion].items():
        for name, expected in figures.items():
            logged = log.logged(split)[-1][f"{split}_{name}"]
            assert found[split][name] == pytest.approx(logged, rel=1e-4, abs=1e-4), (split, name)
            assert expected is None or logged == expected


@pytest.mark.parametrize("criterion", TRACKED)
def test_tensorboard_gets_our_figures(trained, tmp_path, monkeypatch, criterion):
    pytest.importorskip("tensorboardX", reason="needs tensorboardX: pip install 'seqsearch-fairseq[tracking]'")
    writers: dict = {}  # fairseq keeps them for the whole process, and closes them at its end
    monkeypatch.setattr(progress_bar, "_tensorboard_writers", writers)
    folder = tmp_path / "board"
    log = train(trained("tagger_gru"), tmp_path, criterion, "--tensorboard-logdir", folder)
    for writer in writers.values():
        writer.close()
    check({split: events(folder / split) for split in TRACKED[criterion]}, log, criterion)
    assert "alpha" in events(folder / "train_inner")  # while an epoch runs, too


def test_weights_and_biases_gets_our_figures(trained, tmp_path, monkeypatch):
    """`wandb` itself is large and starts a service: what fairseq hands to it is what counts here."""
    begun, sent = [], {}
    recorder = SimpleNamespace(
        init=lambda **settings: begun.append(settings),
        log=lambda figures, step: sent.update(figures),
        config=SimpleNamespace(update=lambda *args, **kwargs: None),
    )
    monkeypatch.setattr(progress_bar, "wandb", recorder)
    log = train(trained("tagger_gru"), tmp_path, "soft_beam_direct", "--wandb-project", "search")
    assert begun and all(settings["project"] == "search" for settings in begun)
    found = {
        split: {name.removeprefix(f"{split}/"): value for name, value in sent.items() if name.startswith(f"{split}/")}
        for split in ("train", "valid")
    }
    check(found, log, "soft_beam_direct")
