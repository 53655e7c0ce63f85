"""A recurrent language model in the criterion dbd: the oracle's loss, what a checkpoint holds, and what is refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import beam_decoder_oracle as oracle
import pytest
import speech
import torch
from beam_decoder_cases import random_case
from beam_decoder_problems import UNLIMITED, ByHistory, graph_of
from glue import make_criterion
from test_dbd_criterion import START, batch_of, emitted, model_of, task_on

from seqsearch_fairseq.algorithms.beam_decoder.recurrent import RecurrentLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.recurrent_files import read_recurrent, write_recurrent
from seqsearch_fairseq.algorithms.beam_decoder.search import Settings
from seqsearch_fairseq.beam_decoder import LM, SILENCE, WORD, BeamDecoder, DecoderFiles
from seqsearch_fairseq.emissions import Emissions
from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.generation.recognition import beam
from seqsearch_fairseq.tasks import decoder_files

EXACT = {"rtol": 0, "atol": 1e-10}
PARAMETERS = {name for name, _ in RecurrentLanguageModel(1, 1, 1).named_parameters()}


def task_with(data: Path, lm: Path, **options):
    return task_on(data, lm=False, recognition_lm=str(lm), **options)


# ---------------------------------------------------------------------------------------------------------- the loss


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 6, 8])  # of 0 and 7 the gold is all there is, of 5 it has no path
def test_the_objective_of_a_file_is_that_of_the_enumeration(tmp_path, seed):
    case = random_case(seed, most_paths=200)
    lexicon, graph = graph_of(case.problem)
    known = ["other", *lexicon.words[1:]][::-1]  # in another order, and one word of the lexicon is not there
    saved = RecurrentLanguageModel(len(known), 3, 4, layers=1 + seed % 2)
    with torch.no_grad():
        for parameter in saved.parameters():
            parameter.uniform_(-1, 1)
    with (tmp_path / "lm.pt").open("wb") as out:
        write_recurrent(out, saved, known)
    file = decoder_files.language_model(tmp_path / "lm.pt", lexicon.words)
    asg = case.problem.transitions is not None
    decoder = BeamDecoder(DecoderFiles(lexicon.words, graph, file), len(case.units) if asg else None)
    decoder.adopt_weights({LM: 0.75, WORD: -0.5, SILENCE: 0.25}, learned=True)
    decoder.adopt_language_model()
    decoder.double()
    if asg:
        decoder.transitions = torch.nn.Parameter(case.problem.transitions.detach().clone())
    numbers = {word: known.index(word) if word in known else len(known) for word in lexicon.words}
    problem = replace(
        case.problem,
        lm=ByHistory(decoder.language_model, numbers),
        lm_weight=torch.tensor(0.75).double(),
        word_score=torch.tensor(-0.5).double(),
        silence_score=torch.tensor(0.25).double(),
        transitions=decoder.transitions,
    )
    wanted = oracle.exact_loss(problem, case.gold)
    words = torch.tensor([[lexicon.numbers()[word] for word in case.gold]], dtype=torch.long).view(1, -1)
    emissions = Emissions(problem.emissions.unsqueeze(0), torch.tensor([problem.length]))
    [ours] = decoder.objective(emissions, words, Settings(UNLIMITED), "in-beam").losses
    torch.testing.assert_close(ours, wanted, **EXACT)
    leaves = [problem.emissions, *decoder.language_model.parameters(), *([decoder.transitions] if asg else [])]
    gradients = [torch.autograd.grad(loss, leaves, materialize_grads=True) for loss in (ours, wanted)]
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, **EXACT)
    assert any(float(gradient.abs().max()) > 1e-3 for gradient in gradients[0][1:])


@pytest.mark.parametrize("topology", ["ctc", "asg"])
def test_one_by_one_is_a_batch(spoken, rnnlm, topology):
    task = task_with(spoken, rnnlm, recognition_topology=topology)
    model, batch = model_of(task).double(), batch_of(task)
    criterion = make_criterion("dbd", task, dbd_train_lm=True, **START)
    model.double()

    def losses(batch):
        batch["net_input"]["source"] = batch["net_input"]["source"].double()
        return criterion(model, batch, reduce=False)[0]

    alone = torch.cat([losses(batch_of(task, [i])) for i in range(4)])
    torch.testing.assert_close(losses(batch), alone, rtol=1e-9, atol=1e-9)


def test_what_is_learned(spoken, rnnlm):
    task = task_with(spoken, rnnlm)
    weights = {LM, WORD, SILENCE}
    for options, learned in (
        ({}, weights),
        ({"dbd_fixed_weights": True, "dbd_train_lm": True}, {f"language_model.{name}" for name in PARAMETERS}),
        ({"dbd_train_lm": True}, weights | {f"language_model.{name}" for name in PARAMETERS}),
    ):
        model = model_of(task)
        criterion = make_criterion("dbd", task, **options, **START)
        criterion(model, batch_of(task))[0].backward()
        found = {
            name: parameter for name, parameter in model.beam_decoder.named_parameters() if parameter.requires_grad
        }
        assert found.keys() == learned
        assert all(float(parameter.grad.abs().max()) > 0 for parameter in found.values())


# -------------------------------------------------------------------------------------------- what is in a checkpoint


def trained(task, **options):
    """A model whose decoder was trained, as far as its parameters tell."""
    model = model_of(task)
    make_criterion("dbd", task, dbd_train_lm=True, **options)
    with torch.no_grad():
        for parameter in model.beam_decoder.language_model.parameters():
            parameter.mul_(-3.0)
    return model


def found_by(task, model) -> list:
    [hypotheses] = beam(task, emitted(task, "AB_L__E|LAB|"), [model], n_best=3)
    return [(one.words, one.score) for one in hypotheses]


def test_decoding_has_the_checkpoints_model_and_not_that_of_the_file(spoken, rnnlm):
    task = task_with(spoken, rnnlm)
    model = trained(task)
    saved = {name: value.clone() for name, value in model.state_dict().items()}
    wanted, plain = found_by(task, model), found_by(task, model_of(task))
    decoding = model_of(task)
    decoding.load_state_dict(dict(saved))
    assert found_by(task, decoding) == wanted != plain
    assert not any(parameter.requires_grad for parameter in decoding.beam_decoder.parameters())
    resumed = trained(task)
    resumed.load_state_dict(dict(saved))
    assert all(torch.equal(value, saved[name]) for name, value in resumed.state_dict().items())
    assert all(parameter.requires_grad for parameter in resumed.beam_decoder.parameters())


def test_the_checkpoint_needs_the_file_that_it_was_trained_with(spoken, rnnlm, tmp_path):
    saved = trained(task_with(spoken, rnnlm)).state_dict()
    task = task_on(spoken, lm=False)
    model = model_of(task)
    model.load_state_dict(dict(saved))
    with pytest.raises(UsageError, match="holds probabilities of a language model: name its file, --recognition-lm"):
        found_by(task, model)
    with pytest.raises(UsageError, match="ngram.arpa is of another kind than the file that the checkpoint was trained"):
        model_of(task_on(spoken)).load_state_dict(dict(saved))
    speech.train_lm(spoken, tmp_path / "larger.pt", "--hidden-size", 9)
    with pytest.raises(
        UsageError, match="larger.pt has other sizes than the file that the checkpoint was trained with"
    ):
        model_of(task_with(spoken, tmp_path / "larger.pt")).load_state_dict(dict(saved))
    file = read_recurrent(rnnlm)
    with (tmp_path / "order.pt").open("wb") as out:
        write_recurrent(out, file.model(file.words), file.words[::-1])
    with pytest.raises(UsageError, match="order.pt has other words than the file that the checkpoint was trained with"):
        model_of(task_with(spoken, tmp_path / "order.pt")).load_state_dict(dict(saved))


def test_ngrams_of_the_same_number_are_told_apart_and_older_checkpoints_load(spoken, tmp_path):
    task = task_on(spoken)
    model = model_of(task)
    make_criterion("dbd", task, dbd_train_lm=True)
    saved = model.state_dict()
    text = (spoken / "ngram.arpa").read_text()
    (tmp_path / "other.arpa").write_text(text.replace("ABLE", "x").replace("LAB", "ABLE").replace("x", "LAB"))
    with pytest.raises(UsageError, match="other.arpa has other n-grams than the file"):
        model_of(task_with(spoken, tmp_path / "other.arpa")).load_state_dict(dict(saved))
    older = {name: value for name, value in saved.items() if not name.endswith("language_model_contents")}
    again = model_of(task)
    again.load_state_dict(dict(older))
    assert again.state_dict().keys() == saved.keys()


# ---------------------------------------------------------------------------------------------------- what is refused


def test_words_that_the_model_does_not_know_can_be_found(spoken, tmp_path):
    data = shutil.copytree(spoken, tmp_path / "data")
    lines = (spoken / "lexicon.txt").read_text().splitlines(keepends=True)
    (data / "lexicon.txt").write_text("".join(line for line in lines if not line.startswith("LAB")))
    speech.train_lm(data, tmp_path / "lm.pt")
    task = task_with(spoken, tmp_path / "lm.pt")
    [[best]] = beam(task, emitted(task, "AB_L__E|LAB|"), [model_of(task)])
    assert best.words == ["ABLE", "LAB"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda whole: whole[: len(whole) // 2], "lm.pt is cut off or damaged: no archive that torch.save wrote"),
        (lambda whole: whole[:5], "lm.pt is cut off or damaged: no archive that torch.save wrote as a whole"),
        (lambda whole: b"", r"lm.pt, line 0: the file is cut off, \\data\\ is missing"),
        (lambda whole: b"\x80\x02}q", "lm.pt, line 1: not UTF-8"),
        (lambda whole: b"a text\n", r"lm.pt, line 1: the file is cut off, \\data\\ is missing"),
    ],
)
def test_a_file_with_a_fault_is_named(spoken, rnnlm, tmp_path, content, message):
    (tmp_path / "lm.pt").write_bytes(content(rnnlm.read_bytes()))
    with pytest.raises(UsageError, match=message):
        task_with(spoken, tmp_path / "lm.pt")


def test_a_checkpoint_is_no_language_model(spoken, recognizer):
    with pytest.raises(UsageError, match="checkpoint_last.pt is no language model: scripts/train_recognition_lm.py"):
        task_with(spoken, recognizer)
