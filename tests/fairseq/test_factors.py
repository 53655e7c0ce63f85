"""Factors of the words in `search_tagging`: how they are read, what a tagger learns from them, and what is refused."""

import os
import shutil
import sys
from argparse import Namespace
from pathlib import Path
from random import Random

import commands
import corpora
import fairseq_models
import pytest
import torch
from commands import OPTIMIZER, TINY
from fixtures import Corpus, Trained
from glue import Loaded, make_criterion, make_task

from seqsearch_fairseq.adapters import encode
from seqsearch_fairseq.checkpoints import allow_fairseq_types
from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.models.factors import embedding_sizes

FACTORS = ("pos", "case")
SIZES = {"train": 160, "valid": 24, "test": 24}
CRITERIONS = {
    "cross_entropy": {},
    "label_smoothed_cross_entropy": {"label_smoothing": 0.1},
    "soft_beam_direct": {},
    "soft_beam_hinge": {},
    "differentiable_scheduled_sampling": {"dss_decay": "always"},
    "searnn": {},
}
EXAMPLE = ["w1 w2", "w3", "w1 w2 w3"]
EXAMPLE_POS = ["A B", "A", "B B A"]


def write_lines(folder: Path, split: str, **sides: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for side, lines in sides.items():
        (folder / f"{split}.{side}").write_text("".join(line + "\n" for line in lines))


def write_factored(folder: Path, seed: int = 3) -> Path:
    """{train,valid,test}.{words,labels,pos,case}: both factors together give the label, the words say nothing of it."""
    rng = Random(seed)
    for split, size in SIZES.items():
        lengths = [rng.randint(1, 6) for _ in range(size)]
        words = [rng.choices(corpora.WORDS, k=length) for length in lengths]
        pos = [rng.choices("AB", k=length) for length in lengths]
        case = [rng.choices("xy", k=length) for length in lengths]
        labels = [[f"L{p}{c}" for p, c in zip(*line, strict=True)] for line in zip(pos, case, strict=True)]
        sides = {"words": words, "labels": labels, "pos": pos, "case": case}
        write_lines(folder, split, **{side: [" ".join(line) for line in lines] for side, lines in sides.items()})
    return folder


def preprocess(text: Path, destination: Path, *factors: str) -> Path:
    """fairseq-preprocess of words and labels, and then once for each factor."""
    shared = [f"--{split}pref={text / split}" for split in SIZES if (text / f"{split}.words").exists()]
    shared += ["--target-lang", "labels", "--destdir", destination]
    commands.run("preprocess", "--source-lang", "words", *shared)
    for factor in factors:
        commands.run("preprocess", "--source-lang", factor, "--only-source", *shared)
    return destination


def train(data: Path, save_dir: Path, *flags) -> commands.Output:
    shared = [*TINY["tagger_gru"], *OPTIMIZER, "--criterion", "cross_entropy"]
    return commands.train(data, "search_tagging", save_dir, *shared, *flags)


@pytest.fixture(scope="session")
def factored(tmp_path_factory) -> Corpus:
    def build(folder: Path):
        preprocess(write_factored(folder / "text"), folder / "bin", *FACTORS)

    folder = commands.once(tmp_path_factory, "factored", build)
    return Corpus("search_tagging", folder / "text", folder / "bin")


@pytest.fixture(scope="session")
def trained_with_factors(tmp_path_factory, factored) -> Trained:
    def build(folder: Path):
        sizes = ["--encoder-factor-embed-dim", "8,6", "--max-epoch", 6]
        output = train(factored.data, folder, "--tagging-factors", "pos,case", *sizes, "--no-last-checkpoints")
        (folder / "accuracy").write_text(str(output.logged("valid")[-1]["valid_accuracy_greedy"]))

    folder = commands.once(tmp_path_factory, "tagger_with_factors", build)
    return Trained("tagger_gru", factored, folder / "checkpoint_best.pt")


@pytest.fixture
def model(trained_with_factors) -> Loaded:
    return Loaded.from_checkpoint(trained_with_factors, double=True, tagging_factors="pos,case")


@pytest.fixture
def copy(factored, tmp_path) -> Path:
    """A copy of the data, to change something in."""
    return shutil.copytree(factored.data, tmp_path / "bin")


# --- Data


def test_a_batch_has_the_factors_of_its_sentences_in_its_order(factored):
    task = make_task("search_tagging", factored.data, tagging_factors="pos,case")
    task.load_dataset("valid")
    dataset = task.dataset("valid")
    lines = {name: (factored.text / f"valid.{name}").read_text().splitlines() for name in FACTORS}
    for indices in (range(8), reversed(range(8)), [5]):
        batch = dataset.collater([dataset[i] for i in indices])
        factors, words = batch["net_input"]["factors"], batch["net_input"]["src_tokens"]
        assert factors.dtype == torch.int64  # which --fp16 leaves as it is
        assert factors.shape == (len(words), 2, words.size(1))
        assert (factors.eq(1) == words.eq(1).unsqueeze(1)).all()  # padded where the words are
        for row, sentence in zip(factors, batch["id"].tolist(), strict=True):
            for tokens, name in zip(row, FACTORS, strict=True):
                assert task.factor_dictionaries[name].string(tokens[tokens != 1]) == lines[name][sentence]


def test_without_factors_a_batch_has_none(factored):
    task = make_task("search_tagging", factored.data)
    task.load_dataset("valid")
    dataset = task.dataset("valid")
    assert "factors" not in dataset.collater([dataset[0]])["net_input"]


def test_batches_are_those_of_the_words(factored):
    def ids(**options):
        task = make_task("search_tagging", factored.data, **options)
        task.load_dataset("train")
        batches = task.get_batch_iterator(
            task.dataset("train"), max_tokens=30, max_positions=(5, 5), ignore_invalid_inputs=True, seed=1
        )
        return [batch["id"].tolist() for batch in batches.next_epoch_itr(shuffle=True)]

    assert ids(tagging_factors="pos,case") == ids()


def test_each_factor_has_a_padding_of_its_own(factored):
    task = make_task("search_tagging", factored.data, tagging_factors="pos,case")
    task.load_dataset("valid")
    dataset = task.dataset("valid")
    dataset.factors[1] = dataset.factors[1]._replace(padding=7)
    ends = dataset.sizes[:, 0].argmin(), dataset.sizes[:, 0].argmax()
    assert dataset.collater([dataset[i] for i in ends])["net_input"]["factors"][1, :, -1].tolist() == [1, 7]


def test_data_that_can_be_prefetched_are(factored, tmp_path):
    shared = [f"--{split}pref={factored.text / split}" for split in SIZES]
    shared += ["--target-lang", "labels", "--destdir", tmp_path, "--dataset-impl", "cached"]
    commands.run("preprocess", "--source-lang", "words", *shared)
    commands.run("preprocess", "--source-lang", "pos", "--only-source", *shared)
    task = make_task("search_tagging", tmp_path, tagging_factors="pos", dataset_impl="cached")
    task.load_dataset("valid")
    dataset = task.dataset("valid")
    assert dataset.supports_prefetch
    dataset.prefetch([0, 3])
    assert dataset[3]["factors"].shape == (1, len(dataset[3]["source"]))


@pytest.mark.parametrize("order", [sorted, lambda names: sorted(names, reverse=True)])
def test_the_languages_are_those_of_words_and_labels(factored, monkeypatch, order):
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: order(listed(path)))
    task = make_task("search_tagging", factored.data)
    assert (task.cfg.source_lang, task.cfg.target_lang) == ("words", "labels")


