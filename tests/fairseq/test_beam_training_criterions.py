"""`global_likelihood`, `beam_search_optimization` and `minimum_risk`: what they have of their own."""

import math

import pytest
import torch
from fairseq.logging import metrics
from glue import make_criterion

from seqsearch_fairseq.adapters import FairseqStep, encode
from seqsearch_fairseq.algorithms.beam_training.prefix_scores import prefix_scores
from seqsearch_fairseq.algorithms.sequence_costs import FILL
from seqsearch_fairseq.errors import UsageError

RIVALS = ["global_likelihood", "beam_search_optimization", "minimum_risk"]
ARCHS = ["lstm", "transformer", "attention_gru", "tagger_lstm", "tagger_gru"]


def logged(criterion, logs: list[dict]) -> dict[str, float]:
    with metrics.aggregate() as found:
        criterion.reduce_metrics(logs)
    return found.get_smoothed_values()


@pytest.mark.parametrize("scores", ["log-probs", "logits"])
@pytest.mark.parametrize("arch", ARCHS)
def test_found_sequences_are_scored_as_step_by_step(loaded, arch, scores):
    """Some share tokens with the gold, some are longer or shorter; rows come in any order."""
    model = loaded(arch, double=True)
    batch, task = model.batch(4), model.task
    gold = batch["target"]
    candidates = task.search_candidates().nonzero().squeeze(1)
    sentences = torch.tensor([2, 0, 0, 3, 1, 2])
    rows = gold[sentences].masked_fill(gold[sentences].eq(task.target_dictionary.pad()), FILL)
    changed = torch.rand(rows.shape) < 0.3
    drawn = candidates[torch.randint(len(candidates), rows.shape)]
    rows = torch.where(changed & rows.ne(FILL), drawn, rows)
    rows[1, 1:] = FILL
    with torch.no_grad():
        step = FairseqStep(model.model, encode(model.model, batch["net_input"]), 4, scores)
        gold_scores = step.scores(step.teacher_forced_features(torch.arange(4), gold))
        found = prefix_scores(step, gold, gold_scores, sentences, rows)
        for sentence, row, score in zip(sentences.tolist(), rows.tolist(), found.tolist(), strict=True):
            alone = FairseqStep(model.model, encode(model.model, model.one_by_one(4)[sentence]["net_input"]), 1, scores)
            state, previous, expected = alone.start(1), alone.bos, 0.0
            for token in (token for token in row if token != FILL):
                local, state = alone(alone.embedding[previous].unsqueeze(0), state)
                expected, previous = expected + float(local[0, token]), token
            assert score == pytest.approx(expected, abs=1e-6)  # fairseq's attention is in float32


@pytest.mark.parametrize("criterion", RIVALS)
@pytest.mark.parametrize("arch", ["lstm", "transformer", "tagger_lstm"])
def test_every_parameter_is_trained_and_dropout_comes_back(loaded, arch, criterion):
    model = loaded(arch)
    model.model.train()
    loss, _, _ = make_criterion(criterion, model.task)(model.model, model.batch())
    loss.backward()
    gradients = {name: p.grad for name, p in model.model.named_parameters()}
    assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients.values())
    assert sum(float(gradient.abs().sum()) for gradient in gradients.values()) > 0
    assert all(module.training for module in model.model.modules())


@pytest.mark.parametrize("criterion", RIVALS)
def test_a_dozen_updates_lower_the_loss(loaded, criterion):
    model = loaded("tagger_lstm")
    loss = make_criterion(criterion, model.task)
    optimizer = torch.optim.Adam(model.model.parameters(), lr=0.003)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        total, _, _ = loss(model.model, model.batch(24))
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("update", ["early", "every-step", "full-sequence"])
def test_global_likelihood_logs_where_the_gold_falls_out(loaded, update):
    model = loaded("tagger_lstm")
    options = {"global_likelihood_update": update}
    narrow, wide = (
        make_criterion("global_likelihood", model.task, beam_training_size=size, **options) for size in (1, 1000)
    )
    found = logged(narrow, [narrow(model.model, model.batch())[2]])
    assert 0 < found["gold_fell_out"] <= 1 and 0 < found["fall_place"] <= 1
    found = logged(wide, [wide(model.model, model.batch(2))[2]])
    assert found["gold_fell_out"] == 0 and "fall_place" not in found


def test_the_beam_of_beam_search_optimization_follows_the_tasks_epoch(loaded):
    model = loaded("tagger_lstm")
    growing = {"beam_search_optimization_start_size": 2, "beam_search_optimization_growth_epochs": 3}
    criterion = make_criterion("beam_search_optimization", model.task, beam_training_size=4, **growing)
    sizes = []
    for epoch in range(1, 9):
        model.task.begin_epoch(epoch, model.model)
        sizes.append(criterion.beam_size)
    assert sizes == [2, 2, 2, 3, 3, 3, 4, 4]
    found = logged(criterion, [criterion(model.model, model.batch())[2]])
    assert found["beam_size"] == 4 and 0 <= found["violations"] <= 1


