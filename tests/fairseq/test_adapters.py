"""`FairseqStep`: stepping through a decoder with soft inputs is what the decoder does by itself with hard ones."""

import oracles
import pytest
import torch
import torch.nn.functional as F
from builders import first_that, is_hard, smallest_gap
from fairseq.models.fconv import FConvDecoder
from fairseq.models.lstm import LSTMDecoder
from fairseq.modules import AdaptiveInput
from fairseq_models import (
    FAMILIES,
    attention_gru,
    dictionary,
    full_scores,
    lstm,
    random_targets,
    source,
    tagger,
    transformer,
)
from torch import nn

from seqsearch_fairseq.adapters import SUPPORTED, FairseqStep, check_decoder
from seqsearch_fairseq.algorithms.costs import hamming
from seqsearch_fairseq.algorithms.hard_beam import hard_beam
from seqsearch_fairseq.algorithms.relaxations import TOP_K
from seqsearch_fairseq.algorithms.soft_beam import direct_objective, soft_beam
from seqsearch_fairseq.algorithms.step import first_inputs
from seqsearch_fairseq.errors import UsageError

HARD = 1e8  # alpha that stands for infinity, in float64
LENGTHS = (4, 3, 2)  # of the outputs; a tagger's source is at least as long

VARIANTS = {
    "lstm": lambda: lstm(),
    "lstm, 2 layers": lambda: lstm(layers=2),
    "lstm, residuals": lambda: lstm(layers=2, residuals=True),
    "lstm, no attention": lambda: lstm(layers=2, attention=False),
    "lstm, shared output": lambda: lstm(share_input_output_embed=True),
    "lstm, all shared": lambda: lstm(joined=True),
    "lstm, bidirectional encoder": lambda: lstm(layers=2, bidirectional=True),
    "lstm, output of another size": lambda: lstm(out_embed_dim=4),
    "lstm, embedding of another size": lambda: lstm(embed_dim=4),
    "transformer": lambda: transformer(),
    "transformer, 2 layers": lambda: transformer(layers=2),
    "transformer, pre-norm": lambda: transformer(encoder_normalize_before=True, decoder_normalize_before=True),
    "transformer, no final norm": lambda: transformer(decoder_normalize_before=True, no_decoder_final_norm=True),
    "transformer, learned positions": lambda: transformer(encoder_learned_pos=True, decoder_learned_pos=True),
    "transformer, no positions": lambda: transformer(no_token_positional_embeddings=True),
    "transformer, normed embedding": lambda: transformer(layernorm_embedding=True),
    "transformer, cross+self attention": lambda: transformer(
        layers=2, no_cross_attention=True, cross_self_attention=True
    ),
    "transformer, no cross attention": lambda: transformer(no_cross_attention=True),
    "transformer, shared output": lambda: transformer(share_decoder_input_output_embed=True),
    "transformer, all shared": lambda: transformer(joined=True),
    "transformer, unscaled embedding": lambda: transformer(no_scale_embedding=True),
    "transformer, other input and output sizes": lambda: transformer(decoder_input_dim=4, decoder_output_dim=8),
    "tagger, lstm": lambda: tagger(),
    "tagger, lstm, 2 layers": lambda: tagger(encoder_layers=2, decoder_layers=2),
    "tagger, gru": lambda: tagger(cell="gru"),
    "tagger, gru, 2 layers": lambda: tagger(cell="gru", encoder_layers=2, decoder_layers=2),
    "attention_gru": lambda: attention_gru(),
    "attention_gru, 2 layers": lambda: attention_gru(encoder_layers=2),
}
each_variant = pytest.mark.parametrize("build", VARIANTS.values(), ids=VARIANTS)
each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
each_top_k = pytest.mark.parametrize("top_k", TOP_K)


@pytest.fixture
def wide_attention(monkeypatch):
    """fairseq computes attention weights in float32 whatever the model's dtype; here they stay in float64."""

    def softmax(logits, dim, onnx_trace=False):
        return F.softmax(logits, dim=dim)

    monkeypatch.setattr("fairseq.utils.softmax", softmax)  # the Transformer's, with an incremental state
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # the LSTM's: `attn_scores.float()`


