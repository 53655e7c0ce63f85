"""train_recognition_lm.py: what it prints is so, the file is that of the best epoch, and bad input."""

import math
import re
from pathlib import Path

import pytest
import torch
from commands import script

from seqsearch_fairseq.algorithms.beam_decoder.recurrent import language_model_loss
from seqsearch_fairseq.algorithms.beam_decoder.recurrent_files import read_recurrent
from seqsearch_fairseq.data.recognition.ngrams import kneser_ney, write_arpa

NAME = "train_recognition_lm.py"
SMALL = ["--embed-dim", 4, "--hidden-size", 6, "--cpu"]


@pytest.fixture
def data(tmp_path) -> Path:
    """What prepare_recognition.py writes, as far as this script reads it."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "lexicon.txt").write_text("GO\tG O |\nTO\tT O |\nTO\tT U |\nUP\tU P |\n")
    (folder / "train.wrd").write_text("GO UP\n\nTO\nGO TO\n" * 10)
    (folder / "valid.wrd").write_text("GO UP UP\nTO\n")
    return folder


def trained(data: Path, *flags) -> list[str]:
    done = script(NAME, data, *SMALL, *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def perplexity_of(path: Path, sentences: list[list[int]], words: list[str]) -> float:
    model = read_recurrent(path).model(words).eval()
    with torch.no_grad():
        losses = [language_model_loss(model, torch.tensor([sentence])) for sentence in sentences]
    return math.exp(float(sum(losses)) / sum(len(sentence) + 1 for sentence in sentences))


def test_the_best_epoch_is_kept(data):
    said = trained(data, "--epochs", 8, "--lr", 0.3)
    assert said[:3] == [
        "lexicon: 3 words",
        "train: 30 sentences, 50 words",
        "valid: 2 sentences, 4 words",
    ]
    epochs = [float(re.fullmatch(r"epoch \d+: perplexity ([0-9.]+), of the .*", line)[1]) for line in said[3:-1]]
    assert len(epochs) == 8 and epochs[-1] > min(epochs)  # the validation text is of another kind
    best = epochs.index(min(epochs)) + 1
    assert said[-1] == f"{data / 'rnnlm.pt'}: epoch {best}, perplexity {min(epochs):.2f}"
    saved = read_recurrent(data / "rnnlm.pt")
    assert saved.words == ["GO", "TO", "UP"] and saved.sizes == {"embedding_dim": 4, "hidden_dim": 6, "layers": 1}
    found = perplexity_of(data / "rnnlm.pt", [[0, 2, 2], [1]], saved.words)
    assert found == pytest.approx(min(epochs), abs=0.006)
    assert sorted(path.name for path in data.iterdir()) == ["lexicon.txt", "rnnlm.pt", "train.wrd", "valid.wrd"]


def test_it_learns_the_text(data, tmp_path):
    (data / "valid.wrd").write_text("GO UP\nTO\nGO TO\n")
    said = trained(data, "--epochs", 60, "--lr", 0.05, "--dropout", 0, "--output", tmp_path / "lm")
    # Each of three sentences has a probability of 1/3, in 8 predictions.
    assert float(said[-1].rpartition(" ")[2]) == pytest.approx(3 ** (3 / 8), abs=0.05)


def test_the_same_seed_writes_the_same_model(data, tmp_path):
    models = []
    for name, seed in (("one", 1), ("two", 1), ("other", 2)):
        trained(data, "--epochs", 2, "--layers", 2, "--seed", seed, "--output", tmp_path / name)
        models.append(read_recurrent(tmp_path / name).parameters)
    assert all(torch.equal(value, models[1][name]) for name, value in models[0].items())
    assert not torch.equal(models[0]["output.bias"], models[2]["output.bias"])


def test_an_ngram_is_compared_on_the_same_words(data, tmp_path):
    (tmp_path / "valid").write_text("GO UP\nTO AWAY\n")
    model = kneser_ney([["GO", "UP"], ["TO"]] * 3, 2)
    write_arpa(data / "ngram.arpa", model)
    wanted = 10 ** (-(model.score_sentence(["GO", "UP"]) + model.score_sentence(["TO", "AWAY"])) / 6)
    said = trained(data, "--epochs", 1, "--valid", tmp_path / "valid", "--text", data / "train.wrd", data / "valid.wrd")
    assert said[1:4] == [
        "train: 32 sentences, 54 words",
        "valid: 2 sentences, 4 words, 1 of them not in the lexicon",
        f"ngram.arpa: perplexity {wanted:.2f}",
    ]


def refusal(data: Path, *flags, status: int = 1) -> str:
    """The message; nothing may be written."""
    before = sorted(data.iterdir())
    done = script(NAME, data, *SMALL, *flags)
    assert done.returncode == status, done.stderr
    assert sorted(data.iterdir()) == before
    return done.stderr


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("train.wrd", "\n \n", "train.wrd holds no sentence"),
        ("train.wrd", "go up\n", "train.wrd: the lexicon has none of the words, not even 'go'"),
        ("valid.wrd", "", "valid.wrd holds no sentence"),
        ("valid.wrd", b"\xff\n", "valid.wrd, line 1: not UTF-8"),
        ("lexicon.txt", "GO\n", "lexicon.txt, line 1: the word 'GO' has no spelling"),
        ("lexicon.txt", "", "lexicon.txt holds no word"),
        ("ngram.arpa", "\\data\\\nngram 1=3\n", "ngram.arpa, line 2: the file is cut off"),
        ("ngram.arpa", "\\data\\\nngram 1=1\n\\1-grams:\n-1 GO\n\\end\\\n", "ngram.arpa: .*TO|<s>"),
    ],
)
def test_a_file_with_a_fault_is_named(data, file, text, message):
    (data / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    said = refusal(data)
    assert said.startswith("error: ") and re.search(message, said)


def test_a_file_that_is_missing_is_named(data, tmp_path):
    (data / "valid.wrd").unlink()
    assert "valid.wrd" in refusal(data)
    assert "nowhere" in refusal(data, "--valid", data / "train.wrd", "--arpa", tmp_path / "nowhere")
    said = refusal(data, "--valid", data / "train.wrd", "--output", tmp_path / "no" / "lm")
    assert "cannot be written: there is no folder" in said
    said = refusal(data, "--valid", data / "train.wrd", "--output", data / "train.wrd")
    assert "--output" in said and "would replace an input" in said


def test_a_training_that_comes_to_nothing_writes_nothing(data):
    said = refusal(data, "--lr", 1e30, "--epochs", 2)
    assert "the perplexity is no number after any epoch: --lr must be smaller, got 1e+30" in said


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--dropout", "1"], r"argument --dropout: must be in \[0, 1\), got 1"),
        (["--lr", "0"], "argument --lr: must be a positive number, got 0"),
        (["--clip-norm", "inf"], "argument --clip-norm: must be a positive number, got inf"),
        (["--epochs", "0"], "argument --epochs: must be at least 1, got 0"),
        (["--layers", "x"], "argument --layers: invalid at_least_one value"),
    ],
)
def test_options_that_break_a_rule_are_refused(data, flags, message):
    assert re.search(message, refusal(data, *flags, status=2))
