"""The criterions dbd and asg, the weights in the checkpoint, and decoding with them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from glue import make_criterion, make_task
from omegaconf import OmegaConf

from seqsearch_fairseq.algorithms.beam_decoder import lexicon as trees
from seqsearch_fairseq.algorithms.beam_decoder import topologies
from seqsearch_fairseq.algorithms.beam_decoder.arpa import read_arpa
from seqsearch_fairseq.algorithms.beam_decoder.ngrams import NgramLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.objective import beam_decoder_objective
from seqsearch_fairseq.algorithms.beam_decoder.scoring import Weights
from seqsearch_fairseq.beam_decoder import LM, SILENCE, WORD
from seqsearch_fairseq.criterions.dbd import DbdConfig
from seqsearch_fairseq.criterions.unit_losses import AsgLosses
from seqsearch_fairseq.data.files import FormatError
from seqsearch_fairseq.emissions import Emissions, emissions_of
from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.generation.recognition import RecognitionGenerator, beam
from seqsearch_fairseq.models.recognizer import RecognizerConfig, RecognizerModel
from seqsearch_fairseq.tasks.recognition_flags import SearchRecognitionConfig

START = {"dbd_lm_weight": 0.7, "dbd_word_score": -0.4, "dbd_silence_score": 0.3}
SIZES = {"encoder_channels": 6, "encoder_hidden_size": 5, "encoder_layers": 1, "dropout": 0.0}


def task_on(data: Path, trains: bool = True, lm: bool = True, **options):
    files = {"recognition_lexicon": str(data / "lexicon.txt")}
    if lm:
        files["recognition_lm"] = str(data / "ngram.arpa")
    task = make_task("search_recognition", data, **{**files, **options})
    task._trains = trains
    return task


def model_of(task, seed: int = 0, **sizes) -> RecognizerModel:
    torch.manual_seed(seed)
    cfg = OmegaConf.structured(RecognizerConfig(**{**SIZES, "encoder_subsampling": 2, **sizes}))
    cfg._name = "recognizer_lstm"
    return task.build_model(cfg)


def batch_of(task, ids=range(4), split: str = "valid") -> dict:
    if split not in task.datasets:
        task.load_dataset(split)
    dataset = task.dataset(split)
    return dataset.collater([dataset[i] for i in ids])


@pytest.fixture
def copy(spoken, tmp_path) -> Path:
    return shutil.copytree(spoken, tmp_path / "copy")


# ---------------------------------------------------------------------------------------------------------- the loss


def by_hand(task, model, batch, weights: Weights, **options):
    """The algorithm's objective with a graph and a language model that this test makes of the files."""
    units, data = task.target_dictionary, Path(task.cfg.data)
    pairs = [line.split("\t") for line in (data / "lexicon.txt").read_text().splitlines()]
    asg = task.topology == "asg"
    repetitions = [units.index("1")] if asg else []
    tree = trees.Lexicon.build(
        (word, trees.with_repetitions([units.index(unit) for unit in spelling.split()], repetitions))
        for word, spelling in pairs
    )
    graph = topologies.TOPOLOGIES[task.topology](
        tree, len(units), **({} if asg else {"blank": units.bos()}), silence=units.index("|")
    )
    numbers = tree.numbers()
    rows = [torch.tensor([numbers[word] for word in line.split()]) for line in batch["words"]]
    words = torch.nn.utils.rnn.pad_sequence(rows, True, -1)
    arpa = read_arpa((data / "ngram.arpa").read_text().splitlines(), "ngram.arpa")
    emissions = emissions_of(model, model(**batch["net_input"]))
    return beam_decoder_objective(
        *emissions, words, graph, NgramLanguageModel(arpa, tree.words), weights, **{"beam_size": 20, **options}
    )


