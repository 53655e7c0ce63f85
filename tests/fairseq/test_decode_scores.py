"""`--decode-scores`: beam search over logits by fairseq's own generator, and what a checkpoint says of it."""

import commands
import pytest
import torch
from commands import OPTIMIZER, TINY
from fairseq.dataclass.configs import GenerationConfig
from glue import Loaded, make_criterion

from seqsearch_fairseq.adapters import FairseqStep, encode
from seqsearch_fairseq.algorithms.hard_beam import hard_beam
from seqsearch_fairseq.errors import UsageError

LENGTHS = {"max_len_a": 0, "max_len_b": 12}


def decode(loaded: Loaded, models=None, **options) -> dict[int, list[tuple[list[int], float]]]:
    task, model = loaded
    generator = task.build_generator(models or [model], GenerationConfig(**{**LENGTHS, "beam": 3, **options}))
    found = {}
    for batch in loaded.batches("test", 50):
        for i, hypotheses in zip(
            batch["id"].tolist(), task.inference_step(generator, models or [model], batch), strict=True
        ):
            found[i] = [(h["tokens"].tolist(), float(h["score"])) for h in hypotheses]
    return found


def plain_beam(loaded: Loaded, source: torch.Tensor, beam: int, lenpen: float) -> list[tuple[float, list[int]]]:
    """Beam search over sums of logits that ends hypotheses as fairseq does; each step decodes from the start."""
    task, model = loaded
    eos, pad = task.target_dictionary.eos(), task.target_dictionary.pad()
    encoder_out = encode(model, {"src_tokens": source.unsqueeze(0), "src_lengths": torch.tensor([len(source)])})
    beams, finished = [(0.0, [])], []
    for t in range(LENGTHS["max_len_b"] + 1):
        candidates = []
        for score, tokens in beams:
            logits = model.decoder(torch.tensor([[eos, *tokens]]), encoder_out=encoder_out)[0][0, -1].tolist()
            for v, logit in enumerate(logits):
                last = t == LENGTHS["max_len_b"]
                if v != pad and not (t < 1 and v == eos) and (not last or v == eos):
                    candidates.append((score + logit, [*tokens, v]))
        candidates = sorted(candidates, key=lambda found: -found[0])[: 2 * beam]
        for score, tokens in candidates[:beam]:
            if tokens[-1] == eos and len(finished) < beam:
                finished.append((score / len(tokens) ** lenpen, tokens))
        beams = [found for found in candidates if found[1][-1] != eos][:beam]
        if len(finished) == beam or not beams:
            break
    return sorted(finished, key=lambda found: -found[0])


@pytest.mark.parametrize("lenpen", [1.0, 0.0])
@pytest.mark.parametrize("arch", ["lstm", "transformer"])
def test_translation_over_logits_is_an_independent_beam_search(loaded, arch, lenpen):
    model = loaded(arch, double=True, decode_scores="logits")
    found = decode(model, lenpen=lenpen)
    assert len(found) == 200
    with torch.no_grad():
        for i in range(0, 200, 5):
            expected = plain_beam(model, model.task.dataset("test").src[i], 3, lenpen)
            assert [tokens for tokens, _ in found[i]] == [tokens for _, tokens in expected]
            assert [score for _, score in found[i]] == pytest.approx([score for score, _ in expected], abs=1e-6)


@pytest.mark.parametrize("arch", ["tagger_lstm", "tagger_gru"])
def test_tagging_over_logits_is_hard_beam_over_logits(loaded, arch):
    model = loaded(arch, double=True, decode_scores="logits")
    found = decode(model, unnormalized=True)
    eos = model.task.target_dictionary.eos()
    for batch in model.batches("test", 50):
        step = FairseqStep(model.model, encode(model.model, batch["net_input"]), len(batch["id"]), "logits")
        lengths = model.task.search_lengths(batch)
        best = hard_beam(step, lengths, 3, model.task.search_candidates())
        for row, i in enumerate(batch["id"].tolist()):
            tokens = best.tokens[row, 0, : lengths[row]].tolist()
            assert found[i][0][0] == [*tokens, eos]
            assert found[i][0][1] == pytest.approx(float(best.scores[row, 0]), abs=1e-9)


@pytest.mark.parametrize("arch", ["lstm", "tagger_lstm"])
def test_a_hard_soft_beam_over_logits_is_beam_search_over_logits(loaded, arch):
    hard = decode(loaded(arch, double=True, decode_scores="logits"))
    soft = loaded(arch, double=True, decode_scores="logits", decoder="soft-beam", soft_beam_decode_alpha=1e14)
    found = decode(soft)
    assert sum(found[i][0][0] == hard[i][0][0] for i in hard) >= len(hard) - 2  # but for near ties


def test_logits_and_log_probs_differ(loaded):
    found = [decode(loaded("tagger_lstm", decode_scores=scores)) for scores in ("logits", "log-probs", "auto")]
    assert found[0] != found[1] and found[1] == found[2]


def test_greedy_search_is_the_same_over_both(loaded):
    kinds = ("logits", "log-probs")
    found = [decode(loaded("lstm", decode_scores=scores, decoder="greedy")) for scores in kinds]
    assert all(found[0][i][0][0] == found[1][i][0][0] for i in found[0])