def encode(model, seed: int = 0):
    src = source(model, seed=seed)
    return model.encoder(**src._asdict()), len(src.src_tokens)


def step_of(model, scores: str = "log-probs", seed: int = 0) -> FairseqStep:
    return FairseqStep(model, *encode(model, seed), scores)


def repeated(model, encoder_out, batch: int, beams: int):
    """`encoder_out` with each sentence `beams` times."""
    return model.encoder.reorder_encoder_out(encoder_out, torch.arange(batch).repeat_interleave(beams))


def stepped(step: FairseqStep, targets: torch.Tensor) -> torch.Tensor:
    """(B, T, V) scores of stepping through the tokens `targets` (B, T)."""
    state, inputs, columns = step.start(1), first_inputs(step, 1), []
    for t in range(targets.size(1)):
        scores, state = step(inputs, state)
        columns.append(scores)
        inputs = step.embedding[targets[:, t]]
    return torch.stack(columns, dim=1)


# ------------------------------------------------------------------------------------------------ the same decoder


@each_variant
def test_stepping_with_gold_embeddings_gives_the_teacher_forced_scores(build, wide_attention):
    model = build()
    encoder_out, batch = encode(model)
    targets = random_targets(model, batch, 4)
    expected = full_scores(model, encoder_out, targets)
    found = stepped(FairseqStep(model, encoder_out, batch), targets)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    other = full_scores(model, encoder_out, random_targets(model, batch, 4, seed=2))
    assert (expected - other)[:, 1:].abs().max() > 0.1  # what is fed does matter


@each_family
def test_fairseqs_own_float32_attention_differs_by_no_more_than_its_rounding(family):
    model = family()
    encoder_out, batch = encode(model)
    targets = random_targets(model, batch, 4)
    found = stepped(FairseqStep(model, encoder_out, batch), targets)
    # attention weights that are rounded to float32 are right to 6e-8
    torch.testing.assert_close(found, full_scores(model, encoder_out, targets), rtol=1e-6, atol=1e-6)


@each_variant
def test_beams_that_are_reordered_score_what_the_decoder_gives_their_prefixes(build, wide_attention):
    model, beams, length = build(), 3, 4
    encoder_out, batch = encode(model)
    step = FairseqStep(model, encoder_out, batch)
    tokens = random_targets(model, batch * beams, length)
    prefixes = tokens[:, :0]
    state, inputs = step.start(beams), first_inputs(step, beams)
    for t in range(length):
        scores, state = step(inputs, state)
        whole = torch.cat([prefixes, tokens[:, t : t + 1]], dim=1)
        expected = full_scores(model, repeated(model, encoder_out, batch, beams), whole)[:, -1]
        torch.testing.assert_close(scores, expected, rtol=1e-10, atol=1e-10)
        order = (torch.randint(beams, (batch, beams)) + beams * torch.arange(batch).unsqueeze(1)).flatten()
        state, prefixes = state.reorder(order), whole[order]
        inputs = step.embedding[prefixes[:, -1]]


@each_family
def test_a_sentences_scores_do_not_depend_on_its_batch(family, wide_attention):
    model = family()
    src = source(model)
    targets = random_targets(model, len(src.src_lengths), 2)
    together = stepped(step_of(model), targets)
    for b, length in enumerate(src.src_lengths.tolist()):
        words = src.src_tokens[b : b + 1]
        alone = model.encoder(words[words != model.encoder.dictionary.pad()].unsqueeze(0), torch.tensor([length]))
        found = stepped(FairseqStep(model, alone, 1), targets[b : b + 1])[0]
        torch.testing.assert_close(found, together[b], rtol=1e-10, atol=1e-10)


@each_family
def test_logits_are_the_decoders_own_outputs(family, wide_attention):
    model = family()
    encoder_out, batch = encode(model)
    targets = random_targets(model, batch, 3)
    logits = stepped(FairseqStep(model, encoder_out, batch, "logits"), targets)
    torch.testing.assert_close(
        torch.log_softmax(logits, dim=2), full_scores(model, encoder_out, targets), rtol=1e-10, atol=1e-10
    )
    assert (logits.logsumexp(dim=2).abs() > 1e-3).all()


