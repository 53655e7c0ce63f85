"""`scripts/plot_recognition.py`: what is in its pictures, and what is refused."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import commands
import pytest
import speech
from commands import script

NAME = "plot_recognition.py"
TEXT = "{http://www.w3.org/2000/svg}text"


def texts(picture: Path) -> list[str]:
    return [node.text for node in ElementTree.parse(picture).iter(TEXT)]


@pytest.fixture
def results(tmp_path) -> Path:
    """Two seeds of two methods, as evaluate.sh writes them."""
    folder = tmp_path / "results"
    for seed in (1, 2):
        for method in ("ctc", "dbd-learned"):
            for decoder in ("greedy", "beam-5", "beam-50", "grid-5", "grid-50"):
                flags = ("--method", method, "--decoder", decoder, "--seed", seed, "--metric", "test word error (%)")
                done = script("results.py", "add", folder, *flags, "--score", 10 + seed, "--signature", "all")
                assert done.returncode == 0
    return folder


def test_errors_have_a_line_for_each_method_and_kind_and_a_place_for_each_size(tmp_path, results):
    for name in ("one.svg", "two.svg"):
        assert script(NAME, "errors", results, "--out", tmp_path / name) == (0, f"wrote {tmp_path / name}\n", "")
    found = texts(tmp_path / "one.svg")
    lines = [f"{method}, {kind}" for method in ("ctc", "dbd-learned") for kind in ("own weights", "weights by grid")]
    assert [text for text in found if "," in text] == lines
    assert found[:2] == ["5", "50"] and "test word error (%)" in found
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_lines_and_seeds_can_be_chosen(tmp_path, results):
    chosen = ("--line", "dbd-learned:beam", "--line", "ctc:grid", "--seeds", 2)
    assert script(NAME, "errors", results, *chosen, "--out", tmp_path / "new/one.svg").returncode == 0
    found = texts(tmp_path / "new/one.svg")
    assert [text for text in found if "," in text] == ["dbd-learned, own weights", "ctc, weights by grid"]
    assert script(NAME, "errors", results, "--out", tmp_path / "one.png").returncode == 0
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (("--line", "ctc"), 2, "argument --line: must be METHOD:KIND, KIND beam or grid, got ctc"),
        (("--line", "asg:beam"), 1, "has no score of a column beam-K or grid-K, of these lines and seeds"),
        (("--line", "ctc:beam", "--line", "asg:beam"), 1, "has no score of --line asg:beam"),
        (("--seeds", 3), 1, "has no score of a column beam-K or grid-K, of these lines and seeds"),
    ],
)
def test_scores_that_are_not_there_are_refused(tmp_path, results, flags, status, message):
    done = script(NAME, "errors", results, *flags, "--out", tmp_path / "one.svg")
    assert done.returncode == status and message in done.stderr and not (tmp_path / "one.svg").exists()


def test_other_faults_are_refused(tmp_path, results):
    done = script(NAME, "errors", results, "--out", tmp_path / "one.gif")
    assert done.returncode == 2 and "argument --out: must end in .png or .svg, got " in done.stderr
    record = json.loads(next(results.glob("ctc-1-beam-5.json")).read_text())
    (results / "other.json").write_text(json.dumps({**record, "metric": "valid word error (%)"}))
    done = script(NAME, "errors", results, "--out", tmp_path / "one.svg")
    assert done.returncode == 1 and "are not of one kind: test word error (%) | valid word error (%)" in done.stderr


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory) -> tuple[Path, Path]:
    """Data, and a model that has learned a little of them."""
    folder = tmp_path_factory.mktemp("recognizer")
    data = speech.prepare(folder)
    commands.train(data, "search_recognition", folder / "model", *speech.TINY, "--max-epoch", 12)
    return data, folder / "model" / "checkpoint_last.pt"


def utterance(recognizer, out: Path, *flags, number: int = 1) -> commands.Script:
    data, checkpoint = recognizer
    files = ("--recognition-lexicon", data / "lexicon.txt", "--recognition-lm", data / "ngram.arpa")
    return script(NAME, "utterance", data, "--path", checkpoint, *files, "--utterance", number, "--out", out, *flags)


def test_an_utterance_has_its_units_the_words_of_the_search_and_the_gold(tmp_path, recognizer):
    done = utterance(recognizer, tmp_path / "one.svg", "--recognition-lm-weight", 1.5, "--recognition-beam-size", 20)
    assert done == (0, f"wrote {tmp_path / 'one.svg'}\n", ""), done.stderr
    found = texts(tmp_path / "one.svg")
    gold = (recognizer[0] / "test.wrd").read_text().splitlines()[1].split()
    assert "Utterance 1 of test, a beam of 20; lm weight 1.5, word score 0, silence score 0" in found
    assert {"blank", "|", *(letter for word in gold for letter in word)} <= set(found)
    assert "gold" in found and set(gold) <= set(found)
    decoded = commands.generate(
        recognizer[0], "search_recognition", recognizer[1], "--decoder", "beam", "--recognition-beam-size", 20,
        "--recognition-lm-weight", 1.5, "--recognition-merge", "max", "--recognition-lexicon",
        recognizer[0] / "lexicon.txt", "--recognition-lm", recognizer[0] / "ngram.arpa",
    )  # fmt: skip
    words = decoded.lines("D")[1][0][-1].split()
    assert words and set(words) <= set(found)


@pytest.mark.parametrize(
    ("flags", "number", "message"),
    [
        ((), 8, "error: --utterance must be in [0, 7], those of test, got 8"),
        (("--gen-subset", "dev"), 0, "split 'dev' is not in"),
        (("--recognition-lexicon", "no-file"), 0, "no-file"),
    ],
)
def test_utterances_that_cannot_be_drawn_are_refused(tmp_path, recognizer, flags, number, message):
    done = utterance(recognizer, tmp_path / "one.svg", *flags, number=number)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "one.svg").exists()


def test_a_word_that_the_lexicon_lacks_is_refused(tmp_path, recognizer):
    rows = (recognizer[0] / "lexicon.txt").read_text().splitlines(keepends=True)
    gold = (recognizer[0] / "test.wrd").read_text().splitlines()[1].split()
    (tmp_path / "few").write_text("".join(row for row in rows if row.split()[0] != gold[0]))
    done = utterance(recognizer, tmp_path / "one.svg", "--recognition-lexicon", tmp_path / "few")
    assert done.returncode == 1 and f"the word {gold[0]!r} is not in the lexicon" in done.stderr
