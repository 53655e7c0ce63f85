"""The soft-beam generator: equal to fairseq's beam search when it is hard, and refusals."""

import pytest
import torch
from fairseq.dataclass.configs import GenerationConfig

from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.generation.soft_beam_generator import SoftBeamGenerator

HARD = 1e14  # in float64: two scores that differ by 1e-6 are told apart
NEAR_TIE = 1e-4
LENGTHS = {"max_len_a": 0, "max_len_b": 20}  # not by the source: fairseq takes the longest source of the batch
SETTINGS = {
    "beam 3": {"beam": 3},
    "beam 1": {"beam": 1},
    "lenpen 0.5": {"beam": 3, "lenpen": 0.5},
    "unnormalized": {"beam": 3, "unnormalized": True},
    "nbest 2": {"beam": 3, "nbest": 2},
    "max-len": {"beam": 3, "max_len_a": 0.5, "max_len_b": 2},
    "min-len": {"beam": 3, "min_len": 4},
}
PREFIXES = {f"prefix {size}": {"beam": 3, "prefix_size": size} for size in (1, 3)}


def decode(loaded, decoder: str, batch_size: int, alpha: float = HARD, prefix_size: int = 0, nbest: int = 1, **options):
    """The `nbest` best hypotheses of each test sentence, by id: lists of (tokens, score)."""
    task, model = loaded
    task.cfg.decoder, task.cfg.soft_beam_decode_alpha = decoder, alpha
    generator = task.build_generator([model], GenerationConfig(nbest=nbest, **{**LENGTHS, **options}))
    found = {}
    for batch in loaded.batches("test", batch_size):
        prefix = batch["target"][:, :prefix_size] if prefix_size else None
        decoded = task.inference_step(generator, [model], batch, prefix_tokens=prefix)
        for i, hypotheses in zip(batch["id"].tolist(), decoded, strict=True):
            found[i] = [(h["tokens"].tolist(), float(h["score"])) for h in hypotheses[:nbest]]
    return found


def assert_same_up_to_near_ties(found, expected):
    """The same tokens and scores; other tokens only where both score the same to `NEAR_TIE`, and in few sentences."""
    assert found.keys() == expected.keys()
    ties = 0
    for i, hypotheses in expected.items():
        assert [score for _, score in found[i]] == pytest.approx([score for _, score in hypotheses], abs=NEAR_TIE), i
        ties += [tokens for tokens, _ in found[i]] != [tokens for tokens, _ in hypotheses]
    assert len(expected) == 200
    assert ties <= 2


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("arch", ["lstm", "transformer", "tagger_lstm"])
def test_a_hard_soft_beam_returns_what_beam_search_returns(loaded, arch, setting):
    model, options = loaded(arch, double=True), SETTINGS[setting]
    assert_same_up_to_near_ties(decode(model, "soft-beam", 50, **options), decode(model, "beam", 50, **options))


@pytest.mark.parametrize("setting", PREFIXES)
@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_a_hard_soft_beam_continues_a_prefix_as_beam_search_does(loaded, arch, setting):
    model, options = loaded(arch, double=True), PREFIXES[setting]
    assert_same_up_to_near_ties(decode(model, "soft-beam", 50, **options), decode(model, "beam", 50, **options))


@pytest.mark.parametrize("arch", ["lstm", "transformer", "tagger_lstm"])
def test_alpha_of_a_million_is_hard_enough_in_float32_for_almost_all_sentences(loaded, arch):
    model = loaded(arch)
    soft, hard = decode(model, "soft-beam", 50, alpha=1e6, beam=3), decode(model, "beam", 50, beam=3)
    assert sum(soft[i][0][0] == hard[i][0][0] for i in hard) >= 0.9 * len(hard)


@pytest.mark.parametrize("decoder,alpha", [("beam", HARD), ("soft-beam", 1.0), ("soft-beam", HARD)])
@pytest.mark.parametrize("arch", ["lstm", "transformer", "tagger_gru"])
def test_a_sentence_is_decoded_alone_as_in_a_batch(loaded, arch, decoder, alpha):
    model = loaded(arch, double=True)
    alone, together = (decode(model, decoder, size, alpha, beam=3, nbest=2) for size in (1, 50))
    assert_same_up_to_near_ties(alone, together)


@pytest.mark.parametrize("arch", ["lstm", "tagger_lstm"])
def test_greedy_ignores_the_beam(loaded, arch):
    model = loaded(arch)
    assert decode(model, "greedy", 50, beam=5) == decode(model, "beam", 50, beam=1)