def test_preprocessing_a_factor_leaves_the_words_as_they_were(factored, tmp_path):
    before = preprocess(factored.text, tmp_path / "bin")
    names = [path.name for path in before.iterdir() if path.name != "preprocess.log"]
    assert len(names) == 2 + 3 * 2 * 2
    assert all((before / name).read_bytes() == (factored.data / name).read_bytes() for name in names)


def test_the_parts_of_a_split_are_combined(copy):
    for path in list(copy.glob("valid.*")):
        shutil.copy(path, copy / path.name.replace("valid", "train1"))
    task = make_task("search_tagging", copy, tagging_factors="pos", upsample_primary=2)
    task.load_dataset("train", combine=True)
    dataset = task.dataset("train")
    assert len(dataset) == 2 * SIZES["train"] + SIZES["valid"]
    assert all(len(dataset[i]["source"]) == dataset[i]["factors"].size(1) for i in range(len(dataset)))


def test_each_epoch_reads_its_shard(factored, tmp_path):
    write_lines(tmp_path / "text", "train", words=EXAMPLE, labels=EXAMPLE_POS, pos=EXAMPLE_POS)
    second = preprocess(tmp_path / "text", tmp_path / "bin", "pos")
    task = make_task("search_tagging", f"{factored.data}:{second}", tagging_factors="pos")
    for epoch, size in ((1, SIZES["train"]), (2, len(EXAMPLE))):
        task.load_dataset("train", epoch=epoch)
        assert len(task.dataset("train")) == size
        assert task.dataset("train")[0]["factors"].size(0) == 1