@pytest.mark.parametrize("topology", ["ctc", "asg"])
@pytest.mark.parametrize("gold", ["in-beam", "free"])
def test_loss_is_that_of_the_algorithm(spoken, topology, gold):
    task = task_on(spoken, recognition_topology=topology)
    model, batch = model_of(task), batch_of(task)
    options = {"dbd_beam_size": 20, "dbd_beam_threshold": 9.0, "dbd_gold": gold, "dbd_weights_rate": 5.0}
    criterion = make_criterion("dbd", task, **START, **options)
    transitions = None
    if topology == "asg":
        torch.nn.init.normal_(model.beam_decoder.transitions)
        transitions = model.beam_decoder.transitions.detach().clone().requires_grad_()
    weights = Weights(*(torch.tensor(value, requires_grad=True) for value in START.values()), transitions)
    wanted = by_hand(task, model, batch, weights, threshold=9.0, gold=gold)
    wanted.losses.sum().backward()
    of_model = [parameter.grad.clone() for parameter in model.output.parameters()]
    model.zero_grad()
    loss, sample_size, logs = criterion(model, batch)
    loss.backward()
    assert torch.allclose(loss, wanted.losses.sum(), rtol=1e-5) and sample_size == batch["ntokens"]
    for parameter, gradient in zip(model.output.parameters(), of_model, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-4)
    for name, weight in ((LM, weights.lm), (WORD, weights.word), (SILENCE, weights.silence)):
        torch.testing.assert_close(getattr(model.beam_decoder, name).grad, weight.grad, rtol=1e-4, atol=1e-4)
    if transitions is not None:
        torch.testing.assert_close(model.beam_decoder.transitions.grad, transitions.grad, rtol=1e-4, atol=1e-4)
    assert logs["_sentence_gold_outside"] == wanted.gold_outside.sum()
    assert logs["_sentence_gold_lost"] == wanted.gold_lost.sum() and logs["_skipped"] == 0
    assert logs["_setting_lm_weight"] == pytest.approx(4 * 0.7)


@pytest.mark.parametrize("topology", ["ctc", "asg"])
def test_one_by_one_is_a_batch(spoken, topology):
    task = task_on(spoken, recognition_topology=topology)
    model, batch = model_of(task).double(), batch_of(task)
    criterion = make_criterion("dbd", task, search_nll_weight=0.5, **START)

    def losses(batch):
        batch["net_input"]["source"] = batch["net_input"]["source"].double()
        return criterion(model, batch, reduce=False)[0]

    alone = torch.cat([losses(batch_of(task, [i])) for i in range(4)])
    torch.testing.assert_close(losses(batch), alone, rtol=1e-9, atol=1e-9)


def test_nothing_may_be_said_and_what_does_not_fit_its_frames_is_counted(copy):
    for kind in ("wrd", "ltr"):
        lines = (copy / f"valid.{kind}").read_text().splitlines()
        lines[1] = ""
        lines[2] = " ".join(["ALL" if kind == "wrd" else "A L L |"] * 200)
        (copy / f"valid.{kind}").write_text("\n".join(lines) + "\n")
    task = task_on(copy)
    model = model_of(task)
    criterion, batch = make_criterion("dbd", task), batch_of(task)
    losses, _, logs = criterion(model, batch, reduce=False)
    assert logs["_skipped"] == 1 and losses[2] == 0 and bool((losses[[0, 1, 3]] > 0).all())
    silent = criterion(model, batch_of(task, [1]), reduce=False)[0]
    torch.testing.assert_close(silent[0], losses[1], rtol=1e-5, atol=1e-5)


def test_a_share_of_ctc_is_added(spoken):
    task = task_on(spoken)
    model, batch = model_of(task), batch_of(task)
    alone, _, logs = make_criterion("dbd", task)(model, batch)
    both = make_criterion("dbd", task, search_nll_weight=0.5)(model, batch)[0]
    ctc, _, _ = make_criterion("ctc", task)(model, batch)
    assert torch.allclose(both, alone + 0.5 * ctc, rtol=1e-5) and "nll_loss" not in logs
    logs = make_criterion("dbd", task).eval()(model, batch)[2]
    assert float(logs["nll_loss"]) == pytest.approx(float(ctc.detach()), rel=1e-5)


