"""`scripts/plot_beam.py`: what is in the picture, and what is refused."""

import importlib
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import commands
import numpy as np
import pytest
from commands import ENVIRONMENT, ROOT, SMALL

from seqsearch_fairseq.adapters import LOCAL_SCORES
from seqsearch_fairseq.algorithms.relaxations import TOP_K

TEXT = "{http://www.w3.org/2000/svg}text"


def drawn(model, output: Path, *flags) -> commands.Script:
    flags = ["--path", model.checkpoint, "--output", output, *flags]
    return commands.script("plot_beam.py", model.data, *flags)


def texts(model, output: Path, *flags) -> list[str]:
    """What stands in an SVG picture, text by text."""
    done = drawn(model, output, *flags)
    assert done.returncode == 0, done.stderr
    return [node.text for node in ElementTree.parse(output).iter(TEXT)]


def line(corpus, split: str, number: int, side: str) -> list[str]:
    return (corpus.text / f"{split}.{side}").read_text().splitlines()[number].split()


def long_sentence(corpus) -> int:
    lines = (corpus.text / "small.src").read_text().splitlines()
    return next(n for n, words in enumerate(lines) if len(words.split()) >= 5)


def test_a_picture_shows_words_gold_labels_weights_and_how_the_beams_end(trained, tmp_path):
    model = trained("tagger_lstm")
    number = long_sentence(model.corpus)
    flags = ["--gen-subset", SMALL, "--sentence", number, "--beam", 2, "--alpha", 0.01, 1e6]
    found = texts(model, tmp_path / "new" / "beam.svg", *flags)
    words, labels = (line(model.corpus, "small", number, side) for side in ("src", "tgt"))
    assert [text for text in found if text in words] == words
    assert found[found.index("gold") + 1 :][: len(labels)] == labels
    assert {"Relaxed beam, alpha 0.01", "Relaxed beam, alpha 1e+06", "Plain beam search"} <= set(found)
    captions = [text for text in found if text.startswith("direct objective")]
    assert "collapsed: all states agree to 0.001; all beams choose the same in" in captions[0]
    assert captions[1].endswith("per token; not collapsed")
    assert ".33" in found[: found.index("Plain beam search")]  # three labels, and hardly a preference
    soft, hard = (found.index(text) for text in ("Relaxed beam, alpha 1e+06", "Plain beam search"))
    scores = [[text for text in part if text.startswith("score ")] for part in (found[soft:hard], found[hard:])]
    assert len(scores[0]) == 2 and scores[0] == scores[1]  # at a large alpha both are one search
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["beam.svg"]


def test_a_translation_has_its_source_above_and_may_be_drawn_in_part(trained, tmp_path):
    model = trained("transformer")
    number = long_sentence(model.corpus)
    flags = ["--gen-subset", SMALL, "--sentence", number, "--scores", "logits", "--top-k", "successive", "--alpha", 3]
    found = texts(model, tmp_path / "beam.svg", *flags, "--steps", "2:3")
    source, target = (line(model.corpus, "small", number, side) for side in ("src", "tgt"))
    assert f"source: {' '.join(source)}" in found
    assert found[found.index("gold") + 1 :][:2] == target[1:3]
    steps = len(target) + 1  # the end of sentence is a token
    assert f"{steps} steps (2 to 3 drawn); a score is a sum of logits; relaxed top-k: successive" in " ".join(found)
    assert not any(text.startswith("cost") for text in found)  # the final beams are not in this part


@pytest.mark.parametrize("arch", ["lstm", "attention_gru", "tagger_gru"])
def test_every_family_can_be_drawn_as_png(arch, trained, tmp_path):
    picture = tmp_path / "beam.png"
    done = drawn(trained(arch), picture, "--gen-subset", "valid", "--sentence", 1, "--beam", 1)
    assert (done.returncode, done.stdout) == (0, f"wrote {picture}\n"), done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_same_search_gives_the_same_picture(trained, tmp_path):
    for name in ("one.svg", "two.svg"):
        texts(trained("tagger_gru"), tmp_path / name, "--sentence", 0)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


