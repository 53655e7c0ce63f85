"""`diagnose`: its figures against fairseq-generate, against validation and against plain loops, and its advice."""

import json
import math
import re

import commands
import pytest
import torch
from fairseq.dataclass.configs import GenerationConfig
from glue import Loaded, make_criterion
from sacrebleu.metrics import BLEU

from seqsearch_fairseq.diagnosis.advice import advice
from seqsearch_fairseq.diagnosis.measures import Diagnosis, diagnose
from seqsearch_fairseq.diagnosis.report import as_json, as_text

FIGURES = Diagnosis(
    sentences=10, tokens=100, quality="accuracy", beam=5, gold_bits=1.0, free_running_bits=1.1, greedy=80.0,
    beam_log_probs=80.2, beam_logits=80.1, oracle=82.0, search_errors=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def tagger(trained):
    return Loaded.from_checkpoint(trained("tagger_lstm"), double=True)


@pytest.fixture(scope="module")
def of_tagger(tagger):
    return diagnose(tagger.task, tagger.model, tagger.batches("test", 50), 3)


def best(loaded: Loaded, beam: int, scores: str) -> dict[int, str]:
    """The best hypothesis of each test sentence by fairseq's own generator, as text."""
    task, model = loaded
    with task.decoding_with(scores):
        generator = task.build_generator([model], GenerationConfig(beam=beam, max_len_a=1.5, max_len_b=10))
        return {
            i: task.target_dictionary.string(hypotheses[0]["tokens"])
            for batch in loaded.batches("test", 50)
            for i, hypotheses in zip(batch["id"].tolist(), task.inference_step(generator, [model], batch), strict=True)
        }


def encodings(loaded: Loaded, monkeypatch, call) -> int:
    """How often `call` runs the encoder."""
    encoder, count = loaded.model.encoder, []
    plain = encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda *args, **given: (count.append(1), plain(*args, **given))[1])
    call()
    return len(count)


@pytest.mark.parametrize("arch", ["tagger_lstm", "lstm"])
def test_the_encoder_is_run_once_for_all_decoders(trained, arch, monkeypatch):
    loaded = Loaded.from_checkpoint(trained(arch))
    batch = loaded.batches("test", 10)[:1]
    assert encodings(loaded, monkeypatch, lambda: diagnose(loaded.task, loaded.model, batch, 3)) == 1


def test_validation_runs_the_encoder_once_for_the_loss_and_once_for_all_decoders(tagger, monkeypatch):
    criterion = make_criterion("cross_entropy", tagger.task).eval()
    batch = tagger.batches("test", 10)[0]
    assert encodings(tagger, monkeypatch, lambda: tagger.task.valid_step(batch, tagger.model, criterion)) == 2


def gold_of(loaded: Loaded) -> dict[int, str]:
    task = loaded.task
    return {
        i: task.target_dictionary.string(row[row.ne(task.target_dictionary.pad())])
        for batch in loaded.batches("test", 50)
        for i, row in zip(batch["id"].tolist(), batch["target"], strict=True)
    }


def accuracy(found: dict[int, str], gold: dict[int, str]) -> float:
    pairs = [pair for i in gold for pair in zip(found[i].split(), gold[i].split(), strict=True)]
    return 100 * sum(a == b for a, b in pairs) / len(pairs)


def test_the_qualities_of_a_tagger_are_those_of_fairseq_s_search(tagger, of_tagger):
    gold = gold_of(tagger)
    assert of_tagger.sentences == len(gold) == 200 and of_tagger.quality == "accuracy"
    assert of_tagger.greedy == pytest.approx(accuracy(best(tagger, 1, "log-probs"), gold), abs=1e-9)
    assert of_tagger.beam_log_probs == pytest.approx(accuracy(best(tagger, 3, "log-probs"), gold), abs=1e-9)
    assert of_tagger.beam_logits == pytest.approx(accuracy(best(tagger, 3, "logits"), gold), abs=1e-9)