def test_asg_is_all_paths_less_those_of_the_transcription():
    torch.manual_seed(0)
    units, frames = 3, 4
    emissions, transitions = torch.randn(1, frames, units), torch.randn(units, units)

    def score(path):
        heard = sum(emissions[0, t, unit] for t, unit in enumerate(path))
        return heard + sum(transitions[a, b] for a, b in zip(path, path[1:], strict=False))

    paths = torch.cartesian_prod(*[torch.arange(units)] * frames).tolist()
    scores = torch.stack([score(path) for path in paths])
    is_gold = torch.tensor(
        [[u for u, v in zip(path, [*path[1:], None], strict=True) if u != v] == [2, 0] for path in paths]
    )
    losses = AsgLosses(torch.ones(units, dtype=torch.bool))
    found = losses(Emissions(emissions, torch.tensor([frames])), torch.tensor([[2, 0]]), transitions)
    assert torch.allclose(found, scores.logsumexp(0) - scores[is_gold].logsumexp(0), atol=1e-5)


def test_asg_trains_transitions_without_a_lexicon(spoken):
    task = make_task("search_recognition", spoken, recognition_topology="asg")
    task._trains = True
    model, criterion = model_of(task), make_criterion("asg", task)
    loss, _, _ = criterion(model, batch_of(task))
    loss.backward()
    assert float(loss.detach()) > 0 and float(model.beam_decoder.transitions.grad.abs().max()) > 0
    with pytest.raises(UsageError, match="--criterion asg has no blank: say --recognition-topology asg, got ctc"):
        task = task_on(spoken)
        model_of(task)
        make_criterion("asg", task)


def test_what_is_learned(spoken):
    task = task_on(spoken)
    names = {LM, WORD, SILENCE}
    for options, learned in (
        ({}, names),
        ({"dbd_fixed_weights": True}, set()),
        ({"dbd_train_lm": True}, names | {"language_model.log_probs", "language_model.backoffs"}),
    ):
        model = model_of(task)
        before = {name for name, _ in model.named_parameters()}
        criterion = make_criterion("dbd", task, **options, **START)
        new = {name: p for name, p in model.named_parameters() if name not in before}
        assert {name.removeprefix("beam_decoder.") for name, p in new.items() if p.requires_grad} == learned
        criterion(model, batch_of(task))[0].backward()
        assert all(float(p.grad.abs().max()) > 0 for p in new.values() if p.requires_grad)
        assert model.beam_decoder.values() == pytest.approx({LM: 0.7, WORD: -0.4, SILENCE: 0.3})


def test_weights_are_learned_at_their_own_rate(spoken):
    task, moved = task_on(spoken), {}
    for rate in (1.0, 10.0):
        model = model_of(task)
        criterion = make_criterion("dbd", task, dbd_weights_rate=rate, **START)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        criterion(model, batch_of(task))[0].backward()
        optimizer.step()
        moved[rate] = {name: value - START[f"dbd_{name}"] for name, value in model.beam_decoder.values().items()}
    assert moved[10.0] == pytest.approx({name: 10 * value for name, value in moved[1.0].items()}, rel=1e-3)


def test_an_infinite_loss_names_the_utterances(spoken):
    task = task_on(spoken)
    model = model_of(task)
    criterion, batch = make_criterion("dbd", task), batch_of(task, [2, 5])
    batch["net_input"]["source"][1, 0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match=r"the loss is \[nan\] for the sentences with ids \[5\]"):
        criterion(model, batch)


