"""tune_decoder.py: the grid over one pass of emissions, going on after it was cut off, and bad input."""

import json

import commands
import pytest

NAME = "tune_decoder.py"
GRID = ["--lm-weights", "0.5,2", "--word-scores=-40,0", "--beam-size", 10, "--cpu"]


@pytest.fixture
def arguments(spoken, recognizer) -> list:
    files = ["--recognition-lexicon", spoken / "lexicon.txt", "--recognition-lm", spoken / "ngram.arpa"]
    return [spoken, "--path", recognizer, *files, *GRID]


def test_the_best_point_is_what_generate_then_scores(arguments, spoken, recognizer, tmp_path):
    output = ["--output", tmp_path / "grid.jsonl"]
    done = commands.script(NAME, *arguments, *output)
    assert done.returncode == 0, done.stderr
    first, *points = map(json.loads, (tmp_path / "grid.jsonl").read_text().splitlines())
    assert first["beam_size"] == 10 and len(points) == 4
    best = min(points, key=lambda one: one["word_error"])
    assert best["weights"][1] == 0.0
    assert done.stdout.splitlines()[2].startswith(f"| {best['word_error']:.2f} | {best['unit_error']:.2f} | ")
    flags = done.stdout.strip().rpartition(": ")[2].split()
    files = arguments[3:7]
    decode = ["--decoder", "beam", "--recognition-beam-size", 10, "--gen-subset", "valid", *files, *flags]
    said = commands.generate(spoken, "search_recognition", recognizer, *decode).text
    assert f"word error rate: {best['word_error']:.2f} %" in said

    text = (tmp_path / "grid.jsonl").read_text()
    lines = text.splitlines(keepends=True)
    lines[1] = lines[1].replace(str(points[0]["word_error"]), "-1.0")  # known from before: not measured again
    (tmp_path / "grid.jsonl").write_text("".join(lines[:3]) + lines[3][:10])
    again = commands.script(NAME, *arguments, *output, "--json")
    assert again.returncode == 0, again.stderr
    found = json.loads(again.stdout)
    assert found[0]["word_error"] == -1.0 and {tuple(one["weights"]) for one in found} == {
        tuple(one["weights"]) for one in points
    }
    other = commands.script(NAME, *arguments, *output, "--beam-size", 20)
    assert other.returncode == 1 and "grid.jsonl was made with other settings" in other.stderr
    (tmp_path / "grid.jsonl").write_text("[1]\n[2]\n")
    other = commands.script(NAME, *arguments, *output)
    assert other.returncode == 1 and "grid.jsonl is no file that this program wrote" in other.stderr


def test_some_points_at_random(arguments):
    done = commands.script(NAME, *arguments, "--trials", 2, "--json")
    assert len(json.loads(done.stdout)) == 2
    assert commands.script(NAME, *arguments, "--trials", 2, "--json").stdout == done.stdout


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--lm-weights", "1,nan"], "must be numbers with commas between them, got 1,nan"),
        (["--lm-weights", "1,x"], "argument --lm-weights: invalid numbers value: '1,x'"),
        (["--beam-size", "0"], "argument --beam-size: "),
    ],
)
def test_options_that_break_a_rule_are_refused(arguments, flags, message):
    done = commands.script(NAME, *arguments, *flags)
    assert done.returncode == 2 and message in done.stderr


def test_what_it_needs_is_said(spoken, recognizer, trained):
    done = commands.script(NAME, spoken, "--path", recognizer)
    assert done.returncode == 1 and "a search needs words to find: say --recognition-lexicon" in done.stderr
    tagger = trained("tagger_lstm")
    done = commands.script(NAME, tagger.data, "--path", tagger.checkpoint)
    assert done.returncode == 1 and "must be a checkpoint of --task search_recognition, it is of Search" in done.stderr