@pytest.fixture
def beam_picture(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("beam_picture")


def test_nothing_overlaps_in_a_wide_picture_whatever_the_tokens_are(beam_picture, tmp_path):
    names = ["$x^2$", "<b>&amp;", "(S\\NP)/" * 9, "a\x07b", "n", "\N{GRINNING FACE}", "W" * 40]
    steps, beams = 15, 5
    cells = [
        [
            beam_picture.Cell([(names[(t + j + n) % 7], w, n == 0) for n, w in enumerate((0.6, 0.3, 0.1))], -1234.56)
            for j in range(beams)
        ]
        for t in range(steps)
    ]
    lines = [[[0.2] * beams] * beams] * steps
    ends = [["score -1234.56", "cost 15.00", "weight 0.20"]] * beams
    panel = beam_picture.Panel("Panel", "word " * 60, cells, lines, [0] * steps, ends, [True] * steps)
    words = [names[t % 7] for t in range(steps)]
    picture = beam_picture.Picture("Title " * 40, "source " * 50, words, words, [panel], 1, steps)
    drawing = beam_picture.Drawing(picture)
    boxes = np.array([text.get_window_extent().extents for text in drawing.axes.texts])  # left, bottom, right, top
    assert len(boxes) > steps * beams * 7
    low, high = boxes[:, :2] + 0.5, boxes[:, 2:] - 0.5  # half a pixel may be shared
    overlapping = (np.maximum(low, low[:, None]) < np.minimum(high, high[:, None])).all(axis=2)
    assert overlapping.sum() == len(boxes)  # each with itself
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= drawing.figure.bbox.max).all()
    beam_picture.write_picture(picture, tmp_path / "beam.svg", "svg")
    found = [node.text for node in ElementTree.parse(tmp_path / "beam.svg").iter(TEXT)]
    assert {"$x^2$", "<b>&amp;", "a\N{REPLACEMENT CHARACTER}b"} <= set(found)


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--sentence", 24], "--sentence must be in [0, 23], the sentences of valid, got 24"),
        (["--sentence", -1], "--sentence must be in [0, 23], the sentences of valid, got -1"),
        (["--sentence", 0, "--beam", 4], "--beam must be in [1, 3], the number of candidate tokens, got 4"),
        (["--sentence", 0, "--steps", "3:99"], "--steps must be FIRST:LAST, a part of the steps 1:"),
        (["--sentence", 0, "--steps", "0:1"], "got 0:1"),
        (["--sentence", 0, "--gen-subset", "tset"], "split 'tset' is not in"),
        (["--sentence", 0, "--output", Path(__file__) / "beam.png"], "beam.png cannot be written: "),
        (["--sentence", 0, "--alpha", 1e39], "--alpha 1e+39: the scores of this model are no finite numbers there"),
    ],
)
def test_what_does_not_fit_the_data_is_one_sentence(flags, message, trained, tmp_path):
    done = drawn(trained("tagger_gru"), tmp_path / "beam.png", "--gen-subset", "valid", *flags)
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.count("\n") == 1 and not list(tmp_path.iterdir())


def test_standard_error_holds_that_sentence_alone(trained):
    model = trained("tagger_gru")
    argv = [ROOT / "scripts" / "plot_beam.py", model.data, "--path", model.checkpoint, "--sentence", "200"]
    done = subprocess.run([sys.executable, *argv], env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: --sentence must be in [0, 199], the sentences of test, got 200\n"


def test_words_without_labels_are_searched_too(trained, tmp_path):
    model = trained("tagger_gru")
    data = shutil.copytree(model.data, tmp_path / "data", ignore=shutil.ignore_patterns("test.src-tgt.tgt.*"))
    flags = ["--path", model.checkpoint, "--sentence", 0, "--output", tmp_path / "beam.svg"]
    assert commands.script("plot_beam.py", data, *flags).returncode == 0
    found = (tmp_path / "beam.svg").read_text()
    assert "gold" not in found and "beam distance" in found


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--path", "nowhere.pt"], "the checkpoint nowhere.pt does not exist"),
        (["--alpha", "1", "nan"], "--alpha must be positive numbers, got [1.0, nan]"),
        (["--beam", "0"], "--beam must be in [1, 60], got 0"),
        (["--tokens", "0"], "--tokens must be in [1, 10], got 0"),
        (["--beam", "25"], "--beam 25 with 2 alphas makes 75 rows; at most 60 fit"),
        (["--steps", "7"], "argument --steps: must be FIRST:LAST, as in 1:20, got 7"),
        (["--output", "beam.pdf"], "--output must end in .png or .svg, got beam.pdf"),
    ],
)
def test_bad_options_are_refused(flags, message):
    done = commands.script("plot_beam.py", "data", "--path", __file__, "--sentence", 0, *flags)
    assert done.returncode == 2 and message in done.stderr


def test_its_choices_are_those_of_the_search_and_help_needs_no_torch():
    source = (
        "import runpy, sys; sys.modules['torch'] = sys.modules['matplotlib'] = None; sys.argv = ['plot_beam.py', '-h'];"
        f"runpy.run_path({str(ROOT / 'scripts' / 'plot_beam.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", source], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{{auto,{','.join(LOCAL_SCORES)}}}" in done.stdout and f"{{{','.join(TOP_K)}}}" in done.stdout