@pytest.mark.filterwarnings("ignore")  # of fairseq's own code
def test_wav2vec_ctc_trains_on_raw_audio(spoken, tmp_path):
    data = shutil.copytree(spoken, tmp_path / "waveforms")
    draws, lines = np.random.default_rng(0), [str(tmp_path)]
    for number in range(8):
        np.save(tmp_path / f"{number}.npy", draws.normal(size=900 + 40 * number))
        lines.append(f"{number}.npy\t{900 + 40 * number}")
    (data / "valid.tsv").write_text("\n".join(lines) + "\n")
    task = task_on(data, recognition_audio="waveform")
    small = {
        "_name": "wav2vec2",
        "conv_feature_layers": "[(8, 10, 5)] + [(8, 3, 2)]",
        "encoder_layers": 1,
        **{name: 8 for name in ("encoder_embed_dim", "encoder_ffn_embed_dim")},
        **{name: 2 for name in ("encoder_attention_heads", "conv_pos_groups")},
        "conv_pos": 4,
    }
    w2v = {"task": {"_name": "audio_pretraining", "data": "", "normalize": False}, "model": small}
    model_cfg = {"_name": "wav2vec_ctc", "w2v_path": "", "w2v_args": w2v, "feature_grad_mult": 1.0}
    whole = {"task": task.cfg, "distributed_training": {"ddp_backend": "legacy_ddp"}, "model": model_cfg}
    model = task.build_model(OmegaConf.create(whole).model).train()
    loss, _, _ = make_criterion("dbd", task)(model, batch_of(task))
    loss.backward()
    assert float(loss.detach()) > 0
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.w2v_encoder.proj.parameters())
    assert float(model.beam_decoder.lm_weight.grad) != 0
    copied = task.build_model(OmegaConf.create(whole).model)
    copied.load_state_dict(model.state_dict())
    assert copied.beam_decoder.values() == model.beam_decoder.values()


# -------------------------------------------------------------------------------------------- what is in a checkpoint


def test_a_model_is_what_it_is_until_a_criterion_trains_the_decoder(spoken):
    task = task_on(spoken)
    assert not [name for name in model_of(task).state_dict() if name.startswith("beam_decoder")]


def trained(task, seed: int = 0, **options):
    """A model whose decoder was trained, as far as its parameters tell."""
    model = model_of(task, seed)
    make_criterion("dbd", task, **options)
    with torch.no_grad():
        for parameter in model.beam_decoder.parameters():
            parameter.sub_(0.25)
    return model


def test_the_weights_are_the_checkpoints_and_those_that_it_lacks_the_flags(spoken):
    task = task_on(spoken)
    saved = trained(task, **START, dbd_weights_rate=4.0, dbd_train_lm=True).state_dict()
    decoding = model_of(task)
    decoding.load_state_dict(dict(saved))
    values = {LM: -0.3, WORD: -1.4, SILENCE: -0.7}
    assert decoding.beam_decoder.values() == pytest.approx(values)
    assert not any(p.requires_grad for p in decoding.beam_decoder.parameters())
    assert decoding.beam_decoder.values({WORD: 2.0})[WORD] == 2.0
    resumed = trained(task, dbd_weights_rate=4.0, dbd_train_lm=True)
    resumed.load_state_dict(dict(saved))
    assert all(torch.equal(value, saved[name]) for name, value in resumed.state_dict().items())
    slower = trained(task, dbd_weights_rate=1.0, dbd_train_lm=True)
    slower.load_state_dict(dict(saved))
    assert slower.beam_decoder.values() == pytest.approx(values) and float(slower.beam_decoder.rate) == 1.0
    from_ctc = trained(task, **START)
    from_ctc.load_state_dict({name: value for name, value in saved.items() if not name.startswith("beam_decoder")})
    assert from_ctc.beam_decoder.values() == pytest.approx({LM: -1.8, WORD: -2.9, SILENCE: -2.2})
    make_criterion("dbd", task, **START)  # as fairseq-validate does, after the checkpoint
    assert task.beam_decoder.values() == pytest.approx({LM: -1.8, WORD: -2.9, SILENCE: -2.2})


def test_a_trained_language_model_needs_its_file(spoken, tmp_path):
    saved = trained(task_on(spoken), dbd_train_lm=True).state_dict()
    task = task_on(spoken, lm=False)
    model = model_of(task)
    model.load_state_dict(dict(saved))
    with pytest.raises(UsageError, match="holds probabilities of a language model: name its file, --recognition-lm"):
        beam(task, Emissions(torch.zeros(1, 2, len(task.target_dictionary)), torch.tensor([2])), [model])
    words = (spoken / "lexicon.txt").read_text().split("\n")
    unigrams = "".join(f"-1\t{word}\n" for word in {line.split("\t")[0] for line in words if line})
    count = 3 + len(unigrams.splitlines())
    (tmp_path / "other.arpa").write_text(
        f"\\data\\\nngram 1={count}\n\n\\1-grams:\n-99\t<s>\n-1\t</s>\n-1\t<unk>\n{unigrams}\n\\end\\\n"
    )
    with pytest.raises(UsageError, match="other.arpa has other n-grams than the file that the checkpoint was trained"):
        model_of(task_on(spoken, lm=False, recognition_lm=str(tmp_path / "other.arpa"))).load_state_dict(dict(saved))


