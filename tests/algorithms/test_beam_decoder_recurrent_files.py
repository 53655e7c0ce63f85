"""Recurrent language models as files: there and back, words that a model does not know, and faults."""

from pathlib import Path

import pytest
import torch

from seqsearch_fairseq.algorithms.beam_decoder.language_models import END
from seqsearch_fairseq.algorithms.beam_decoder.recurrent import RecurrentLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.recurrent_files import is_recurrent, read_recurrent, write_recurrent

WORDS = ["a", "ab", "b"]


def written(path: Path, layers: int = 2) -> RecurrentLanguageModel:
    model = RecurrentLanguageModel(3, 4, 5, layers, dropout=0.25)
    with path.open("wb") as out:
        write_recurrent(out, model, WORDS)
    return model


def scores_after(model, words: list[int], then: list[int]) -> torch.Tensor:
    """Of the words `then`, each after the history `words`."""
    reading = model.begin()
    state = torch.tensor([reading.start])
    with torch.no_grad():
        for word in words:
            state = reading.advance(state, torch.tensor([word])).states
        return reading.scores(state.expand(len(then)), torch.tensor(then))


@pytest.mark.parametrize("layers", [1, 2])
def test_a_file_holds_the_whole_model_and_nothing_but_plain_values(tmp_path, layers):
    model = written(tmp_path / "lm", layers)
    found = torch.load(tmp_path / "lm", weights_only=True)
    assert {type(value) for value in found.values()} == {str, int, float, list, dict}
    assert is_recurrent((tmp_path / "lm").read_bytes()[:4]) and not is_recurrent(b"\\dat")
    again = read_recurrent(tmp_path / "lm")
    assert again.words == WORDS and again.name == str(tmp_path / "lm")
    rebuilt = again.model(WORDS)
    assert rebuilt.dropout == 0.25
    for (name, wanted), (other, parameter) in zip(model.named_parameters(), rebuilt.named_parameters(), strict=True):
        assert name == other and torch.equal(wanted, parameter)
    assert torch.equal(scores_after(model, [2, 0], [1, END]), scores_after(rebuilt, [2, 0], [1, END]))


def test_a_lexicon_has_its_own_order_and_words_that_the_model_does_not_know(tmp_path):
    model = written(tmp_path / "lm")
    over = read_recurrent(tmp_path / "lm").model(["b", "zz", "a", "z"])
    found = scores_after(over, [1, 2, 0], [0, 1, 2, 3, END])
    wanted = scores_after(model.over(range(4)), [3, 0, 2], [2, 3, 0, 3, END])  # 3 is what it does not know
    assert torch.equal(found, wanted)
    reading = over.begin()
    start = torch.zeros(3, dtype=torch.long)
    assert reading.advance(start, torch.tensor([1, 3, 0])).states.tolist() == [1, 1, 2]  # to it they are one word


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    written(tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    for length in range(4, len(content), 97):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(ValueError, match="cut is cut off or damaged: no archive that torch.save wrote as a whole"):
            read_recurrent(tmp_path / "cut")


class Runs:
    def __reduce__(self):
        return print, ("this ran",)


def test_a_file_cannot_run_code(tmp_path, capsys):
    torch.save({"format": Runs()}, tmp_path / "lm")
    with pytest.raises(ValueError, match="lm is refused: it asks for .*print, which no language model holds"):
        read_recurrent(tmp_path / "lm")
    assert capsys.readouterr().out == ""


def without(found: dict, name: str) -> dict:
    return {**found, "parameters": {key: value for key, value in found["parameters"].items() if key != name}}


def with_parameter(found: dict, name: str, value) -> dict:
    return {**found, "parameters": {**found["parameters"], name: value}}


BIAS = "output.bias"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: [1, 2], "lm is no language model: scripts/train_recognition_lm.py writes those"),
        (lambda found: {"model": {}, "cfg": None}, "lm is no language model: scripts/train_recognition_lm.py writes"),
        (lambda found: {**found, "version": 2}, "lm is no whole language model: `version` must be 1, got 2"),
        (lambda found: {**found, "words": []}, "`words` must be a list of words"),
        (lambda found: {**found, "words": ["a", 1, "b"]}, "`words` must be a list of words"),
        (lambda found: {**found, "words": ["a", "a", "b"]}, "`words` must hold each word once"),
        (lambda found: {**found, "words": ["a", "b"]}, r"embedding.weight must be of size \(4, 4\), got \(5, 4\)"),
        (lambda found: {**found, "parameters": [1]}, "`parameters` must be tensors by their names"),
        (lambda found: {**found, "hidden_dim": 0}, "`hidden_dim` must be a whole number of at least 1, got 0"),
        (lambda found: {**found, "embedding_dim": 2.0}, "`embedding_dim` must be a whole number of at least 1, got 2"),
        (lambda found: {**found, "layers": 10**9}, "`layers` is 1000000000, but there are only 11 parameters"),
        (lambda found: {**found, "dropout": 1.0}, r"`dropout` must be in \[0, 1\), got 1.0"),
        (lambda found: without(found, BIAS), r"the parameter output.bias must be of size \(5,\), got None"),
        (lambda found: with_parameter(found, "extra", torch.zeros(1)), "it has no parameter extra"),
        (lambda found: with_parameter(found, BIAS, torch.zeros(5).long()), "output.bias must hold numbers only"),
        (lambda found: with_parameter(found, BIAS, torch.full((5,), torch.nan)), "output.bias must hold numbers only"),
    ],
)
def test_what_breaks_the_format_is_named(tmp_path, change, message):
    written(tmp_path / "lm")
    torch.save(change(torch.load(tmp_path / "lm", weights_only=True)), tmp_path / "lm")
    with pytest.raises(ValueError, match=message):
        read_recurrent(tmp_path / "lm")


def test_a_search_in_half_precision_has_the_model_in_float32():
    model = RecurrentLanguageModel(3, 4, 5, 2).half()
    like = RecurrentLanguageModel(3, 4, 5, 2)
    like.load_state_dict(model.state_dict())
    found, wanted = (scores_after(one, [2, 0], [1, END]) for one in (model, like))
    assert found.dtype == torch.float32 and torch.equal(found, wanted)
    gradients = []
    for one in (model, like):
        reading = one.begin()
        states = reading.advance(torch.tensor([0]), torch.tensor([1])).states
        reading.scores(states, torch.tensor([2])).sum().backward()
        gradients.append([parameter.grad.float() for parameter in one.parameters()])
    for half, whole in zip(*gradients, strict=True):
        torch.testing.assert_close(half, whole, rtol=1e-3, atol=1e-5)