# --- What a tagger makes of them


def test_a_tagger_learns_from_factors_what_the_words_do_not_say(trained_with_factors, factored, tmp_path):
    accuracy = float(trained_with_factors.checkpoint.with_name("accuracy").read_text())
    without = train(factored.data, tmp_path, "--max-epoch", 6).logged("valid")[-1]["valid_accuracy_greedy"]
    assert accuracy > 95
    assert without < 50


def test_batching_does_not_change_the_encoders_output(model):
    batch, alone = model.batch(), model.one_by_one()
    together = encode(model.model, batch["net_input"])["encoder_out"][0]
    for row, single in zip(together, alone, strict=True):
        found = encode(model.model, single["net_input"])["encoder_out"][0][0]
        torch.testing.assert_close(row[: len(found)], found)


@pytest.mark.parametrize("decoder", ["greedy", "beam", "soft-beam"])
def test_batching_does_not_change_what_is_decoded(trained_with_factors, decoder):
    model = Loaded.from_checkpoint(trained_with_factors, double=True, tagging_factors="pos,case", decoder=decoder)

    def decode(batch):
        generator = model.task.build_generator([model.model], Namespace(beam=3))
        found = model.task.inference_step(generator, [model.model], batch)
        return [(hypotheses[0]["tokens"].tolist(), float(hypotheses[0]["score"])) for hypotheses in found]

    for together, single in zip(decode(model.batch()), model.one_by_one(), strict=True):
        [(tokens, score)] = decode(single)
        assert together == (tokens, pytest.approx(score))


@pytest.mark.parametrize("decoder", ["greedy", "beam", "soft-beam"])
def test_generate_decodes_with_factors(trained_with_factors, decoder):
    model = trained_with_factors
    flags = ["--tagging-factors", "pos,case", "--decoder", decoder, "--beam", 3, "--scoring", "tag_accuracy"]
    many = commands.generate(model.data, model.task, model.checkpoint, *flags)
    single = commands.generate(model.data, model.task, model.checkpoint, *flags, "--batch-size", 1)
    gold = (model.corpus.text / "test.labels").read_text().splitlines()
    found = [many.lines("H")[i][0][1] for i in range(SIZES["test"])]
    assert [single.lines("H")[i][0][1] for i in range(SIZES["test"])] == found
    right = sum(a == b for lines in zip(gold, found, strict=True) for a, b in zip(*map(str.split, lines), strict=True))
    assert right > 0.95 * sum(len(line.split()) for line in gold)
    assert f"({right} of " in many.text


def test_validate_reads_the_factors_that_the_checkpoint_names(trained_with_factors):
    model = trained_with_factors
    found = commands.validate(model.data, model.task, model.checkpoint).logged("valid")[-1]["valid_accuracy_greedy"]
    assert found == float(model.checkpoint.with_name("accuracy").read_text())


@pytest.mark.parametrize("criterion", CRITERIONS)
def test_every_criterion_reads_the_factors(model, criterion):
    objective = make_criterion(criterion, model.task, **CRITERIONS[criterion]).train()
    model.model.decoder.fc_out.weight.data *= 0.1  # so unsure that the hinge has something to say
    objective(model.model, model.batch())[0].backward()
    tables = model.model.encoder.embed_factors
    for name in FACTORS:
        assert float(getattr(tables, f"factor_{name}").weight.grad.abs().sum()) > 0