# ---------------------------------------------------------------------------------------------------------- decoding


def emitted(task, text: str) -> Emissions:
    """Emissions of one utterance whose best units are those of `text`, `_` for the blank."""
    best = [task.blank if unit == "_" else task.target_dictionary.index(unit) for unit in text]
    scores = torch.zeros(1, len(best), len(task.target_dictionary))
    scores[0, torch.arange(len(best)), best] = 3.0
    return Emissions(F.log_softmax(scores, dim=2), torch.tensor([len(best)]))


@pytest.mark.parametrize("merge", ["log-add", "max"])
def test_the_beam_finds_words_of_the_lexicon(spoken, merge):
    task = task_on(spoken, recognition_merge=merge, lm=False)
    model = model_of(task)
    [found] = beam(task, emitted(task, "BBE_EE||_AL_LB_"), [model], n_best=3)
    assert found[0].words[0] == "BEE" and len(found) == 3
    assert len({" ".join(one.words) for one in found}) == 3
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    names = task.target_dictionary
    assert "".join(names[unit] for unit in found[0].units) == "".join(f"{word}|" for word in found[0].words)
    assert float(found[0].unit_scores.sum()) == pytest.approx(found[0].score)


def test_the_beam_weighs_with_the_checkpoints_weights_unless_flags_say_others(spoken):
    emissions = emitted(task_on(spoken), "AB_L__E|LAB|")
    scores = {}
    for name, flags in (("own", {}), ("flag", {"recognition_word_score": 4.0})):
        task = task_on(spoken, **flags)
        model = model_of(task)
        make_criterion("dbd", task, dbd_word_score=-4.0, dbd_lm_weight=0.5)
        [[best]] = beam(task, emissions, [model])
        scores[name] = best
        assert best.words == ["ABLE", "LAB"]
    assert scores["flag"].score - scores["own"].score > 10
    one, two = model_of(task_on(spoken)), model_of(task := task_on(spoken))
    make_criterion("dbd", task, dbd_word_score=-4.0)
    with pytest.raises(UsageError, match="trained with different weights .*; choose with --recognition-lm-weight"):
        beam(task, emissions, [one, two])


def test_where_the_beam_has_nothing_complete_nothing_was_said(spoken):
    task = task_on(spoken, recognition_beam_size=1, lm=False, recognition_silence="none", recognition_topology="asg")
    [[found]] = beam(task, emitted(task, "ABL"), [model_of(task)])
    assert (found.words, found.units, found.score) == ([], [], -float("inf"))
    too_short = Emissions(torch.zeros(1, 2, len(task.target_dictionary)), torch.tensor([0]))
    assert beam(task, too_short, [model_of(task)])[0][0].words == []


def test_validation_counts_the_errors_of_both_decoders(spoken):
    task = task_on(spoken)
    model = model_of(task)
    criterion, batch = make_criterion("dbd", task).eval(), batch_of(task)
    _, _, logs = task.valid_step(batch, model.eval(), criterion)
    total = sum(len(line.split()) for line in batch["words"])
    assert logs["_word_greedy_total"] == logs["_word_beam_total"] == total
    generated = RecognitionGenerator(task, beam).generate([model], batch)
    said = [task.target_dictionary.string(best["tokens"]).partition("=>")[2].split() for best, *_ in generated]
    assert logs["_word_beam_edits"] <= total and sum(map(len, said)) >= 0


# ---------------------------------------------------------------------------------------------------- what is refused


