"""A checkpoint cannot run code, and normal checkpoints load everywhere."""

import argparse
import builtins
import os
import pickle
import re

import commands
import numpy as np
import pytest
import torch
from commands import OPTIMIZER, SMALL, TINY

from seqsearch_fairseq.checkpoints import ALLOWED_TYPES, loading
from seqsearch_fairseq.errors import UsageError, sentence


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
    "nested": lambda path: [{"a": (Attack(getattr, Attack(__import__, "os"), "system"), f"touch {path}")}],
    "objects": lambda path: np.array([Attack(os.system, f"touch {path}")], dtype=object),
}
TRACELESS = {"nested"}  # it only shows what is refused inside of containers


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


def refusal(way: str, model, checkpoint, folder) -> str:
    """The sentence that one of fairseq's commands ends with."""
    with pytest.raises(Exception) as caught:
        use(way, model, checkpoint, folder)
    said = sentence(caught.value)
    assert said is not None and "\n" not in said, caught.value
    return said


@pytest.mark.parametrize("way", WAYS)
def test_a_checkpoint_that_would_run_code_is_refused_and_runs_nothing(trained, attack, tmp_path, way):
    checkpoint, traces = attack
    said = refusal(way, trained("tagger_lstm"), checkpoint, tmp_path)
    assert said.startswith(f"the checkpoint {checkpoint} is refused: it asks for ")
    assert said.endswith(", which fairseq-train never writes and which may run code")
    assert not traces.exists()


def test_the_attack_would_have_worked(attack, request):
    checkpoint, traces = attack
    if request.node.callspec.params["attack"] in TRACELESS:
        return
    torch.load(checkpoint, weights_only=False)
    assert traces.exists()


def cut(share: float):
    return lambda good, path: path.write_bytes(good.read_bytes()[: int(share * good.stat().st_size)])


def saved(content):
    return lambda good, path: torch.save(content, path)


def changed(change):
    """A good checkpoint to whose content `change` was done."""

    def write(good, path):
        content = torch.load(good, weights_only=True)
        change(content)
        torch.save(content, path)

    return write


def wider(content):
    content["model"]["decoder.embed_tokens.weight"] = torch.zeros(9, 8)


def other_architecture(content):
    content["model"] = {f"layers.{name}": value for name, value in content["model"].items()}


BAD = {
    "missing": (lambda good, path: None, "does not exist"),
    "folder": (lambda good, path: path.mkdir(), "is a folder; name a file in it"),
    "dangling": (lambda good, path: path.symlink_to("nowhere"), ""),
    "empty": (lambda good, path: path.touch(), "is empty; take another one"),
    "text": (
        lambda good, path: path.write_text("hello\n" * 50),
        "is no checkpoint; name a file that fairseq-train wrote",
    ),
    "zeros": (lambda good, path: path.write_bytes(bytes(4000)), "is no checkpoint"),
    "zip": (lambda good, path: path.write_bytes(b"PK\x05\x06" + bytes(18)), ""),
    **{f"cut at {share}": (cut(share), "is cut off or damaged; copy it again") for share in (0.001, 0.3, 0.99, 0.9999)},
    "pickle": (
        lambda good, path: path.write_bytes(pickle.dumps({"model": 1}, protocol=2)),
        "is no checkpoint of fairseq-train",
    ),
    "number": (saved(3), "is no checkpoint of fairseq-train"),
    "list": (saved([1, 2]), "is no checkpoint of fairseq-train"),
    "empty state": (saved({}), "is no checkpoint of fairseq-train"),
    "parameters": (saved({"weight": torch.zeros(2)}), "is no checkpoint of fairseq-train"),
    "script": (
        lambda good, path: torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), path),
        "is a TorchScript archive",
    ),
    "no model": (changed(lambda content: content.pop("model")), "is no checkpoint of fairseq-train"),
    "model of numbers": (changed(lambda content: content.update(model=7)), "is no checkpoint of fairseq-train"),
    "wider": (
        changed(wider),
        r"does not fit this model: 1 sizes differ, decoder.embed_tokens.weight is \(9, 8\) there",
    ),
    "other architecture": (changed(other_architecture), "does not fit this model: it is of another architecture"),
}


@pytest.mark.filterwarnings(
    "ignore:`torch.jit", "ignore:'torch.load' received a zip file that looks like a TorchScript"
)
@pytest.mark.parametrize("way", ["generate", "finetune"])
@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_checkpoint_of_this_model_ends_with_one_sentence(trained, tmp_path, way, kind):
    model, path = trained("tagger_lstm"), tmp_path / "bad.pt"
    write, expected = BAD[kind]
    write(model.checkpoint, path)
    said = refusal(way, model, path, tmp_path)
    assert str(path) in said and re.search(expected, said), said


@pytest.mark.parametrize("way", ["validate", "interactive", "restore"])
@pytest.mark.parametrize("kind", ["missing", "folder", "text", "cut at 0.3", "parameters", "wider"])
def test_it_does_so_in_every_command(trained, tmp_path, way, kind):
    test_what_is_no_checkpoint_of_this_model_ends_with_one_sentence(trained, tmp_path, way, kind)


def test_a_model_of_another_size_is_named_when_training_goes_on_from_it(trained, tmp_path):
    model = trained("tagger_lstm")
    with pytest.raises(Exception, match="Cannot load model parameters") as caught:
        flags = [*TINY[model.arch][:-1], 24, *OPTIMIZER, "--criterion", "cross_entropy", "--train-subset", SMALL]
        commands.train(model.data, model.task, tmp_path, *flags, "--finetune-from-model", model.checkpoint)
    said = sentence(caught.value)
    assert re.search(r"does not fit this model: \d+ sizes differ, decoder\S+ is \([\d, ]+\) there and ", said), said
    assert "give the --arch and the sizes that it was trained with" in said


def test_loading_names_the_file_and_lets_other_mistakes_through(tmp_path):
    with pytest.raises(UsageError, match="x.pt does not exist"), loading(tmp_path / "x.pt"):
        raise FileNotFoundError("x")
    with pytest.raises(UsageError, match="^--beam must be 1$"), loading(tmp_path / "x.pt"):
        raise UsageError("--beam must be 1")
    with pytest.raises(ZeroDivisionError), loading(tmp_path / "x.pt"):
        raise ZeroDivisionError


def test_an_error_of_the_program_keeps_its_stack_trace():
    try:
        {}["key"]
    except KeyError as error:
        assert sentence(error) is None


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