def test_half_precision_leaves_the_factors_whole(model):
    batch = model.batch()
    expected = encode(model.model, batch["net_input"])["encoder_out"][0]
    model.model.half()
    found = encode(model.model, batch["net_input"])["encoder_out"][0]
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.double(), expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("text,expected", [("8", {"pos": 8, "case": 8}), ("8, 6", {"pos": 8, "case": 6})])
def test_sizes_are_one_for_all_or_one_a_factor(text, expected):
    assert embedding_sizes(text, list(FACTORS)) == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "8,", "8.5", "x"])
def test_sizes_that_are_no_sizes_are_refused(text):
    with pytest.raises(UsageError, match=f"--encoder-factor-embed-dim must be whole numbers .*, got {text}$"):
        embedding_sizes(text, ["pos"])


def test_too_many_sizes_are_refused():
    with pytest.raises(UsageError, match="8,8 has 2, and --tagging-factors pos has 1"):
        embedding_sizes("8,8", ["pos"])


# --- Nothing changes without them


def test_without_factors_a_tagger_has_the_parameters_that_it_had():
    rnn = [f"{kind}_{way}_l0{back}" for back in ("", "_reverse") for kind in ("weight", "bias") for way in ("ih", "hh")]
    expected = ["encoder.embed_tokens.weight", *(f"encoder.rnn.{name}" for name in rnn)]
    expected += ["decoder.embed_tokens.weight", *(f"decoder.rnn.{name}" for name in rnn[:4])]
    expected += ["decoder.fc_out.weight", "decoder.fc_out.bias"]
    assert list(fairseq_models.tagger().state_dict()) == expected


def test_a_checkpoint_from_before_factors_and_lookahead_loads(trained, tmp_path):
    before = trained("tagger_gru")
    allow_fairseq_types()
    state = torch.load(before.checkpoint)
    del state["cfg"]["model"]["encoder_factor_embed_dim"], state["cfg"]["task"]["tagging_factors"]
    del state["cfg"]["model"]["encoder_lookahead"]
    torch.save(state, tmp_path / "old.pt")

    def hypotheses(checkpoint):
        return commands.generate(before.data, before.task, checkpoint, "--beam", 2).lines("H")

    assert hypotheses(tmp_path / "old.pt") == hypotheses(before.checkpoint)
    assert commands.validate(before.data, before.task, tmp_path / "old.pt").logged("valid")


# --- What is refused


@pytest.mark.parametrize(
    "line,pos,message",
    [
        (1, "A", r"line 1 has 2 words and 1 of pos \(1 such lines in all\)"),
        (2, "A B", r"line 2 has 1 words and 2 of pos \(1 such lines in all\)"),
        (3, "", r"line 3 has 3 words and 0 of pos \(1 such lines in all\)"),
        (4, "A", "there are 3 lines of words and 4 of pos"),
    ],
)
def test_the_line_whose_factor_differs_from_its_words_is_named(tmp_path, line, pos, message):
    lines = EXAMPLE_POS.copy()
    lines[line - 1 : line] = [pos]
    write_lines(tmp_path / "text", "train", words=EXAMPLE, labels=EXAMPLE_POS, pos=lines)
    data = preprocess(tmp_path / "text", tmp_path / "bin", "pos")
    task = make_task("search_tagging", data, tagging_factors="pos", tagging_valid_beam=2)
    with pytest.raises(UsageError, match=rf"factor pos .* in split 'train' of {data}, {message}"):
        task.load_dataset("train")


@pytest.mark.parametrize(
    "names,message",
    [
        ("pos,", "must be different names, as in pos,case, got pos,"),
        ("pos,pos", "must be different names, as in pos,case, got pos,pos"),
        ("p-o", "must be different names, as in pos,case, got p-o"),
        ("words", "--tagging-factors words: that is the source or the target itself"),
        ("lemma", "the dictionary .*dict.lemma.txt of the factor lemma .* --source-lang lemma --target-lang labels"),
    ],
)
def test_names_that_are_no_factors_are_refused(factored, names, message):
    with pytest.raises(UsageError, match=message):
        make_task("search_tagging", factored.data, tagging_factors=names)


