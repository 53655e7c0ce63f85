"""`python -m seqsearch_fairseq tag` and `TaggerModel.from_pretrained`: from raw text to tagged text."""

import contextlib
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import commands
import pytest
import torch
from commands import ENVIRONMENT, OPTIMIZER, ROOT, TINY, script
from fairseq.dataclass.configs import GenerationConfig

from seqsearch_fairseq import TaggerModel
from seqsearch_fairseq.__main__ import main
from seqsearch_fairseq.data import record
from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.tagging.loading import load
from seqsearch_fairseq.tagging.options import BEAM, DECODERS, SCORES, TagOptions
from seqsearch_fairseq.tagging.tagger import Item, Tagger
from seqsearch_fairseq.tasks import search_task

CORPUS = "".join(
    f"{word} {pos} {label}\n" + ("\n" if i % 3 == 2 else "")
    for i, (word, pos, label) in enumerate(
        [
            ("Kim", "NN", "B-PER"),
            ("met", "VB", "O"),
            ("Lee", "NN", "B-PER"),
            ("on", "IN", "O"),
            ("May", "NN", "O"),
            ("7", "CD", "O"),
        ]
        * 12
    )
)
FACTORS = ["--tagging-factors", "pos", "--tagging-valid-beam", 2]


def tag(capfdbinary, *arguments, stdin: bytes = b"") -> SimpleNamespace:
    """`python -m seqsearch_fairseq tag ARGUMENTS` in this process."""
    fake = SimpleNamespace(buffer=io.BytesIO(stdin))
    argv = ["seqsearch_fairseq", "tag", "--cpu", *map(str, arguments)]
    capfdbinary.readouterr()
    with mock.patch.object(sys, "argv", argv), mock.patch.object(sys, "stdin", fake):
        status = main()
    sys.stdout.flush()
    out, err = capfdbinary.readouterr()
    return SimpleNamespace(status=status, out=out.decode(), err=err.decode(), raw=out)


def best(generated: commands.Output) -> list[str]:
    return [hypotheses[0][1] for _, hypotheses in sorted(generated.lines("H").items())]


@pytest.fixture(scope="module")
def lowered(tmp_path_factory):
    """A tagger with a factor whose words were lower-cased and whose numbers were written as <num>; folder of all."""

    def build(folder: Path):
        (folder / "corpus").write_text(CORPUS)
        flags = ["--lowercase", "--digits", "--factor", "pos=1", "--overwrite"]
        files = ["--train", folder / "corpus", "--test", folder / "corpus"]
        assert script("prepare_tagging.py", folder / "text", *files, *flags).returncode == 0
        shared = [f"--{split}pref={folder}/text/{split}" for split in ("train", "valid", "test")]
        shared += ["--target-lang", "labels", "--user-dir", commands.PLUGIN, "--task", "search_tagging"]
        commands.run("preprocess", "--source-lang", "words", "--destdir", folder / "bin", *shared)
        commands.run("preprocess", "--source-lang", "pos", "--only-source", "--destdir", folder / "bin", *shared)
        flags = [*TINY["tagger_gru"], *OPTIMIZER, "--criterion", "cross_entropy", "--batch-size", 2, "--max-epoch", 16]
        commands.train(folder / "bin", "search_tagging", folder, *flags, *FACTORS)

    return commands.once(tmp_path_factory, "lowered", build)


@pytest.mark.parametrize("arch", ["tagger_lstm", "tagger_gru"])
@pytest.mark.parametrize("flags", [["--decoder", "greedy"], ["--beam", 3], ["--decoder", "soft-beam", "--beam", 3]])
def test_tag_finds_what_fairseq_generate_finds(trained, capfdbinary, arch, flags):
    model = trained(arch)
    generated = commands.generate(model.data, model.task, model.checkpoint, *flags)
    arguments = ["--path", model.checkpoint, "--output", "labels", *flags, model.corpus.text / "test.src"]
    for buffer in (["--batch-size", 7], ["--buffer-size", 16, "--max-tokens", 40]):
        assert tag(capfdbinary, *arguments, *buffer).out.splitlines() == best(generated)


