"""fairseq-train: fine-tuning through the relaxed beam from a cross-entropy checkpoint, and what it logs."""

import commands
import pytest
import torch
from commands import OPTIMIZER, SMALL, TINY

from seqsearch_fairseq.errors import UsageError

SMALL_EPOCH = ["--train-subset", SMALL, "--max-epoch", "1"]
SOFT_BEAM_NAMES = {"loss", "objective", "nll_loss", "ppl", "alpha", "beam_distance", "beam_collapsed"}


def fine_tune(model, criterion, save_dir, *flags):
    shared = [*TINY[model.arch], *OPTIMIZER, *SMALL_EPOCH, "--finetune-from-model", model.checkpoint]
    return commands.train(model.data, model.task, save_dir, *shared, "--criterion", criterion, *flags)


def logged_names(log: dict, prefix: str) -> set[str]:
    return {name.removeprefix(prefix) for name in log if name.startswith(prefix)}


@pytest.mark.parametrize("criterion", ["soft_beam_direct", "soft_beam_hinge"])
@pytest.mark.parametrize("arch", ["lstm", "transformer", "tagger_lstm", "tagger_gru"])
def test_fine_tuning_logs_the_objective_and_what_it_hides(trained, tmp_path, arch, criterion):
    log = fine_tune(trained(arch), criterion, tmp_path)
    training, validation = log.logged("train")[-1], log.logged("valid")[-1]
    assert logged_names(training, "train_") >= SOFT_BEAM_NAMES
    assert "train_hard_beam_cost" not in training
    assert logged_names(validation, "valid_") >= SOFT_BEAM_NAMES | {"hard_beam_cost"}
    accuracies = {"accuracy_greedy", "accuracy_beam"} & logged_names(validation, "valid_")
    assert len(accuracies) == (2 if arch.startswith("tagger") else 0)
    assert (tmp_path / "checkpoint_best.pt").exists()


@pytest.mark.parametrize("arch", ["lstm", "tagger_gru"])
def test_fine_tuning_starts_from_the_cross_entropy_checkpoint(trained, tmp_path, arch):
    model = trained(arch)
    before = commands.validate(model.data, model.task, model.checkpoint).logged("valid")[-1]
    log = fine_tune(model, "soft_beam_direct", tmp_path, "--lr", "1e-9").logged("valid")[-1]
    assert log["valid_nll_loss"] == pytest.approx(before["valid_loss"], abs=2e-3)


@pytest.mark.parametrize("growth,maximum,expected", [(2, 3, [1, 2, 3]), (1, 9, [1, 1, 1]), (0.5, 9, [1, 0.5, 0.25])])
def test_alpha_is_annealed_once_per_epoch(trained, tmp_path, growth, maximum, expected):
    annealing = ["--soft-beam-alpha", 1, "--soft-beam-alpha-growth", growth, "--soft-beam-alpha-max", maximum]
    log = fine_tune(trained("tagger_gru"), "soft_beam_direct", tmp_path, *annealing, "--max-epoch", 3)
    assert [line["train_alpha"] for line in log.logged("train")] == expected
    assert [line["valid_alpha"] for line in log.logged("valid")] == expected


def test_translation_keeps_eval_bleu(trained, tmp_path):
    best = ["--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric", "--max-epoch", 2]
    log = fine_tune(trained("lstm"), "soft_beam_direct", tmp_path, "--eval-bleu", *best)
    assert 0 <= log.logged("valid")[-1]["valid_bleu"] <= 100
    assert "valid_best_bleu" in log.logged("valid")[-1]


def test_validation_bleu_uses_the_chosen_decoder(trained, tmp_path):
    flags = ["--eval-bleu", "--eval-bleu-args", '{"beam": 2}', "--decoder", "soft-beam"]
    log = fine_tune(trained("lstm"), "soft_beam_direct", tmp_path, *flags)
    assert 0 <= log.logged("valid")[-1]["valid_bleu"] <= 100


def test_accuracy_can_choose_the_best_checkpoint(trained, tmp_path):
    best = ["--best-checkpoint-metric", "accuracy_beam", "--maximize-best-checkpoint-metric", "--max-epoch", 2]
    log = fine_tune(trained("tagger_lstm"), "soft_beam_direct", tmp_path, *best)
    assert "valid_best_accuracy_beam" in log.logged("valid")[-1]