def test_bits_oracle_and_search_errors_of_a_tagger_are_those_of_plain_loops(tagger, of_tagger):
    task, model = tagger
    labels = task.search_candidates().nonzero().squeeze(1).tolist()
    bits = {"gold": 0.0, "own": 0.0}
    right = tokens = errors = 0
    with torch.no_grad():
        for sample in tagger.batches("test", 1):
            encoder_out = model.encoder(**{k: v for k, v in sample["net_input"].items() if k != "prev_output_tokens"})
            gold = sample["target"][0].tolist()

            def local(prefix, encoder_out=encoder_out):
                inputs = torch.tensor([[task.target_dictionary.eos(), *prefix]])
                return torch.log_softmax(model.decoder(inputs, encoder_out=encoder_out)[0][0, -1], dim=0).tolist()

            beams, own = [(0.0, [])], []
            of_gold = 0.0
            for t, label in enumerate(gold):
                beams = [(score + local(prefix)[v], [*prefix, v]) for score, prefix in beams for v in labels]
                beams = sorted(beams, key=lambda found: -found[0])[:3]
                bits["gold"] -= local(gold[:t])[label] / math.log(2)
                bits["own"] -= local(own)[label] / math.log(2)
                of_gold += local(gold[:t])[label]
                own.append(max(labels, key=local(own).__getitem__))
            right += max(sum(a == b for a, b in zip(prefix, gold, strict=True)) for _, prefix in beams)
            errors += of_gold > beams[0][0] + 1e-6
            tokens += len(gold)
    assert of_tagger.tokens == tokens
    assert of_tagger.gold_bits == pytest.approx(bits["gold"] / tokens, abs=1e-9)
    assert of_tagger.free_running_bits == pytest.approx(bits["own"] / tokens, abs=1e-9)
    assert of_tagger.oracle == pytest.approx(100 * right / tokens, abs=1e-9)
    assert of_tagger.search_errors == pytest.approx(100 * errors / 200, abs=1e-9)


def test_a_beam_as_wide_as_the_space_makes_no_search_error_and_its_oracle_is_right(tagger):
    short = [batch for batch in tagger.batches("test", 1) if batch["ntokens"] <= 3 and len(batch["target"]) == 1]
    found = diagnose(tagger.task, tagger.model, short, 27)  # three labels, three words
    assert len(short) > 10 and found.search_errors == 0 and found.oracle == 100


def test_batches_do_not_matter(tagger, of_tagger):
    other = diagnose(tagger.task, tagger.model, tagger.batches("test", 7), 3)
    assert other._asdict() == pytest.approx(of_tagger._asdict(), abs=1e-9)


@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_a_translation_model_is_measured_by_bleu(trained, arch):
    loaded = Loaded.from_checkpoint(trained(arch))
    found = diagnose(loaded.task, loaded.model, loaded.batches("test", 50), 3)
    gold = gold_of(loaded)
    for scores, quality in (("log-probs", found.beam_log_probs), ("logits", found.beam_logits)):
        texts = best(loaded, 3, scores)
        score = BLEU(tokenize="none", force=True).corpus_score([texts[i] for i in gold], [list(gold.values())]).score
        assert quality == pytest.approx(score, abs=1e-6)
    assert found.quality == "BLEU" and found.oracle > found.beam_log_probs and found.exposure_bias > 0


@pytest.mark.parametrize("decoder", ["greedy", "soft-beam"])
def test_the_decoder_that_a_model_was_trained_with_does_not_matter(trained, decoder):
    plain, other = (Loaded.from_checkpoint(trained("lstm"), **options) for options in ({}, {"decoder": decoder}))
    found = [diagnose(loaded.task, loaded.model, loaded.batches("valid", 24), 3) for loaded in (plain, other)]
    assert found[0] == found[1] and other.task.cfg.decoder == decoder


def test_exposure_bias_is_what_scheduled_sampling_logs_at_validation(trained, tmp_path):
    model = trained("tagger_lstm")
    loaded = Loaded.from_checkpoint(model)
    found = diagnose(loaded.task, loaded.model, loaded.batches("valid", 20), 3)
    flags = [
        *commands.TINY["tagger_lstm"],
        *commands.OPTIMIZER,
        "--restore-file",
        model.checkpoint,
        "--reset-optimizer",
    ]
    logged = commands.train(
        model.data, model.task, tmp_path, *flags, "--criterion", "differentiable_scheduled_sampling", "--lr", "1e-12",
        "--reset-lr-scheduler", "--reset-meters", "--reset-dataloader", "--max-epoch", 1,
    ).logged("valid")  # fmt: skip
    assert found.exposure_bias == pytest.approx(logged[0]["valid_exposure_bias"], abs=2e-3)