def test_an_ensemble_is_averaged_as_fairseq_does(trained, capfdbinary):
    models = trained("tagger_lstm"), trained("tagger_gru")
    path = ":".join(str(model.checkpoint) for model in models)
    generated = commands.generate(models[0].data, models[0].task, path, "--beam", 3)
    found = tag(capfdbinary, "--path", path, "--output", "labels", "--beam", 3, models[0].corpus.text / "test.src")
    assert found.out.splitlines() == best(generated)


def test_words_are_prepared_as_those_of_training_and_factors_read(lowered, capfdbinary):
    path = ["--path", lowered / "checkpoint_best.pt", "--layout", "columns"]
    generated = commands.generate(
        lowered / "bin", "search_tagging", lowered / "checkpoint_best.pt", "--beam", 2, *FACTORS
    )
    found = tag(capfdbinary, *path, "--output", "labels", lowered / "corpus")
    assert found.err == "" and found.out.splitlines() == best(generated)
    upper = tag(capfdbinary, *path, stdin=b"KIM\tNN\nMET\tVB\n\n1,500\tCD\n")
    lower = tag(capfdbinary, *path, stdin=b"kim\tNN\nmet\tVB\n\n7\tCD\n")
    assert upper.out.startswith("KIM\tB-PER\nMET\tO\n\n1,500\t")
    assert [line.split("\t")[1:] for line in upper.out.splitlines()] == [
        line.split("\t")[1:] for line in lower.out.splitlines()
    ]
    assert b"<num>" in (lowered / "bin" / "dict.words.txt").read_bytes()
    assert Tagger(load([str(lowered / "checkpoint_best.pt")])).preparation == record.Preparation(
        lowercase=True, digits=True, scheme="iob2", factors={"pos": 1}
    )


def test_factors_that_are_missing_are_named(lowered, capfdbinary):
    failed = tag(capfdbinary, "--path", lowered / "checkpoint_best.pt", stdin=b"Kim met\n")
    assert failed.status == 1 and failed.out == ""
    assert "standard input, line 1: the model reads the factor pos of each word, and there is none" in failed.err
    hub = TaggerModel.from_pretrained(str(lowered), "checkpoint_best.pt")
    with pytest.raises(UsageError, match="sentence 1: the factor pos must have one value a word, got 1 for 2 words"):
        hub.tag(["Kim met"], factors={"pos": ["NN"]})
    assert hub.tag(["Kim met"], factors={"pos": ["NN VB"]}) == [["B-PER", "O"]]
    assert hub.tag("Kim met", factors={"pos": "NN VB"}) == ["B-PER", "O"]


def test_the_record_is_found_from_the_log_of_plain_preprocessing(lowered, tmp_path):
    shutil.copytree(lowered / "text", tmp_path / "text")
    shared = [f"--{split}pref={tmp_path}/text/{split}" for split in ("train", "valid")]
    destination = ["--destdir", str(tmp_path / "bin")]
    commands.run("preprocess", "--source-lang", "words", "--target-lang", "labels", *destination, *shared)
    log = tmp_path / "bin" / "preprocess.log"  # the tests' commands do not log to files
    log.write_text(f"Namespace(destdir='{tmp_path}/bin', source_lang='words', trainpref='{tmp_path}/text/train')\n")
    found, note = record.of_data(tmp_path / "bin", "words")
    assert found.lowercase and note is None
    assert record.of_data(tmp_path / "bin", "pos") == (None, None)
    log.write_text("Namespace(destdir='bin', source_lang='words', trainpref='text/train')\n")
    assert record.of_data(tmp_path / "bin", "words") == (found, None)  # both are relative to one folder
    os.utime(tmp_path / "text" / record.FILE, (2e9, 2e9))
    found, note = record.of_data(tmp_path / "bin", "words")
    assert found is None and "was prepared again after" in note


@pytest.mark.parametrize(
    "text,message",
    [
        ("{", "must be the record that prepare_tagging.py writes"),
        ("[]", "must be a record of how words were prepared"),
        ('{"version": 2}', "is of version 2, and this seqsearch_fairseq reads versions up to 1"),
        ('{"version": 1, "lowercase": "no"}', "lowercase must not be 'no'"),
        ('{"version": 1, "stemmed": true}', "has an entry 'stemmed'"),
    ],
)
def test_a_broken_record_is_refused(tmp_path, text, message):
    (tmp_path / record.FILE).write_text(text)
    with pytest.raises(UsageError, match=message):
        record.load(tmp_path)