@pytest.mark.parametrize("decoder,width", [("greedy", 1), ("beam", 3)])
def test_validation_logs_the_accuracy_of_what_fairseq_generate_outputs(trained, decoder, width):
    model = trained("tagger_gru")
    log = commands.validate(model.data, model.task, model.checkpoint).logged("valid")[-1]
    flags = ["--gen-subset", "valid", "--beam", width, "--batch-size", 7, "--scoring", "tag_accuracy"]
    out = commands.generate(model.data, model.task, model.checkpoint, "--decoder", decoder, *flags)
    assert f"tag accuracy: {log[f'valid_accuracy_{decoder}']:.2f} %" in out.text


def test_validation_logs_the_edit_distance_of_what_fairseq_generate_outputs(trained):
    model, lengths = trained("attention_gru"), '"max_len_a": 1, "max_len_b": 2'
    flags = ["--eval-edit-distance", "--eval-edit-distance-args", f'{{"beam": 2, {lengths}}}']
    log = commands.validate(model.data, model.task, model.checkpoint, *flags).logged("valid")[-1]
    # fairseq's limit of length is that of the batch's longest sentence, so the batches must be the same
    flags = ["--gen-subset", "valid", "--batch-size", 20, "--beam", 2, "--max-len-a", 1, "--max-len-b", 2]
    flags += ["--scoring", "edit_distance"]
    out = commands.generate(model.data, model.task, model.checkpoint, *flags)
    assert f"edit distance: {log['valid_edit_distance']:.2f} %" in out.text


@pytest.mark.parametrize(
    "arguments,message", [("beam=2", "must be JSON, as in"), ('{"beam": 500}', r"--beam must be in \[1, ")]
)
def test_bad_generation_flags_of_validation_are_refused_before_training(trained, arguments, message):
    model = trained("attention_gru")
    with pytest.raises(UsageError, match=message):
        flags = ["--eval-edit-distance", "--eval-edit-distance-args", arguments]
        commands.validate(model.data, model.task, model.checkpoint, *flags)


def test_every_flag_of_the_criterion_reaches_it(trained, tmp_path):
    flags = ["--soft-beam-size", 2, "--soft-beam-scores", "logits", "--soft-beam-top-k", "successive"]
    costs = ["--soft-beam-label-cost", "O=2,L1=0.5", "--search-nll-weight", "0.5", "--sentence-avg"]
    log = fine_tune(trained("tagger_lstm"), "soft_beam_direct", tmp_path, *flags, *costs).logged("train")[-1]
    assert log["train_loss"] > log["train_objective"]


def test_a_beam_of_one_has_no_diversity_to_log(trained, tmp_path):
    log = fine_tune(trained("tagger_gru"), "soft_beam_direct", tmp_path, "--soft-beam-size", 1).logged("valid")[-1]
    assert "valid_beam_distance" not in log
    assert "valid_objective" in log


@pytest.mark.parametrize("arch", ["lstm", "transformer", "tagger_gru"])
def test_scheduled_sampling_logs_its_schedule_and_exposure_bias(trained, tmp_path, arch):
    flags = ["--dss-feedback", "soft-sample", "--dss-decay", 1, "--label-smoothing", 0.1, "--max-epoch", 2]
    log = fine_tune(trained(arch), "differentiable_scheduled_sampling", tmp_path, *flags)
    assert [line["train_gold_probability"] for line in log.logged("train")] == [1.0, pytest.approx(0.1192, abs=1e-4)]
    assert logged_names(log.logged("train")[-1], "train_") >= {"loss", "objective", "nll_loss", "alpha"}
    validation = log.logged("valid")[-1]
    bias = validation["valid_free_running_nll_loss"] - validation["valid_nll_loss"]
    assert validation["valid_exposure_bias"] == pytest.approx(bias, abs=2e-3)


RIVALS = {
    "global_likelihood": {"gold_fell_out"},
    "beam_search_optimization": {"violations", "beam_size"},
    "minimum_risk": {"candidates", "expected_risk", "oracle_cost", "best_cost"},
}


@pytest.mark.parametrize("criterion", RIVALS)
@pytest.mark.parametrize("arch", ["transformer", "tagger_lstm"])
def test_the_rivals_log_what_their_beam_found(trained, tmp_path, arch, criterion):
    log = fine_tune(trained(arch), criterion, tmp_path, "--beam-training-size", 3)
    training, validation = log.logged("train")[-1], log.logged("valid")[-1]
    assert logged_names(training, "train_") >= {"loss", "objective", "nll_loss", *RIVALS[criterion]}
    assert "train_hard_beam_cost" not in training
    assert logged_names(validation, "valid_") >= {"hard_beam_cost", *RIVALS[criterion]}
    scores = "log-probs" if criterion == "minimum_risk" else "logits"
    kept = torch.load(tmp_path / "checkpoint_best.pt", weights_only=True)["task_state"]
    assert kept["trained_scores"] == scores