@pytest.mark.parametrize("cost", ["hamming", "normalised-hamming", "edit", "bleu"])
def test_a_violation_is_weighed_by_what_it_costs(loaded, cost):
    model = loaded("lstm")
    plain, weighed = (
        make_criterion("beam_search_optimization", model.task, beam_search_optimization_cost=name).eval()
        for name in ("constant", cost)
    )
    losses = [criterion(model.model, model.batch())[0] for criterion in (plain, weighed)]
    assert 0 < float(losses[1].detach()) != pytest.approx(float(losses[0].detach()))


@pytest.mark.parametrize("arch", ["lstm", "tagger_lstm"])
def test_minimum_risk_logs_its_candidates(loaded, arch):
    model = loaded(arch)
    beam, sampled = (
        make_criterion("minimum_risk", model.task, beam_training_size=6, minimum_risk_candidates=name)
        for name in ("beam", "sample")
    )
    found, drawn = (logged(criterion, [criterion(model.model, model.batch())[2]]) for criterion in (beam, sampled))
    assert drawn["candidates"] < found["candidates"] <= 6
    assert 0 <= found["oracle_cost"] <= found["expected_risk"]
    assert found["oracle_cost"] <= found["best_cost"]
    with_gold = make_criterion("minimum_risk", model.task, beam_training_size=6, minimum_risk_gold=True)
    assert logged(with_gold, [with_gold(model.model, model.batch())[2]])["oracle_cost"] == 0


def test_validation_draws_nothing(loaded):
    model = loaded("lstm")
    criterion = make_criterion("minimum_risk", model.task, minimum_risk_candidates="sample").eval()
    before = torch.get_rng_state()
    criterion(model.model, model.batch())
    assert torch.equal(torch.get_rng_state(), before)


def test_no_candidate_is_longer_than_its_limit_or_the_decoders_positions(loaded, monkeypatch):
    model = loaded("transformer")
    batch = model.batch()
    longest = int(model.task.search_lengths(batch).max())
    step = FairseqStep(model.model, encode(model.model, batch["net_input"]), len(batch["target"]))
    criterion = make_criterion("minimum_risk", model.task, minimum_risk_extra_length=3)

    class Inputs:
        lengths, candidates = model.task.search_lengths(batch), criterion.candidates

    Inputs.step = step
    found = criterion._candidates(Inputs).tokens.ne(FILL).sum(dim=2)
    assert bool((found <= Inputs.lengths.unsqueeze(1) + 3).all())
    monkeypatch.setattr(model.model.decoder, "max_positions", lambda: longest)
    assert int(criterion._candidates(Inputs).tokens.ne(FILL).sum(dim=2).max()) <= longest


@pytest.mark.parametrize("criterion,flag", [("minimum_risk", "minimum_risk_cost"), ("beam_search_optimization", None)])
def test_chunks_can_be_the_cost(loaded, criterion, flag):
    model = loaded("tagger_gru")
    dictionary = model.task.target_dictionary
    for i in range(dictionary.nspecial, len(dictionary)):
        if not dictionary.symbols[i].startswith("madeupword"):
            dictionary.symbols[i] = ["O", "B-X", "I-X", "B-Y", "I-Y"][i % 5]
    options = {flag or "beam_search_optimization_cost": "chunk-f1"}
    loss, _, _ = make_criterion(criterion, model.task, **options)(model.model, model.batch())
    assert 0 < float(loss.detach())


REFUSED = [
    ("global_likelihood", {"beam_training_size": 0}, "--beam-training-size must be at least 1, got 0"),
    ("global_likelihood", {"search_nll_weight": -1.0}, "--search-nll-weight must be a number of at least 0, got -1.0"),
    (
        "beam_search_optimization",
        {"beam_search_optimization_margin": math.nan},
        "--beam-search-optimization-margin must be a number of at least 0, got nan",
    ),
    (
        "beam_search_optimization",
        {"beam_search_optimization_start_size": 11},
        r"--beam-search-optimization-start-size must be in \[0, 10\], .* got 11",
    ),
    (
        "beam_search_optimization",
        {"beam_search_optimization_growth_epochs": 0},
        "--beam-search-optimization-growth-epochs must be at least 1, got 0",
    ),
    (
        "beam_search_optimization",
        {"beam_search_optimization_cost": "chunk-f1"},
        "--beam-search-optimization-cost chunk-f1: chunk F1 needs BIO labels",
    ),
    (
        "minimum_risk",
        {"minimum_risk_sharpness": 0.0},
        "--minimum-risk-sharpness must be a positive number, got 0.0",
    ),
    ("minimum_risk", {"minimum_risk_extra_length": -1}, "--minimum-risk-extra-length must be at least 0, got -1"),
    ("minimum_risk", {"minimum_risk_cost": "chunk-f1"}, "--minimum-risk-cost chunk-f1: chunk F1 needs BIO labels"),
]


@pytest.mark.parametrize("criterion,flags,message", REFUSED)
def test_flags_out_of_range_are_refused(loaded, criterion, flags, message):
    with pytest.raises(UsageError, match=message):
        make_criterion(criterion, loaded("tagger_lstm").task, **flags)


def test_chunk_f1_of_a_translation_is_refused(loaded):
    with pytest.raises(UsageError, match="--minimum-risk-cost chunk-f1 is for search_tagging"):
        make_criterion("minimum_risk", loaded("lstm").task, minimum_risk_cost="chunk-f1")