def test_a_split_without_the_factor_is_refused(copy):
    for path in copy.glob("valid.pos-labels.*"):
        path.unlink()
    task = make_task("search_tagging", copy, tagging_factors="pos")
    with pytest.raises(UsageError, match="split 'valid' of .* has no factor pos: there is no valid.pos-labels.pos.idx"):
        task.load_dataset("valid")
    with pytest.raises(FileNotFoundError, match="split 'dev' is not in .*: there is no dev.words-labels.words.idx"):
        task.load_dataset("dev")


@pytest.mark.parametrize("arch", ["lstm", "attention_gru"])
def test_a_model_that_reads_words_only_is_refused(factored, tmp_path, arch):
    with pytest.raises(UsageError, match="--tagging-factors pos needs a tagger, .* reads words only"):
        train(factored.data, tmp_path, *TINY[arch], "--tagging-factors", "pos")


@pytest.mark.parametrize(
    "given,message",
    [
        ([], "--tagging-factors is not given; give --task search_tagging --tagging-factors pos,case"),
        (["--tagging-factors", "case,pos"], "--tagging-factors is case,pos; give .* --tagging-factors pos,case"),
        (["--tagging-factors", "pos"], "8,6 has 2, and --tagging-factors pos has 1"),
    ],
)
def test_decoding_with_other_factors_than_those_of_training_is_refused(trained_with_factors, given, message):
    model = trained_with_factors
    with pytest.raises(UsageError, match=message):
        commands.generate(model.data, model.task, model.checkpoint, *given)


def test_fine_tuning_with_other_factors_ends_with_one_sentence(trained_with_factors, tmp_path, capsys):
    model = trained_with_factors
    with pytest.raises(Exception, match="Cannot load model parameters") as caught:
        train(model.data, tmp_path, "--finetune-from-model", model.checkpoint)
    capsys.readouterr()
    sys.excepthook(caught.type, caught.value, caught.tb)
    printed = capsys.readouterr().err
    assert printed.startswith("error: the model was trained with the factors pos,case, but --tagging-factors is not")
    assert len(printed.splitlines()) == 1


def test_fairseqs_own_task_cannot_decode_with_factors(trained_with_factors):
    with pytest.raises(UsageError, match="was trained with the factors pos,case, but --tagging-factors is not given"):
        languages = ["--source-lang", "words", "--target-lang", "labels"]
        commands.generate(trained_with_factors.data, "translation", trained_with_factors.checkpoint, *languages)


def test_a_model_without_factors_takes_none(factored, tmp_path):
    train(factored.data, tmp_path, "--max-update", 1)
    with pytest.raises(UsageError, match="the model has no factors, but --tagging-factors is pos; leave out"):
        checkpoint = tmp_path / "checkpoint_last.pt"
        commands.generate(factored.data, "search_tagging", checkpoint, "--tagging-factors", "pos")


def test_a_dictionary_of_another_size_is_refused(trained_with_factors, copy):
    with (copy / "dict.pos.txt").open("a") as lines:
        lines.write("C 1\n")
    with pytest.raises(UsageError, match="trained with 8 symbols in the dictionary of the factor pos, .* has 9"):
        commands.generate(copy, "search_tagging", trained_with_factors.checkpoint, "--tagging-factors", "pos,case")


def test_a_batch_without_factors_is_refused(model):
    batch = model.batch()
    del batch["net_input"]["factors"]
    with pytest.raises(UsageError, match="the factors pos,case, but the batch has 0 factors a word"):
        encode(model.model, batch["net_input"])


def test_interactive_has_no_factors(trained_with_factors, tmp_path):
    (tmp_path / "input").write_text("w1 w2\n")
    flags = ["--tagging-factors", "pos,case", "--beam", 2, "--input", tmp_path / "input"]
    model = trained_with_factors
    with pytest.raises(UsageError, match="needs the factors of each word, and here are words only"):
        commands.run("interactive", *commands.decode_flags(model.data, model.task, model.checkpoint, *flags))