def test_the_hub_tags_texts_and_words(trained, capfdbinary):
    model = trained("tagger_lstm")
    hub = TaggerModel.from_pretrained(str(model.checkpoint.parent), "checkpoint_best.pt")
    lines = ["w1 w2 w3", "", "w4 unheard", "</s> w1"]
    expected = tag(capfdbinary, "--path", model.checkpoint, "--output", "labels", stdin="\n".join(lines).encode())
    assert expected.out.splitlines() == [" ".join(labels) for labels in hub.tag(lines)]
    assert hub.tag([line.split() for line in lines], beam=2, batch_size=1) == hub.tag(lines, beam=2)
    assert hub.tag("w1 w2 w3", decoder="greedy") == hub.tag(["w1 w2 w3"], beam=1)[0]
    assert len(hub.tag([["New York", "w1"]])[0]) == 2
    assert len(hub.tag("w1, w2.", tokenize="moses")) == 4
    for parameter in hub.double().models.parameters():
        assert parameter.dtype == torch.float64


@pytest.mark.parametrize(
    "options,message",
    [
        ({"decoder": "best"}, "decoder must be one of greedy, beam, soft-beam, got 'best'"),
        ({"beam": 0}, "beam must be at least 1, got 0"),
        ({"beam": 99}, "--beam must be in .1, 3., the number of candidate tokens, got 99"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"decoder": "soft-beam", "alpha": 0.0}, "alpha of the soft beam must be positive, got 0.0"),
        ({"tokenize": "words"}, "tokenize must be one of none, moses, got 'words'"),
    ],
)
def test_the_hub_refuses(trained, options, message):
    model = trained("tagger_lstm")
    with pytest.raises(UsageError, match=message):
        TaggerModel.from_pretrained(str(model.checkpoint.parent), "checkpoint_best.pt").tag(["w1"], **options)


