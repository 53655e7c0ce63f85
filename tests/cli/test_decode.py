"""fairseq-generate, fairseq-interactive and fairseq-validate with our tasks, decoders and scorer."""

import math

import commands
import pytest
from commands import OPTIMIZER, SMALL, TINY

DECODERS = ["greedy", "beam", "soft-beam"]
ARCHS = ["lstm", "transformer", "tagger_lstm", "tagger_gru"]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("arch", ARCHS)
def test_generate_writes_fairseqs_lines(trained, arch, decoder):
    model = trained(arch)
    flags = ["--gen-subset", "valid", "--decoder", decoder, "--beam", 3, "--batch-size", 24]
    output = commands.generate(model.data, model.task, model.checkpoint, *flags)
    sources = (model.corpus.text / "valid.src").read_text().splitlines()
    targets = (model.corpus.text / "valid.tgt").read_text().splitlines()
    assert {i: line[0][0] for i, line in output.lines("S").items()} == dict(enumerate(sources))
    assert {i: line[0][0] for i, line in output.lines("T").items()} == dict(enumerate(targets))
    for i, source in enumerate(sources):
        score, text = output.lines("H")[i][0]
        assert output.lines("D")[i][0] == [score, text]
        assert math.isfinite(float(score))
        assert len(output.lines("P")[i][0][0].split()) == len(text.split()) + 1  # and the end of sentence
        if arch.startswith("tagger"):
            assert len(text.split()) == len(source.split())


@pytest.mark.parametrize("arch", ["lstm", "tagger_lstm"])
def test_greedy_is_beam_search_of_width_one(trained, arch):
    model = trained(arch)

    def hypotheses(*flags):
        return commands.generate(model.data, model.task, model.checkpoint, "--batch-size", 50, *flags).lines("H")

    assert hypotheses("--decoder", "greedy", "--beam", 3) == hypotheses("--decoder", "beam", "--beam", 1)


@pytest.mark.parametrize("decoder", DECODERS)
def test_nbest_gives_as_many_hypotheses_best_first(trained, decoder):
    model = trained("lstm")
    width = 1 if decoder == "greedy" else 3
    flags = ["--gen-subset", "valid", "--decoder", decoder, "--beam", 3, "--nbest", 3, "--batch-size", 24]
    for hypotheses in commands.generate(model.data, model.task, model.checkpoint, *flags).lines("H").values():
        scores = [float(score) for score, _ in hypotheses]
        assert len(scores) == width
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("decoder", DECODERS)
def test_tag_accuracy_is_the_share_of_right_labels(trained, decoder):
    model = trained("tagger_lstm")
    flags = ["--decoder", decoder, "--beam", 3, "--batch-size", 50, "--scoring", "tag_accuracy"]
    output = commands.generate(model.data, model.task, model.checkpoint, *flags)
    right = total = 0
    for i, [(gold,)] in output.lines("T").items():
        predicted = output.lines("H")[i][0][1].split()
        right += sum(a == b for a, b in zip(gold.split(), predicted, strict=True))
        total += len(predicted)
    assert f"tag accuracy: {100 * right / total:.2f} % ({right} of {total} labels)" in output.text


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("arch", ["lstm", "tagger_gru"])
def test_interactive_decodes_as_generate_does(trained, tmp_path, arch, decoder):
    model = trained(arch)
    lines = (model.corpus.text / "valid.src").read_text()
    (tmp_path / "input").write_text(lines)
    beam = ["--decoder", decoder, "--beam", 2]
    arguments = commands.decode_flags(model.data, model.task, model.checkpoint, *beam, "--input", tmp_path / "input")
    batches = ["--buffer-size", 12, "--batch-size", 12]
    interactive = commands.run("interactive", *arguments, *batches)
    generated = commands.generate(model.data, model.task, model.checkpoint, *beam, "--gen-subset", "valid")
    assert len(interactive.lines("H")) == len(lines.splitlines())
    for i, [(score, text)] in interactive.lines("H").items():
        assert text == generated.lines("H")[i][0][1]
        assert float(score) == pytest.approx(float(generated.lines("H")[i][0][0]), abs=1e-4)


@pytest.mark.parametrize("arch", ["transformer", "tagger_lstm"])
def test_validate_repeats_what_training_logged(trained, tmp_path, arch):
    model = trained(arch)
    flags = [*TINY[arch], *OPTIMIZER, "--train-subset", SMALL, "--finetune-from-model", model.checkpoint]
    criterion = ["--criterion", "soft_beam_direct", "--soft-beam-alpha", 3, "--max-epoch", 1]
    training = commands.train(model.data, model.task, tmp_path, *flags, *criterion).logged("valid")[-1]
    found = commands.validate(model.data, model.task, tmp_path / "checkpoint_last.pt").logged("valid")[-1]
    for name in ("objective", "nll_loss", "alpha", "beam_distance", "beam_collapsed", "hard_beam_cost"):
        assert found[f"valid_{name}"] == pytest.approx(training[f"valid_{name}"], abs=1e-3)
