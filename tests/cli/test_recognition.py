"""The command line of dbd: train from CTC, kill and resume; and decode with the beam."""

import re
import signal
from pathlib import Path

import commands
import forked
import pytest
import speech
import torch

TASK = "search_recognition"
UPDATES = ["--optimizer", "adam", "--lr", 0.005, "--clip-norm", 5, "--batch-size", 10]


def words(data: Path) -> list:
    return ["--recognition-lexicon", data / "lexicon.txt", "--recognition-lm", data / "ngram.arpa"]


def model_flags(*flags) -> list:
    """The tiny recogniser, trained with dbd."""
    arch = speech.TINY[: speech.TINY.index("--dropout")]
    return [
        *arch,
        "--criterion",
        "dbd",
        "--dbd-lm-weight",
        0.5,
        "--dbd-beam-size",
        10,
        "--recognition-beam-size",
        10,
        *flags,
    ]


def model_of(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)["model"]


@pytest.fixture(scope="session")
def dbd(tmp_path_factory, spoken, recognizer) -> Path:
    """An epoch of dbd after CTC, in the folder that has `train.log`."""

    def build(folder: Path) -> None:
        begin = ["--finetune-from-model", recognizer, "--max-epoch", 1, "--dbd-train-lm"]
        said = commands.train(spoken, TASK, folder, *model_flags(*words(spoken), *UPDATES, *begin))
        (folder / "train.log").write_text(said.text)

    return commands.once(tmp_path_factory, "dbd", build)


def test_training_logs_the_weights_and_validation_both_error_rates(dbd):
    said = commands.Output((dbd / "train.log").read_text())
    [train], [valid] = said.logged("train"), said.logged("valid")
    assert train["train_gold_lost"] == 0 and train["train_skipped"] == 0 and train["train_gold_outside"] < 1
    assert train["train_lm_weight"] != 0.5 and abs(train["train_lm_weight"] - 0.5) < 0.5
    assert valid["valid_lm_weight"] == pytest.approx(float(weights_in(dbd)["lm_weight"]), abs=1e-4)
    assert {f"valid_{kind}_error_{decoder}" for kind in ("word", "unit") for decoder in ("greedy", "beam")} <= set(
        valid
    )
    assert valid["valid_word_error_beam"] <= valid["valid_word_error_greedy"]


def test_fairseq_validate_finds_what_training_found(spoken, dbd):
    [before] = commands.Output((dbd / "train.log").read_text()).logged("valid")
    [found] = commands.validate(spoken, TASK, dbd / "checkpoint_last.pt").logged("valid")
    for name in ("lm_weight", "word_score", "word_error_beam", "unit_error_greedy"):
        assert next(v for k, v in found.items() if k.endswith(name)) == pytest.approx(before[f"valid_{name}"], abs=0.01)


def weights_in(folder: Path) -> dict[str, torch.Tensor]:
    saved = {name.removeprefix("beam_decoder."): value for name, value in model_of(folder).items()}
    return {name: saved[name] * saved["rate"] for name in ("lm_weight", "word_score", "silence_score")}


def decoded(data: Path, checkpoint: Path, *flags) -> commands.Output:
    return commands.generate(data, TASK, checkpoint, *words(data), "--decoder", "beam", *flags)


def test_generate_decodes_with_the_checkpoints_weights(spoken, dbd):
    checkpoint = dbd / "checkpoint_last.pt"
    own = decoded(spoken, checkpoint, "--nbest", 3)
    hypotheses, plain = own.lines("H"), own.lines("D")
    gold = (spoken / "test.wrd").read_text().splitlines()
    assert len(hypotheses) == len(gold) == 8
    for number, found in hypotheses.items():
        scores = [float(score) for score, _ in found]
        assert scores == sorted(scores, reverse=True) and 1 <= len(found) <= 3
        for (_, text), (_, said) in zip(found, plain[number], strict=True):
            letters, _, spoken_words = f"{text} ".partition("=> ")
            assert said == spoken_words.strip() and letters.replace(" ", "") == "".join(
                f"{w}|" for w in spoken_words.split()
            )
    assert re.search(
        r"word error rate: [0-9.]+ % \([0-9]+ edits of [0-9]+ words\), unit error rate: [0-9.]+ %", own.text
    )
    values = {f"--recognition-{name.replace('_', '-')}": float(value) for name, value in weights_in(dbd).items()}
    said = [word for pair in values.items() for word in pair]
    assert decoded(spoken, checkpoint, *said, "--nbest", 3).lines("D").keys() == plain.keys()
    same = decoded(spoken, checkpoint, *said).lines("H")
    best = decoded(spoken, checkpoint).lines("H")
    assert all(float(same[n][0][0]) == pytest.approx(float(best[n][0][0]), abs=1e-3) for n in best)
    others = decoded(spoken, checkpoint, "--recognition-word-score", -30).lines("D")
    assert sum(len(found[0][1].split()) for found in others.values()) < sum(len(line.split()) for line in gold)


@pytest.mark.parametrize("merge", ["max", "log-add"])
def test_a_checkpoint_of_ctc_is_decoded_with_the_beam(spoken, recognizer, merge):
    flags = ["--recognition-lm-weight", 0.5, "--recognition-merge", merge, "--recognition-beam-size", 20]
    found = decoded(spoken, recognizer, *flags, "--recognition-beam-threshold", 30)
    errors = float(re.search(r"word error rate: ([0-9.]+) %", found.text)[1])
    greedy = commands.generate(spoken, TASK, recognizer)
    assert errors <= float(re.search(r"word error rate: ([0-9.]+) %", greedy.text)[1])


def test_a_killed_run_resumes_to_the_same_model(spoken, recognizer, tmp_path):
    begin = ["--finetune-from-model", recognizer, "--max-epoch", 3, "--save-interval-updates", 3, "--log-interval", 1]
    flags = model_flags(
        *words(spoken), *UPDATES, *begin, "--dropout", 0.3, "--dbd-train-lm", "--search-nll-weight", 0.1
    )

    def command(name):
        return commands.train_flags(spoken, TASK, tmp_path / name, *flags)

    whole = commands.run("train", *command("whole"))
    status, _, err = commands.finish(forked.killed_training(9, *command("killed")))
    assert status == -signal.SIGKILL, err
    resumed = commands.run("train", *command("killed"))
    for name in ("train_loss", "train_lm_weight", "train_word_score", "train_gold_outside"):
        assert [log[name] for log in resumed.logged("train")] == [log[name] for log in whole.logged("train")[-1:]]
    expected, found = model_of(tmp_path / "whole"), model_of(tmp_path / "killed")
    assert expected.keys() == found.keys() and "beam_decoder.language_model.log_probs" in found
    assert all(torch.equal(found[name], parameter) for name, parameter in expected.items())


def test_a_word_that_is_not_in_the_lexicon_is_an_error_before_training(spoken, tmp_path):
    lines = (spoken / "lexicon.txt").read_text().splitlines(keepends=True)
    (tmp_path / "lexicon.txt").write_text("".join(line for line in lines if not line.startswith("EEL")))
    flags = commands.train_flags(
        spoken, TASK, tmp_path, *model_flags("--recognition-lexicon", tmp_path / "lexicon.txt", *UPDATES)
    )
    with pytest.raises(ValueError, match=r"(train|valid).wrd, line \d+: the word 'EEL' is not in the lexicon"):
        commands.run("train", *flags)