@each_family
def test_a_step_can_be_started_again_with_another_beam_size(family):
    model = family()
    step, targets = step_of(model), random_targets(model, 3, 3)
    before = stepped(step, targets)
    hard_beam(step, torch.tensor(LENGTHS), 3, torch.ones(len(model.decoder.dictionary), dtype=torch.bool))
    torch.testing.assert_close(stepped(step, targets), before, rtol=0, atol=0)


@each_family
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_scores_are_float32_or_wider_whatever_the_models_dtype(family, dtype):
    model = family().to(dtype)
    scores = stepped(step_of(model), random_targets(model, 3, 2))
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.exp().sum(dim=2), torch.ones(3, 2))


# --------------------------------------------------------------------------------------------- the search through it


def candidates_of(model) -> torch.Tensor:
    words = model.decoder.dictionary
    return torch.arange(len(words)) >= words.nspecial


def relaxed_losses(model, gold: torch.Tensor, beam_size: int, alpha: float, top_k: str, seed: int = 0):
    costs = hamming(gold, len(model.decoder.dictionary), torch.float64)
    step, lengths = step_of(model, seed=seed), torch.tensor(LENGTHS)
    return direct_objective(soft_beam(step, lengths, costs, beam_size, alpha, candidates_of(model), top_k), alpha)


def prefix_models(model, seed: int) -> list[oracles.NextScores]:
    """Each sentence as the oracle reads it: the decoder's plain forward over the whole prefix, time and again."""
    encoder_out, batch = encode(model, seed)

    def build(b: int) -> oracles.NextScores:
        own = model.encoder.reorder_encoder_out(encoder_out, torch.tensor([b]))

        @torch.no_grad()
        def next_scores(prefix):
            padded = torch.tensor([[*prefix, 0]])  # the last token is not read
            return full_scores(model, own, padded)[0, -1].numpy()

        return next_scores

    return [build(b) for b in range(batch)]


def hard_source(model, beam_size: int) -> int:
    """The seed of the first source in which no search comes near a tie."""

    def has_no_near_tie(seed: int) -> bool:
        allowed = candidates_of(model).nonzero().flatten().tolist()
        models = zip(prefix_models(model, seed), LENGTHS, strict=True)
        return all(is_hard(smallest_gap(scores, length, beam_size, allowed), HARD) for scores, length in models)

    return first_that(lambda seed: seed, has_no_near_tie)


@each_top_k
@each_family
@pytest.mark.parametrize("beam_size", [1, 3])
def test_large_alpha_gives_the_cost_of_what_beam_search_over_the_plain_decoder_returns(family, beam_size, top_k):
    model = family()
    seed, gold = hard_source(model, beam_size), random_targets(model, len(LENGTHS), max(LENGTHS))
    losses = relaxed_losses(model, gold, beam_size, HARD, top_k, seed)
    allowed = candidates_of(model).nonzero().flatten().tolist()
    for b, (next_scores, length) in enumerate(zip(prefix_models(model, seed), LENGTHS, strict=True)):
        best = oracles.beam_search(next_scores, length, beam_size, allowed)[0]
        if beam_size == 1:
            assert best.tokens == oracles.greedy(next_scores, length, allowed).tokens
        wrong = sum(token != right for token, right in zip(best.tokens, gold[b].tolist(), strict=False))
        # float32 attention (see `wide_attention`) moves scores by 1e-7, far less than the gaps that `is_hard` asks for
        assert float(losses[b].detach()) == pytest.approx(wrong, abs=1e-6)


@each_family
def test_hard_beam_is_beam_search_over_the_plain_decoder(family):
    model, beam_size = family(), 3
    seed = hard_source(model, beam_size)
    found = hard_beam(step_of(model, seed=seed), torch.tensor(LENGTHS), beam_size, candidates_of(model))
    allowed = candidates_of(model).nonzero().flatten().tolist()
    for b, (next_scores, length) in enumerate(zip(prefix_models(model, seed), LENGTHS, strict=True)):
        expected = oracles.beam_search(next_scores, length, beam_size, allowed)
        assert found.tokens[b, :, :length].tolist() == [list(hypothesis.tokens) for hypothesis in expected]


