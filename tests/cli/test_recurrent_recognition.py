"""The commands with a recurrent language model: train with dbd, kill and resume, decode, tune."""

import json
import re
import signal
from pathlib import Path

import commands
import forked
import pytest
import torch
from test_recognition import TASK, UPDATES, model_flags, model_of, weights_in

PREFIX = "beam_decoder.language_model."


def words(data: Path, lm: Path) -> list:
    return ["--recognition-lexicon", data / "lexicon.txt", "--recognition-lm", lm]


@pytest.fixture(scope="module")
def flags(spoken, rnnlm, recognizer) -> list:
    begin = ["--finetune-from-model", recognizer, "--max-epoch", 3, "--save-interval-updates", 3, "--log-interval", 1]
    return model_flags(*words(spoken, rnnlm), *UPDATES, *begin, "--dropout", 0.3, "--dbd-train-lm")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, spoken, flags) -> Path:
    """Three epochs of dbd after CTC, in the folder that has `train.log`."""

    def build(folder: Path) -> None:
        (folder / "train.log").write_text(commands.train(spoken, TASK, folder, *flags).text)

    return commands.once(tmp_path_factory, "dbd-rnnlm", build)


def test_a_killed_run_resumes_to_the_same_model(spoken, flags, whole, rnnlm, tmp_path):
    command = commands.train_flags(spoken, TASK, tmp_path / "killed", *flags)
    status, _, err = commands.finish(forked.killed_training(9, *command))
    assert status == -signal.SIGKILL, err
    resumed = commands.run("train", *command)
    logged = commands.Output((whole / "train.log").read_text()).logged("train")
    for name in ("train_loss", "train_lm_weight", "train_gold_outside"):
        assert [log[name] for log in resumed.logged("train")] == [log[name] for log in logged[-1:]]
    expected, found = model_of(whole), model_of(tmp_path / "killed")
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], parameter) for name, parameter in expected.items())
    began = torch.load(rnnlm, weights_only=True)["parameters"]
    own = {name.removeprefix(PREFIX): value for name, value in found.items() if name.startswith(PREFIX)}
    assert own.keys() == began.keys() and all(not torch.equal(own[name], began[name]) for name in own)


def test_generate_validate_and_the_grid_have_the_checkpoints_model(spoken, whole, rnnlm, tmp_path):
    checkpoint = whole / "checkpoint_last.pt"
    trained = commands.Output((whole / "train.log").read_text()).logged("valid")[-1]
    [found] = commands.validate(spoken, TASK, checkpoint).logged("valid")
    for name in ("loss", "lm_weight", "word_error_beam"):
        assert next(v for k, v in found.items() if k.endswith(name)) == pytest.approx(
            trained[f"valid_{name}"], abs=0.01
        )

    decode = [*words(spoken, rnnlm), "--decoder", "beam", "--recognition-beam-size", 10, "--gen-subset", "valid"]
    said = commands.generate(spoken, TASK, checkpoint, *decode)
    error = float(re.search(r"word error rate: ([0-9.]+) %", said.text)[1])
    assert error == pytest.approx(trained["valid_word_error_beam"], abs=0.01)

    values = {name.replace("_", "-"): float(value) for name, value in weights_in(whole).items()}
    grid = [f"--{name}s={value}" for name, value in values.items()]
    arguments = [spoken, "--path", checkpoint, *words(spoken, rnnlm), *grid, "--beam-size", 10, "--cpu", "--json"]
    done = commands.script("tune_decoder.py", *arguments)
    assert done.returncode == 0, done.stderr
    [point] = json.loads(done.stdout)
    assert point["word_error"] == pytest.approx(error, abs=0.01)

    other = ["--recognition-lexicon", spoken / "lexicon.txt", "--recognition-lm", spoken / "ngram.arpa"]
    with pytest.raises(ValueError, match="ngram.arpa is of another kind than the file that the checkpoint was trained"):
        commands.generate(spoken, TASK, checkpoint, *other, "--decoder", "beam")


def test_a_checkpoint_of_ctc_is_decoded_with_the_file(spoken, recognizer, rnnlm):
    scores = {}
    for weight in (0.0, 1.0):
        decode = ["--decoder", "beam", "--recognition-lm-weight", weight, "--recognition-beam-size", 10, "--nbest", 2]
        said = commands.generate(spoken, TASK, recognizer, *words(spoken, rnnlm), *decode)
        scores[weight] = [score for _, found in sorted(said.lines("H").items()) for score, _ in found]
    assert scores[0.0] != scores[1.0]