def test_an_ensemble_averages_logits(loaded):
    model = loaded("lstm", double=True, decode_scores="logits")
    twice = decode(model, [model.model, model.model])
    once = decode(model)
    assert {i: [h[0] for h in found] for i, found in twice.items()} == {i: [h[0] for h in f] for i, f in once.items()}
    other = loaded("lstm", double=True).model
    with torch.no_grad():
        other.decoder.fc_out.weight.mul_(-1) if hasattr(other.decoder, "fc_out") else None
    batch = model.batches("test", 4)[0]["net_input"]
    generator = model.task.build_generator([model.model, other], GenerationConfig(beam=2))
    ensemble, tokens = generator.model, batch["src_tokens"].new_full((4, 1), 2)
    outs, states = ensemble.forward_encoder(batch), [{}, {}]
    with torch.no_grad():
        scores, _ = ensemble.forward_decoder(tokens, outs, states)
        each = [m.decoder(tokens, encoder_out=out)[0][:, -1] for m, out in zip((model.model, other), outs, strict=True)]
    assert torch.allclose(scores, (each[0] + each[1]) / 2)


# --- What a checkpoint says


@pytest.fixture(scope="module")
def over_logits(tagging, tmp_path_factory):
    """A tagger that was trained with logits, and the log of its training."""
    folder = tmp_path_factory.mktemp("over_logits")
    flags = [*TINY["tagger_lstm"], *OPTIMIZER, "--criterion", "soft_beam_direct", "--soft-beam-scores", "logits"]
    log = commands.train(tagging.data, tagging.task, folder, *flags, "--max-epoch", 2, "--tagging-valid-beam", 2)
    return folder / "checkpoint_last.pt", log


@pytest.mark.parametrize("decoder", ["beam", "soft-beam"])
def test_auto_decodes_as_the_checkpoint_was_trained(tagging, over_logits, decoder):
    def hypotheses(*flags):
        shared = ("--beam", 3, "--batch-size", 20, "--decoder", decoder)
        return commands.generate(tagging.data, tagging.task, over_logits[0], *shared, *flags).lines("H")

    assert hypotheses() == hypotheses("--decode-scores", "logits") != hypotheses("--decode-scores", "log-probs")


def test_a_checkpoint_that_says_nothing_is_decoded_with_log_probs(tagging, over_logits, tmp_path):
    state = torch.load(over_logits[0])
    assert state["task_state"]["trained_scores"] == "logits"
    state["task_state"] = {}
    torch.save(state, tmp_path / "old.pt")
    shared = ("--beam", 3, "--batch-size", 20)
    old = commands.generate(tagging.data, tagging.task, tmp_path / "old.pt", *shared)
    new = commands.generate(tagging.data, tagging.task, over_logits[0], *shared, "--decode-scores", "log-probs")
    assert old.lines("H") == new.lines("H")


def test_validation_in_training_searches_over_logits(tagging, over_logits):
    def accuracy(*flags):
        shared = ("--tagging-valid-beam", 2, *flags)
        return commands.validate(tagging.data, tagging.task, over_logits[0], *shared).logged("valid")[-1]

    logged = over_logits[1].logged("valid")[-1]
    for name in ("accuracy_beam", "hard_beam_cost"):
        assert logged[f"valid_{name}"] == accuracy()[f"valid_{name}"]
    assert accuracy("--decode-scores", "logits") == accuracy()


def test_fine_tuning_with_cross_entropy_goes_back_to_log_probs(tagging, over_logits, tmp_path):
    flags = [*TINY["tagger_lstm"], *OPTIMIZER, "--criterion", "cross_entropy", "--finetune-from-model", over_logits[0]]
    commands.train(tagging.data, tagging.task, tmp_path, *flags, "--max-update", 1)
    assert torch.load(tmp_path / "checkpoint_last.pt")["task_state"]["trained_scores"] == "log-probs"


def test_an_ensemble_of_both_kinds_must_choose(tagging, trained, over_logits):
    paths = f"{over_logits[0]}:{trained('tagger_lstm').checkpoint}"
    with pytest.raises(UsageError, match="trained with different scores .*; choose with --decode-scores"):
        commands.generate(tagging.data, tagging.task, paths, "--beam", 2)
    assert commands.generate(tagging.data, tagging.task, paths, "--beam", 2, "--decode-scores", "logits").lines("H")


def test_the_criterion_tells_the_task(loaded):
    task = loaded("tagger_lstm").task
    for name, options, scores in (
        ("soft_beam_hinge", {"soft_beam_scores": "logits"}, "logits"),
        ("soft_beam_direct", {}, "log-probs"),
        ("searnn", {}, "log-probs"),
    ):
        assert make_criterion(name, task, **options).trained_scores == scores


def test_sampling_over_logits_is_refused(tagging, over_logits):
    with pytest.raises(UsageError, match="--sampling needs log-probabilities, and this model is decoded with logits"):
        commands.generate(tagging.data, tagging.task, over_logits[0], "--sampling", "--beam", 1, "--nbest", 1)