@each_top_k
@each_family
def test_the_gradient_along_a_direction_of_all_parameters_is_that_of_finite_differences(family, top_k, wide_attention):
    model, alpha, width = family(), 2.0, 1e-6
    gold = random_targets(model, len(LENGTHS), max(LENGTHS))
    parameters = list(model.parameters())

    def loss() -> torch.Tensor:
        return relaxed_losses(model, gold, 2, alpha, top_k).sum()

    gradients = torch.autograd.grad(loss(), parameters)
    directions = [torch.randn_like(parameter) for parameter in parameters]
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
    ends = []
    with torch.no_grad():
        for sign in (1, -1):
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter += sign * width * direction
            ends.append(float(loss()))
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter -= sign * width * direction
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * width), rel=1e-5)
    assert abs(slope) > 1e-3


@each_family
def test_every_parameter_gets_a_finite_gradient(family):
    model = family().float().train()
    gold = random_targets(model, len(LENGTHS), max(LENGTHS))
    relaxed_losses(model, gold, 3, 1.0, "squared-distance").sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


@each_variant
@pytest.mark.parametrize("alpha", [1.0, 30.0])
@pytest.mark.parametrize("scores", ["log-probs", "logits"])
def test_the_fused_step_has_the_gradients_of_the_plain_one(build, scores, alpha, wide_attention, monkeypatch):
    model = build()
    gold, lengths = random_targets(model, len(LENGTHS), max(LENGTHS)), torch.tensor(LENGTHS)

    def gradients() -> list[torch.Tensor]:
        step = step_of(model, scores)
        candidates = torch.ones(len(model.decoder.dictionary), dtype=torch.bool)
        costs = hamming(gold, len(candidates), torch.float64)
        loss = direct_objective(soft_beam(step, lengths, costs, 3, alpha, candidates), alpha).sum()
        return list(torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True, allow_unused=True))

    assert step_of(model, scores).output is not None
    fused = gradients()
    monkeypatch.setattr(FairseqStep, "output", None)
    monkeypatch.setattr(FairseqStep, "rows_share", False)  # K rows for each sentence in all steps
    torch.testing.assert_close(fused, gradients(), rtol=1e-9, atol=1e-10)


def test_an_output_layer_that_is_more_than_a_product_is_not_fused():
    model = tagger()
    model.decoder.fc_out = nn.Sequential(model.decoder.fc_out)
    assert step_of(model).output is None
    model = transformer()
    model.decoder.output_projection.register_forward_hook(lambda module, args, output: 2 * output)
    assert step_of(model).output is None


@each_family
def test_a_model_in_half_precision_is_searched_in_float32(family):
    model = family().bfloat16()
    gold = random_targets(model, len(LENGTHS), max(LENGTHS))
    costs, lengths = hamming(gold, len(model.decoder.dictionary)), torch.tensor(LENGTHS)
    result = soft_beam(step_of(model), lengths, costs, 3, 1.0, candidates_of(model))
    assert result.scores.dtype == result.costs.dtype == torch.float32
    assert torch.isfinite(direct_objective(result, 1.0)).all()


# ------------------------------------------------------------------------------------------------------- left behind


@each_family
def test_no_hook_is_left_on_the_embedding(family):
    model = family()
    relaxed_losses(model, random_targets(model, len(LENGTHS), max(LENGTHS)), 2, 1.0, "successive")
    assert not model.decoder.embed_tokens._forward_hooks