def test_dictionaries_are_found_and_else_asked_for(trained, tmp_path, capfdbinary):
    model = trained("tagger_lstm")
    shutil.copy(model.checkpoint, tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    state["cfg"]["task"]["data"] = str(tmp_path / "gone")
    torch.save(state, tmp_path / "model.pt")
    failed = tag(capfdbinary, "--path", tmp_path / "model.pt", stdin=b"w1\n")
    assert failed.status == 1 and failed.err.count("\n") == 1
    assert "(dict.src.txt, dict.tgt.txt) are not in" in failed.err and "--data DATA, or data_name_or_path" in failed.err
    assert tag(capfdbinary, "--path", tmp_path / "model.pt", "--data", model.data, stdin=b"w1\n").out
    (tmp_path / "dicts").mkdir()
    for side in ("src", "tgt"):
        shutil.copy(model.data / f"dict.{side}.txt", tmp_path / "dicts")
    assert TaggerModel.from_pretrained(str(tmp_path), data_name_or_path="./dicts").tag(["w1"])
    for side in ("src", "tgt"):
        shutil.copy(model.data / f"dict.{side}.txt", tmp_path)
    assert TaggerModel.from_pretrained(str(tmp_path)).tag(["w1"])


def test_a_checkpoint_of_another_task_is_refused(trained, capfdbinary):
    failed = tag(capfdbinary, "--path", trained("lstm").checkpoint, stdin=b"w1\n")
    assert failed.status == 1
    assert "must be a checkpoint of --task search_tagging, which tags; it is of search_translation" in failed.err


@pytest.mark.parametrize(
    "content,message",
    [
        (None, "the checkpoint .*model.pt does not exist"),
        (b"", "model.pt is empty"),
        (b"hello world", "model.pt is no checkpoint"),
        (1000, "model.pt is cut off or damaged"),
    ],
)
def test_a_broken_checkpoint_is_one_sentence(trained, capfdbinary, tmp_path, content, message):
    if isinstance(content, int):  # the beginning of a good one
        content = trained("tagger_lstm").checkpoint.read_bytes()[:content]
    if content is not None:
        (tmp_path / "model.pt").write_bytes(content)
    failed = tag(capfdbinary, "--path", tmp_path / "model.pt", stdin=b"w1\n")
    assert failed.status == 1 and re.fullmatch(f"error: .*{message}.*\n", failed.err)


def test_dictionaries_of_another_size_are_one_sentence(trained, capfdbinary, tmp_path):
    shutil.copy(trained("tagger_lstm").data / "dict.tgt.txt", tmp_path)
    (tmp_path / "dict.src.txt").write_text("w1 1\n")
    failed = tag(capfdbinary, "--path", trained("tagger_lstm").checkpoint, "--data", tmp_path, stdin=b"w1\n")
    assert failed.status == 1 and failed.err.count("\n") == 1
    assert "does not fit this model: " in failed.err and "data of the same dictionaries" in failed.err


ODD = {
    "nothing": (b"", ""),
    "blank lines": (b"\n\n", "\n\n"),
    "only blanks": (b"  \t \n", "\n"),
    "CRLF": (b"w1 w2\r\n\r\nw3\r\n", "2\n\n1\n"),
    "byte order mark": ("\ufeffw1\n".encode(), "1\n"),
    "no newline at the end": (b"w1\nw2", "1\n1\n"),
    "unknown words": ("naïve ∂ 😀\n".encode(), "3\n"),
    "symbols of fairseq": (b"</s> <pad> <s> <unk>\n", "4\n"),
    "a mark of documents": (b"-DOCSTART-\n", "1\n"),
    "no-break space": ("w1\u00a0w2\n".encode(), "2\n"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_lines_keep_their_places(trained, capfdbinary, name):
    text, counts = ODD[name]
    found = tag(capfdbinary, "--path", trained("tagger_lstm").checkpoint, "--output", "labels", stdin=text)
    assert found.status == 0
    assert "".join(f"{len(line.split()) or ''}\n" for line in found.out.splitlines()) == counts


@pytest.mark.parametrize(
    "text,message",
    [
        (b"w1\nw\0\n", "standard input, line 2: a NUL byte"),
        (b"w1\n\xff\n", "standard input, line 2: not UTF-8"),
        (b"w1\rw2\n", "standard input, line 1: a carriage return inside the line"),
    ],
)
def test_broken_text_is_refused_with_its_line(trained, capfdbinary, tmp_path, text, message):
    out = tmp_path / "out"
    failed = tag(capfdbinary, "--path", trained("tagger_lstm").checkpoint, "--out", out, stdin=text)
    assert failed.status == 1 and message in failed.err and "Traceback" not in failed.err
    assert list(tmp_path.iterdir()) == []


def test_json_lines_are_read_and_half_a_character_refused(trained, capfdbinary):
    path = ["--path", trained("tagger_lstm").checkpoint, "--layout", "jsonl", "--output"]
    text = b'{"tokens": ["w1", "New York"], "tags": [0, 1]}\n\n{"tokens": ["\\ud800"]}\n'
    found = tag(capfdbinary, *path, "append", stdin=text).out.splitlines()
    assert [len(json.loads(line)["predicted"]) for line in found if line] == [2, 1] and found[1] == ""
    failed = tag(capfdbinary, *path, "jsonl", stdin=text)
    assert failed.status == 1 and "standard input, line 3: '\\ud800' is no character that text can hold" in failed.err


def test_forms_of_output(trained, capfdbinary, tmp_path):
    path, text = ["--path", trained("tagger_lstm").checkpoint], b"w1 w2\n\nw3\n"
    labels = [line.split() for line in tag(capfdbinary, *path, "--output", "labels", stdin=text).out.splitlines()]
    (first, second), (third,) = labels[0], labels[2]
    assert tag(capfdbinary, *path, stdin=text).out == f"w1\t{first}\nw2\t{second}\n\n\nw3\t{third}\n\n"
    objects = tag(capfdbinary, *path, "--output", "jsonl", stdin=text).out.splitlines()
    assert json.loads(objects[0]) == {"tokens": ["w1", "w2"], "labels": [first, second]}
    assert json.loads(objects[1]) == {"tokens": [], "labels": []}
    columns = "\ufeff-DOCSTART- x\r\n\r\nw1 x  \r\nw2 x\r\n\r\n\r\nw3 x".encode()
    (tmp_path / "in").write_bytes(columns)
    flags = ["--layout", "columns", "--output", "append", "--out", tmp_path / "out", tmp_path / "in"]
    assert tag(capfdbinary, *path, *flags).status == 0
    written = f"\ufeff-DOCSTART- x O\r\n\r\nw1 x   {first}\r\nw2 x {second}\r\n\r\n\r\nw3 x {third}"
    assert (tmp_path / "out").read_bytes() == written.encode()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--output", "append"], "--output append needs a --layout with room for a label, and lines has none"),
        (["--tokenize", "moses", "--layout", "columns"], "--tokenize moses is for --layout lines"),
        (["--factor", "pos=1", "--layout", "columns"], "--factor pos: the model has no such factor (it has none)"),
        (["--factor", "pos"], "--factor must be a name, = and a column, as in pos=1, got 'pos'"),
        (["--word-column", "3", "--layout", "columns"], "standard input, line 1: there is no column 3"),
        (["--device", "moon"], "--cpu and --device moon cannot both be"),
        (["no such file"], "No such file or directory: 'no such file'"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(trained, capfdbinary, flags, message):
    failed = tag(capfdbinary, "--path", trained("tagger_lstm").checkpoint, *flags, stdin=b"w1\n")
    assert failed.status == 1 and message in failed.err and failed.out == ""


def test_a_sentence_that_the_model_cannot_read_is_named(trained):
    tagger = Tagger(load([str(trained("tagger_lstm").checkpoint)]))
    tagger.longest = 5
    items = [Item(["w1"] * 5, {}, "file, line 1"), Item(["w1"] * 6, {}, "file, line 2")]
    with pytest.raises(
        UsageError, match="file, line 2: a sentence of 6 words, and the model reads at most 5; split it"
    ):
        list(tagger.tag(items, TagOptions(), torch.device("cpu"), buffer=2))


def test_an_endless_input_is_tagged_while_it_comes(trained):
    tagger = Tagger(load([str(trained("tagger_lstm").checkpoint)]))
    read = itertools.count(1)
    endless = (Item(["w1"] * (1 + next(read) % 4), {}, "") for _ in itertools.repeat(None))
    tagged = tagger.tag(endless, TagOptions(), torch.device("cpu"), buffer=4)
    assert [len(labels) for _, labels in itertools.islice(tagged, 6)] == [2, 3, 4, 1, 2, 3]
    assert next(read) == 9  # two buffers were read


def test_a_reader_that_leaves_ends_it_quietly(trained):
    argv = [sys.executable, "-m", "seqsearch_fairseq", "tag", "--cpu", "--path", str(trained("tagger_lstm").checkpoint)]
    process = subprocess.Popen(
        [*argv, "--buffer-size", "10", "--decoder", "greedy"],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(b"w1 w2 w3\n" * 3_000)  # less than a pipe holds
        process.stdin.close()
    assert process.stdout.readline().startswith(b"w1\t")
    process.stdout.close()
    process.wait(60)
    assert process.stderr.read().count(b"\n") == 1  # the note: no record of the words' preparation


def test_the_options_are_those_of_the_task():
    assert search_task.DECODERS == DECODERS
    assert (search_task.AUTO, *sorted(search_task.LOCAL_SCORES)) == (SCORES[0], *sorted(SCORES[1:]))
    config, options = search_task.SearchTaskConfig(), TagOptions()
    assert GenerationConfig().beam == BEAM
    assert (str(config.decoder), config.soft_beam_decode_alpha, str(config.decode_scores)) == (
        options.decoder,
        options.alpha,
        options.scores,
    )


def test_fairseq_generate_scores_labels_as_what_they_are(trained, lowered):
    model = trained("tagger_lstm")
    arguments = model.data, model.task, model.checkpoint
    assert "beam=3: tag accuracy: " in commands.generate(*arguments, "--beam", 3).text
    assert "BLEU4 = " in commands.generate(*arguments, "--beam", 3, "--scoring", "bleu").text
    chunks = commands.generate(lowered / "bin", "search_tagging", lowered / "checkpoint_best.pt", "--beam", 2, *FACTORS)
    assert "beam=2: chunk F1: " in chunks.text
    translation = trained("lstm")
    assert "BLEU4 = " in commands.generate(translation.data, translation.task, translation.checkpoint, "--beam", 1).text