def test_the_flags_are_fields_that_hydra_can_set():
    lines = ["dbd_beam_threshold=inf", "dbd_gold=free", "dbd_fixed_weights=true", "dbd_word_score=-1"]
    cfg = OmegaConf.merge(OmegaConf.structured(DbdConfig), OmegaConf.from_dotlist(lines))
    assert (cfg.dbd_beam_threshold, cfg.dbd_fixed_weights, cfg.dbd_word_score) == (float("inf"), True, -1.0)
    assert str(cfg.dbd_gold) == "free" and str(DbdConfig().dbd_gold) == "in-beam"
    lines = ["recognition_lm_weight=2", "recognition_merge=max", "decoder=beam"]
    cfg = OmegaConf.merge(OmegaConf.structured(SearchRecognitionConfig), OmegaConf.from_dotlist(lines))
    assert (cfg.recognition_lm_weight, cfg.recognition_word_score) == (2.0, None)


@pytest.mark.parametrize(
    "options,message",
    [
        ({"dbd_beam_size": 0}, "--dbd-beam-size must be at least 1, got 0"),
        ({"dbd_beam_threshold": -1.0}, "--dbd-beam-threshold must be at least 0, got -1.0"),
        ({"dbd_lm_weight": float("nan")}, "--dbd-lm-weight must be a number, got nan"),
        ({"dbd_weights_rate": 0.0}, "--dbd-weights-rate must be a positive number, got 0.0"),
        ({"search_nll_weight": -1.0}, "--search-nll-weight must be a number of at least 0, got -1.0"),
        ({"dbd_train_lm": True}, "--dbd-train-lm needs a language model: say --recognition-lm"),
        (
            {"distributed_world_size": 2, "ddp_backend": "pytorch_ddp"},
            "the criterion dbd in several processes needs --ddp-backend legacy_ddp.*; got pytorch_ddp",
        ),
    ],
)
def test_flags_that_break_a_rule_are_refused(spoken, options, message):
    task = task_on(spoken, lm=False)
    model_of(task)
    with pytest.raises(UsageError, match=message):
        make_criterion("dbd", task, **options)


def test_dbd_needs_a_lexicon_and_its_task(spoken, loaded):
    task = make_task("search_recognition", spoken)
    model_of(task)
    with pytest.raises(UsageError, match="--criterion dbd needs words to find: say --recognition-lexicon"):
        make_criterion("dbd", task)
    with pytest.raises(UsageError, match="the criterion dbd needs --task search_recognition, got SearchTaggingTask"):
        make_criterion("dbd", loaded("tagger_lstm").task)


@pytest.mark.parametrize(
    "options,message",
    [
        ({"recognition_beam_size": 0}, "--recognition-beam-size must be at least 1, got 0"),
        ({"recognition_beam_threshold": -2.0}, "--recognition-beam-threshold must be at least 0, got -2.0"),
        ({"recognition_word_score": float("inf")}, "--recognition-word-score must be a number, got inf"),
        ({"decoder": "beam", "recognition_lexicon": None}, "--decoder beam needs words to find: say --recognition-lex"),
    ],
)
def test_flags_of_the_task_that_break_a_rule_are_refused(spoken, options, message):
    with pytest.raises(UsageError, match=message):
        task_on(spoken, **options)


def test_nbest_is_at_most_the_beam(spoken):
    task = task_on(spoken, decoder="beam", recognition_beam_size=4)
    with pytest.raises(UsageError, match=r"--nbest must be in \[1, 4\], the width of the beam, got 5"):
        task.build_generator([], OmegaConf.create({"nbest": 5}))
    assert task.build_generator([], OmegaConf.create({"nbest": 4})).n_best == 4


def test_a_fault_of_lexicon_or_arpa_file_is_named(copy):
    (copy / "lexicon.txt").write_text((copy / "lexicon.txt").read_text() + "WALL\tL L L L\n")
    with pytest.raises(FormatError, match="the spelling of 'WALL': `most` must be at least 3"):
        task_on(copy, recognition_topology="asg")
    lines = (copy / "ngram.arpa").read_text().splitlines()
    (copy / "ngram.arpa").write_text("\n".join(lines[:-4]) + "\n")
    with pytest.raises(FormatError, match=r"ngram.arpa, line \d+: the file is cut off"):
        task_on(copy)