@each_family
def test_no_hook_is_left_on_the_embedding_when_the_decoder_fails(family, monkeypatch):
    model = family()
    step = step_of(model)

    def fail(*args, **kwargs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model.decoder, "extract_features", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        step(first_inputs(step, 1), step.start(1))
    assert not model.decoder.embed_tokens._forward_hooks


@each_variant
def test_some_of_the_sentences_with_many_rows_each(build, wide_attention):
    """The state of two steps goes on with three tokens for each of two sentences, in another order."""
    model = build()
    encoder_out, batch = encode(model)
    step = FairseqStep(model, encoder_out, batch)
    if getattr(model.decoder.layers[0] if hasattr(model.decoder, "layers") else None, "cross_self_attention", False):
        with pytest.raises(UsageError, match="--cross-self-attention"):
            step.narrow(torch.tensor([2, 0]), {})
        return
    prefixes, sentences, width = random_targets(model, batch, 2), torch.tensor([2, 0]), 3
    tokens = random_targets(model, len(sentences) * width, 1, seed=5)
    with torch.no_grad():
        state, inputs = step.start(1), first_inputs(step, 1)
        for t in range(2):
            _, state = step.advance(inputs, state)
            inputs = step.embedding[prefixes[:, t]]
        _, state = step.advance(inputs, state)
        narrowed, shared = step.narrow(sentences, state.shared)
        order = sentences.repeat_interleave(width)
        state = state.reorder(order)._replace(shared=shared)
        features, state = narrowed.advance(narrowed.inputs_of(tokens[:, 0]), state)
        found = narrowed.scores(features)
        targets = torch.cat([prefixes[order], tokens, tokens], dim=1)
        expected = full_scores(model, model.encoder.reorder_encoder_out(encoder_out, order), targets)[:, 3]
    torch.testing.assert_close(found, expected)
    assert state.position == 4


@each_family
def test_dropout_is_off_for_a_while(family):
    model = family(dropout_out=0.1) if family is lstm else family()
    step = step_of(model.train())
    for module in model.decoder.modules():
        if hasattr(module, "p"):
            module.p = 0.1
    assert step.has_noise
    with step.noise_free():
        assert not step.has_noise and not model.decoder.training
    assert step.has_noise and all(module.training for module in model.modules())


# --------------------------------------------------------------------------------------------------------- refusals


@each_variant
def test_supported_decoders_are_accepted(build):
    check_decoder(build().decoder)


@pytest.mark.parametrize("build", [lambda: FConvDecoder(dictionary(), 4), lambda: nn.Linear(1, 1)])
def test_an_unknown_decoder_is_refused_and_the_known_ones_are_named(build):
    decoder = build()
    known = ", ".join(kind.__name__ for kind in SUPPORTED)
    with pytest.raises(UsageError, match=f"cannot step through the decoder {type(decoder).__name__}.*: {known}"):
        check_decoder(decoder)


@pytest.mark.parametrize(
    "build",
    [
        lambda: LSTMDecoder(dictionary(), 4, 4, 4, encoder_output_units=4, adaptive_softmax_cutoff=[3]),
        lambda: transformer(adaptive_softmax_cutoff="3").decoder,
    ],
    ids=["lstm", "transformer"],
)
def test_an_adaptive_softmax_is_refused(build):
    with pytest.raises(UsageError, match="has an adaptive softmax.*without --adaptive-softmax-cutoff"):
        check_decoder(build())


def test_an_adaptive_input_is_refused():
    decoder = transformer().decoder
    decoder.embed_tokens = AdaptiveInput(len(decoder.dictionary), decoder.dictionary.pad(), 6, 1, 6, [4])
    with pytest.raises(UsageError, match="embeds its input with AdaptiveInput;.*no --adaptive-input"):
        check_decoder(decoder)


def test_layerdrop_is_refused():
    with pytest.raises(UsageError, match=r"drops layers at random \(--decoder-layerdrop 0.3\).*--decoder-layerdrop 0"):
        check_decoder(transformer(decoder_layerdrop=0.3).decoder)


def test_checkpointed_activations_are_refused():
    """fairseq runs a checkpointed layer again in the backward pass, on a cache that has grown since: with the loss
    right, the encoder gets no gradient and the decoder a wrong one."""
    with pytest.raises(UsageError, match="--checkpoint-activations"):
        check_decoder(transformer(checkpoint_activations=True).decoder.train())


@pytest.mark.parametrize("scores", ["probs", ""])
def test_an_unknown_local_score_is_refused(scores):
    with pytest.raises(ValueError):
        step_of(lstm(), scores)