@pytest.mark.parametrize(
    "measure,change,little,much",
    [
        ("exposure_bias", {"free_running_bits": 2.0}, "little to gain", "differentiable_scheduled_sampling"),
        ("beam_gain", {"greedy": 78.0}, "decode greedily", "decode with a beam"),
        ("label_bias", {"beam_logits": 83.0}, "log-probs: locally", "--decode-scores logits.*global_likelihood"),
        ("oracle_gain", {"oracle": 95.0}, "a better model is needed", "minimum_risk"),
        ("search_errors", {"search_errors": 20.0}, "mistakes are the model's", "beam_search_optimization"),
    ],
)
def test_each_figure_has_its_advice(measure, change, little, much):
    assert little in advice(FIGURES)[measure]
    changed = advice(FIGURES._replace(**change))
    assert re.search(much, changed[measure])
    assert {name for name, text in changed.items() if text != advice(FIGURES)[name]} == {measure}


def test_advice_on_a_beam_and_on_ranking_depends_on_the_two_biases():
    figures = FIGURES._replace(greedy=78.0, oracle=87.0)
    assert "soft_beam_direct" not in advice(figures)["beam_gain"] and "seldom pays" in advice(figures)["oracle_gain"]
    assert "soft_beam_direct" in advice(figures._replace(free_running_bits=2.0))["beam_gain"]
    assert "minimum_risk" in advice(figures._replace(beam_logits=81.0))["oracle_gain"]


def test_the_report_as_text_and_as_json():
    text = as_text(FIGURES, "valid of DATA")
    assert "valid of DATA: 10 sentences, 100 tokens" in text
    assert "exposure bias  0.10 bits a token" in text and "beam 5 80.20, greedy 80.00" in text
    found = json.loads(as_json(FIGURES))
    assert found["beam_gain"] == pytest.approx(0.2) and found["oracle"] == 82.0
    assert found["advice"] == advice(FIGURES)


def command(*arguments):
    """`python -m seqsearch_fairseq diagnose ARGUMENTS` in this process."""
    return commands.script("../seqsearch_fairseq/__main__.py", "diagnose", *arguments)


def test_the_command_prints_the_figures_of_the_validation_set(trained):
    model = trained("tagger_lstm")
    loaded = Loaded.from_checkpoint(model)
    found = diagnose(loaded.task, loaded.model, loaded.batches("valid", 20), 3)
    result = command(model.data, "--path", model.checkpoint, "--beam", 3, "--json")
    assert result.returncode == 0 and result.stderr == ""
    printed = json.loads(result.stdout)
    assert {name: printed[name] for name in found._fields if name != "quality"} == pytest.approx(
        {name: value for name, value in found._asdict().items() if name != "quality"}, abs=1e-4
    )
    text = command(
        model.data, "--path", model.checkpoint, "--beam", 3, "--gen-subset", "test", "--sentences", 20
    ).stdout
    assert re.match(rf"test of {re.escape(str(model.data))}: \d+ sentences", text)


@pytest.mark.parametrize(
    "options,message",
    [
        (["--beam", 4], r"--beam must be in \[1, 3\], the number of candidate tokens, got 4"),
        (["--gen-subset", "nowhere"], "split 'nowhere' is not in .*"),
        (["--path", "nowhere.pt"], "checkpoint nowhere.pt does not exist"),
        (["--path", __file__], "is no checkpoint; name a file that fairseq-train wrote"),
    ],
)
def test_what_cannot_be_diagnosed_is_one_sentence(trained, options, message):
    model = trained("tagger_lstm")
    result = command(model.data, "--path", model.checkpoint, *options)
    assert result.returncode == 1 and result.stdout == "" and re.search(f"^error: .*{message}", result.stderr)