@pytest.mark.parametrize("decoder", ["beam", "soft-beam"])
def test_tagging_outputs_a_candidate_label_for_each_word(loaded, decoder):
    model = loaded("tagger_lstm")
    labels = set(model.task.search_candidates().nonzero().flatten().tolist())
    found = decode(model, decoder, 32, alpha=1.0, beam=3)
    for i, [(tokens, _)] in found.items():
        assert tokens[-1] == model.task.target_dictionary.eos()
        assert len(tokens) - 1 == model.task.dataset("test").src_sizes[i]
        assert set(tokens[:-1]) <= labels


@pytest.mark.parametrize("alpha", [1.0, HARD])
def test_positional_scores_add_up_to_the_score(loaded, alpha):
    model = loaded("lstm", double=True)
    model.task.cfg.decoder, model.task.cfg.soft_beam_decode_alpha = "soft-beam", alpha
    generator = model.task.build_generator([model.model], GenerationConfig(beam=3, unnormalized=True))
    for hypotheses in model.task.inference_step(generator, [model.model], model.batches("test", 50)[0]):
        for hypothesis in hypotheses:
            assert len(hypothesis["positional_scores"]) == len(hypothesis["tokens"])
            assert float(hypothesis["positional_scores"].sum()) == pytest.approx(float(hypothesis["score"]), abs=1e-4)


def test_generating_leaves_no_gradient(loaded):
    model = loaded("lstm")
    model.task.cfg.decoder = "soft-beam"
    generator = model.task.build_generator([model.model], GenerationConfig(beam=2))
    hypotheses = model.task.inference_step(generator, [model.model], model.batches("test", 50)[0])
    assert not hypotheses[0][0]["positional_scores"].requires_grad


UNSUPPORTED = [
    ("sampling", {"sampling": True}),
    ("diverse-beam-groups", {"diverse_beam_groups": 2}),
    ("diversity-rate", {"diversity_rate": 0.5}),
    ("no-repeat-ngram-size", {"no_repeat_ngram_size": 3}),
    ("match-source-len", {"match_source_len": True}),
    ("print-alignment", {"print_alignment": "hard"}),
    ("unkpen", {"unkpen": 1.0}),
    ("temperature", {"temperature": 2.0}),
    ("constraints", {"constraints": "ordered"}),
    ("lm-path", {"lm_path": "lm.pt"}),
]


@pytest.mark.parametrize("flag,options", UNSUPPORTED, ids=[flag for flag, _ in UNSUPPORTED])
def test_options_without_a_counterpart_are_refused(loaded, flag, options):
    model = loaded("lstm", decoder="soft-beam")
    with pytest.raises(UsageError, match=f"--decoder soft-beam does not support --{flag} "):
        model.task.build_generator([model.model], GenerationConfig(**options))


def test_options_that_are_off_are_accepted(loaded):
    model = loaded("lstm", decoder="soft-beam")
    assert isinstance(model.task.build_generator([model.model], GenerationConfig()), SoftBeamGenerator)


def test_an_ensemble_is_refused(loaded):
    model = loaded("lstm", decoder="soft-beam")
    with pytest.raises(UsageError, match="got an ensemble of 2"):
        model.task.build_generator([model.model, model.model], GenerationConfig())


@pytest.mark.parametrize("beam", [0, -1, 1000])
@pytest.mark.parametrize("decoder", ["beam", "soft-beam"])
@pytest.mark.parametrize("arch", ["lstm", "tagger_lstm"])
def test_a_beam_out_of_range_is_refused(loaded, arch, decoder, beam):
    model = loaded(arch, decoder=decoder)
    count = int(model.task.search_candidates().sum())
    with pytest.raises(UsageError, match=rf"--beam must be in \[1, {count}\], .* got {beam}"):
        model.task.build_generator([model.model], GenerationConfig(beam=beam))


@pytest.mark.parametrize("decoder", ["greedy", "beam", "soft-beam"])
def test_tagging_refuses_a_prefix(loaded, decoder):
    model = loaded("tagger_lstm", decoder=decoder)
    with pytest.raises(UsageError, match="--prefix-size"):
        model.task.build_generator([model.model], GenerationConfig(beam=2, prefix_size=1))


def test_a_minimum_length_above_the_maximum_is_refused(loaded):
    model = loaded("lstm", decoder="soft-beam")
    generator = model.task.build_generator([model.model], GenerationConfig(max_len_b=3, min_len=4))
    with pytest.raises(UsageError, match="--min-len must be at most the maximum length, 3 here, got 4"):
        model.task.inference_step(generator, [model.model], model.batch())


def test_reference_scores_come_from_the_model_whatever_the_decoder(loaded):
    scores = []
    for decoder in ("beam", "soft-beam"):
        model = loaded("lstm", decoder=decoder)
        scorer = model.task.build_generator([model.model], GenerationConfig(score_reference=True))
        batch = model.batches("valid", 24)[0]
        scores.append([float(h[0]["score"]) for h in model.task.inference_step(scorer, [model.model], batch)])
    assert scores[0] == scores[1]
    assert torch.tensor(scores[0]).isfinite().all()
