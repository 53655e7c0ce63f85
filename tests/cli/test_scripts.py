"""The scripts beside the set-up: preparation of columns, the benchmark, the picture of an objective."""

import json
import math
import statistics
from collections import defaultdict
from pathlib import Path

import commands
import forked
import pytest
import torch
from glue import Loaded

from seqsearch_fairseq.errors import UsageError

SCRIPTS = Path(__file__).parents[2] / "scripts"
ROW = {"work", "size", "variant", "against", "time_ratio", "bytes_ratio", "runs"}


def succeeded(name: str, *arguments) -> str:
    done = commands.script(name, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def measured(*arguments) -> str:
    """What the benchmark prints, in a process of its own."""
    status, out, err = commands.finish(forked.script("benchmark.py", *arguments), 300)
    assert status == 0, err
    return out


def refused(name: str, *arguments) -> str:
    """What the script says on standard error of arguments that it does not take."""
    done = commands.script(name, *arguments)
    assert done.returncode == 2
    return done.stderr


def column_file(path: Path, sentences: int) -> Path:
    path.write_text("".join(f"word{i}\tX\tB\nend\tX\tO\n\n" for i in range(sentences)), encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------------------ prepare_tagging.py


def test_without_a_validation_file_some_training_sentences_are_for_validation(tmp_path):
    train, test = column_file(tmp_path / "train.tsv", 9), column_file(tmp_path / "test.tsv", 2)
    out = succeeded("prepare_tagging.py", tmp_path / "text", "--train", train, "--test", test, "--valid-every", 4)
    assert "valid: 2 sentences, 4 tokens, 2 labels" in out
    words = {split: (tmp_path / "text" / f"{split}.words").read_text().split("\n") for split in ("train", "valid")}
    assert words["valid"] == ["word3 end", "word7 end", ""]
    assert words["train"] == [*(f"word{i} end" for i in (0, 1, 2, 4, 5, 6, 8)), ""]


def test_a_validation_file_leaves_the_training_file_whole(tmp_path):
    files = [column_file(tmp_path / f"{split}.tsv", 12) for split in ("train", "valid", "test")]
    flags = [part for flag, file in zip(("--train", "--valid", "--test"), files, strict=True) for part in (flag, file)]
    out = succeeded("prepare_tagging.py", tmp_path / "text", *flags)
    assert "train: 12 sentences" in out and "valid: 12 sentences" in out


def test_a_share_that_leaves_nothing_to_train_on_is_refused():
    said = refused("prepare_tagging.py", "text", "--train", "file", "--test", "file", "--valid-every", 1)
    assert "argument --valid-every: must be at least 2, got 1" in said


# ------------------------------------------------------------------------------------------------------ benchmark.py


@pytest.mark.parametrize(
    "work,size",
    [
        ("dss", "tagger"),
        ("soft-beam", "tagger"),
        ("searnn", "ocr"),
        ("rivals", "tagger"),
        ("dbd", "decoding, 100 words"),
        ("decode", "B 1,"),
        ("data", "labels"),
    ],
)
def test_the_benchmark_prints_one_object_a_row(work, size):
    out = measured(work, "--size", size, "--runs", 1, "--json", "--cpu")
    rows = [json.loads(line) for line in out.splitlines()]
    keys = ROW | ({"costs_changed"} if work == "searnn" else set())
    assert rows and all(row.keys() == keys and row["work"] == work and row["runs"] == 1 for row in rows)
    assert all(row["time_ratio"] > 0 and (row["bytes_ratio"] or 1) > 0 for row in rows)
    for row in rows:
        if row["against"] == "the same loop":
            assert row["bytes_ratio"] < 1.05  # nothing of the scores' size is kept beside what cross entropy keeps


def test_the_benchmark_measures_memory_in_processes_of_their_own():
    flags = ["--size", "tagger", "--variant", "hinge", "--runs", 1, "--json", "--memory", "--cpu"]
    (row,) = (json.loads(line) for line in measured("soft-beam", *flags).splitlines())
    assert row["variant"] == "hinge, squared-distance, alpha 10"
    assert 0.8 < row["memory_ratio"] < 2 and row["memory_above_model_ratio"] > 0


def test_the_bound_counts_the_products_of_roll_outs():
    flags = ["--size", "ocr", "--variant", "learned", "--runs", 1, "--json", "--bound", "--cpu"]
    rows = [json.loads(line) for line in measured("searnn", *flags).splitlines()]
    whole, narrow, few, _ = rows
    assert whole["costs_changed"] is None and 0 <= narrow["costs_changed"] < 0.01
    assert narrow["roll_out_gflop"] == whole["roll_out_gflop"] and narrow["gflop_a_second"] != whole["gflop_a_second"]
    assert whole.keys() - ROW == {"costs_changed", "roll_out_rows", "roll_out_gflop", "gflop_a_second", "bound_ratio"}
    actions = 64 * 26  # sentences, and labels other than the roll-in's own, whose roll-out is known
    assert whole["roll_out_rows"] == actions * sum(range(9)) > 2 * few["roll_out_rows"]
    first, later = 2 * 128 * 31, 2 * 128 * (31 + 3 * 128)  # output layer, with specials; and the gates
    assert whole["roll_out_gflop"] == pytest.approx(actions * (8 * first + 28 * later) / 1e9, abs=1e-3)
    assert 1 < few["bound_ratio"] < whole["bound_ratio"] < whole["time_ratio"]


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--size", "huge"], "--size must be part of one of: tagger, V 10"),
        (["--runs", "0"], "--runs and --threads must be at least 1, got 0 and 1"),
        (["--sharpness", "-1"], "--sharpness must be a positive number, got -1.0"),
        (["--bound"], "--bound is for searnn, got it with dss"),
    ],
)
def test_the_benchmarks_bad_input_is_refused(flags, message):
    assert message in refused("benchmark.py", "dss", *flags)


def test_the_kernels_are_measured_where_triton_is(monkeypatch):
    pytest.importorskip("triton", reason="needs the package triton (the extra `gpu`)")
    monkeypatch.syspath_prepend(SCRIPTS)
    import benchmark_kernel

    assert benchmark_kernel.sizes()[0] == "V 10000, float32" and len(benchmark_kernel.sizes()) == 4
    small = {"SIZES": {"tiny": benchmark_kernel.Setting(60, torch.bfloat16)}, "UNITS": 8, "BATCH": 2, "LENGTH": 3}
    for name, value in {**small, "WIDTHS": (2,), "PASSES": 1}.items():
        monkeypatch.setattr(benchmark_kernel, name, value)
    device = "cuda" if torch.cuda.is_available() else "cpu"  # there in the interpreter: see conftest.py
    rows = list(benchmark_kernel.measure("tiny", 1, 1, 4.0, device))
    assert [(row.variant, row.against) for row in rows] == [
        ("K 2, alpha 1, torch", "teacher forcing"),
        ("K 2, alpha 1, triton", "teacher forcing"),
        ("K 2, alpha 1, triton", "K 2, alpha 1, torch"),
        ("K 2, alpha 10, torch", "teacher forcing"),
        ("K 2, alpha 10, triton", "teacher forcing"),
        ("K 2, alpha 10, triton", "K 2, alpha 10, torch"),
        ("K 2, candidate pass alone, triton", "K 2, candidate pass alone, torch"),
    ]
    assert all(row.time_ratio > 0 for row in rows)


def test_the_kernels_are_not_measured_where_they_cannot_run(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    message = "error: the work kernel measures triton, which needs the "
    done = commands.script("benchmark.py", "kernel", "--size", "V 10000, float32", "--cpu")
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr


def test_a_page_has_a_table_for_each_work_and_the_picture_of_growth(tmp_path):
    page, picture = tmp_path / "page.md", tmp_path / "images" / "growth.svg"
    picture.parent.mkdir()
    flags = ["--size", "B", "--variant", "B 4, log-probs, squared", "--runs", 1, "--cpu"]
    measured("growth", *flags, "--plot", picture, "--output", page)
    text = page.read_text(encoding="utf-8")
    assert "## How the cost of the soft beam grows" in text and "(images/growth.svg)" in text
    assert "| B | B 4, log-probs, squared-distance | teacher forcing |" in text and "load average" in text
    assert picture.read_text(encoding="utf-8").startswith("<?xml") and len(list(tmp_path.rglob("*"))) == 3


def test_the_sharpness_is_that_of_a_trained_model(trained, monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    from benchmark_sharpness import sharpness_of

    model = trained("tagger_gru")
    task, network = loaded = Loaded.from_checkpoint(model)
    labels = [i for i, name in enumerate(task.target_dictionary.symbols) if task.search_candidates()[i]]
    variances = []
    for batch in loaded.batches("valid", 1)[:200]:
        logits = network(**batch["net_input"])[0][0]
        variances += [statistics.variance(row[labels].tolist()) for row in logits]
    assert sharpness_of(str(model.checkpoint), str(model.data)) == pytest.approx(math.sqrt(statistics.mean(variances)))
    with pytest.raises(UsageError, match=r"the checkpoint nowhere.pt does not exist"):
        sharpness_of("nowhere.pt", None)


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--plot", "line.txt"], "--plot goes with growth and must end in .png, .svg, .pdf, got line.txt"),
        (["--output", "nowhere/page.md"], "--output must be in a folder that exists, got nowhere/page.md"),
        (["--data", "folder"], "--data goes with --path, got folder alone"),
    ],
)
def test_the_benchmarks_files_are_checked_first(flags, message):
    assert message in refused("benchmark.py", "growth", *flags)


def test_memory_is_measured_of_updates_only():
    assert "--memory is for updates (soft-beam, dss," in refused("benchmark.py", "data", "--memory")


# ------------------------------------------------------------------------------------------------- plot_objective.py


def test_the_objective_is_drawn_along_a_random_direction(trained, tmp_path):
    model, picture = trained("tagger_gru"), tmp_path / "pictures" / "line.png"
    flags = ["--path", model.checkpoint, "--output", picture, "--points", 3, "--sentences", 4, "--alpha", 1, 1e8]
    succeeded("plot_objective.py", model.data, *flags)
    assert picture.read_bytes().startswith(b"\x89PNG")
    curves = json.loads(picture.with_suffix(".json").read_text())
    assert curves["places"] == [-1.0, 0.0, 1.0]
    assert curves["argmax"] == pytest.approx(curves["soft argmax, alpha 1e+08"], rel=1e-4)
    assert curves["argmax"][1] != pytest.approx(curves["soft argmax, alpha 1"][1], rel=1e-4)
    assert sorted(path.name for path in picture.parent.iterdir()) == ["line.json", "line.png"]


def test_a_line_between_two_checkpoints_needs_one_architecture(trained, tmp_path):
    one, other = trained("tagger_gru"), trained("tagger_lstm")
    flags = ["--path", one.checkpoint, "--to", other.checkpoint, "--output", tmp_path / "line.png", "--points", 2]
    err = commands.stderr_of_failure(forked.script("plot_objective.py", one.data, *flags))
    assert "has other parameters than --path" in err


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--path", "nowhere.pt"], "the checkpoint nowhere.pt does not exist"),
        (["--path", __file__, "--alpha", "0"], r"--alpha must be positive numbers, got [0.0]"),
        (["--path", __file__, "--points", "1"], "--points must be at least 2, got 1"),
        (["--path", __file__, "--output", "line.pdf"], "--output must end in .png, got line.pdf"),
    ],
)
def test_the_pictures_bad_input_is_refused(flags, message):
    assert message in refused("plot_objective.py", "data", *flags)


# -------------------------------------------------------------------------------------------------------- results.py


def keep(folder, method: str, decoder: str, seed: int, score: float, signature: str = "s") -> None:
    known = ["--method", method, "--decoder", decoder, "--seed", seed, "--score", score]
    assert (
        commands.script("results.py", "add", folder, *known, "--metric", "F1", "--signature", signature).returncode == 0
    )


def test_scores_become_a_table_and_a_bar_chart(tmp_path):
    for method, seed, score in (("cross-entropy", 1, 50), ("cross-entropy", 2, 51), ("searnn", 1, 52.256)):
        keep(tmp_path, method, "greedy", seed, score)
    keep(tmp_path, "searnn", "beam", 1, 53)
    flags = ["--methods", "cross-entropy", "searnn", "missing", "--decoders", "greedy", "beam"]
    done = commands.script("results.py", "table", tmp_path, *flags, "--write", tmp_path / "table")
    assert done.returncode == 0 and done.stdout == (
        "F1, 2 seed(s): 1, 2; s\n\n| training | greedy | beam |\n|---|---|---|\n"
        "| cross-entropy | 50.50 (50.00\u201351.00) | \u2013 |\n"
        "| searnn | 52.26 [1 of 2 seeds] | 53.00 [1 of 2 seeds] |\n"
        "| missing | \u2013 | \u2013 |\n"
    )
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == done.stdout
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.tmp"))


def drawn(monkeypatch, folder: Path, scores: dict, decoders: list[str], rows: int):
    """The figure of a chart, still open, and where its parts lie."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.syspath_prepend(SCRIPTS)
    import results

    figures = []
    monkeypatch.setattr(pyplot, "close", figures.append)
    methods = [f"soft-beam-hinge-logits-annealed-k{i}" for i in range(rows)]
    found = defaultdict(list, {(method, decoder): scores[decoder] for method in methods for decoder in decoders})
    results.draw(str(folder / "chart.png"), "test tag accuracy (%)", methods, decoders, found)
    return figures[0]


@pytest.mark.parametrize("rows", [1, 3, 12])
@pytest.mark.parametrize(
    "decoders", [["greedy", "beam"], ["greedy", "beam-3", "beam-10", "beam-3-logits", "beam-10-logits"]]
)
def test_the_legend_is_outside_of_the_bars(tmp_path, monkeypatch, rows, decoders):
    figure = drawn(monkeypatch, tmp_path, {decoder: [60.0, 62.0] for decoder in decoders}, decoders, rows)
    [legend], [axes] = figure.legends, figure.axes
    place = legend.get_window_extent()
    assert not place.overlaps(axes.get_tightbbox())
    assert 0 <= place.x0 and place.x1 <= figure.bbox.x1 and place.y1 <= figure.bbox.y1
    assert axes.get_tightbbox().x0 > -1  # of a pixel


def test_a_chart_of_zeros_says_so(tmp_path, monkeypatch, capsys):
    figure = drawn(monkeypatch, tmp_path, {"greedy": [0.0, 0.0]}, ["greedy"], 2)
    assert [text.get_text() for text in figure.axes[0].texts] == ["all scores are 0"]
    assert capsys.readouterr().err == f"{tmp_path / 'chart.png'}: all scores are 0, so there are no bars\n"


@pytest.mark.parametrize("scores", [[-5.0, -4.0], [-1.0], [42.0], [-3.0, 2.0], [0.0, 1e-3]])
def test_every_bar_is_within_the_chart(tmp_path, monkeypatch, capsys, scores):
    figure = drawn(monkeypatch, tmp_path, {"greedy": scores, "beam": scores[:1]}, ["greedy", "beam"], 1)
    low, high = figure.axes[0].get_xlim()
    assert low <= min(scores) and max(scores) <= high and (low < min(scores) or high > max(scores))
    assert figure.axes[0].get_xlabel().endswith("begin at zero)") == (not low <= 0 <= high)
    assert capsys.readouterr().err == ""


def test_a_score_that_is_no_number_is_refused(tmp_path):
    known = ["--method", "m", "--decoder", "d", "--seed", "1", "--metric", "F1", "--signature", "s", "--score", "nan"]
    assert "argument --score: must be a number, got nan" in refused("results.py", "add", tmp_path, *known)


def test_a_folder_without_scores_is_named(tmp_path):
    done = commands.script("results.py", "table", tmp_path)
    assert done.returncode == 1 and f"no results in {tmp_path}" in done.stderr
    keep(tmp_path, "cross-entropy", "greedy", 1, 50)
    done = commands.script("results.py", "table", tmp_path, "--decoders", "beam", "--write", tmp_path / "table")
    assert done.returncode == 1 and "of these methods, seeds and decoders" in done.stderr


def test_scores_of_two_kinds_make_no_table(tmp_path):
    keep(tmp_path, "cross-entropy", "greedy", 1, 50)
    keep(tmp_path, "searnn", "greedy", 1, 50, signature="t")
    done = commands.script("results.py", "table", tmp_path)
    assert done.returncode == 1 and "are not of one kind: F1; s | F1; t" in done.stderr
    assert commands.script("results.py", "table", tmp_path, "--methods", "searnn").returncode == 0


# ---------------------------------------------------------------------------------------------------- plot_scores.py


def test_scores_are_drawn_against_a_condition(tmp_path):
    pytest.importorskip("matplotlib")
    for lookahead, score in (("0", 60), ("1", 70)):
        for seed in (1, 2):
            keep(tmp_path / lookahead, "cross-entropy", "greedy", seed, score + seed)
    places = [f"--at={lookahead}={tmp_path / lookahead}" for lookahead in ("0", "1")]
    done = commands.script(
        *("plot_scores.py", *places, "--line", "cross-entropy:greedy", "--axis", "lookahead"),
        *("--out", tmp_path / "figure.svg"),
    )
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert text.startswith("<?xml") and "<!-- cross-entropy, greedy -->" in text and "<!-- lookahead -->" in text


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--at", "0", "--line", "m:d", "--out", "a.png"], "argument --at: must be NAME=RESULTS_DIR, got 0"),
        (["--at", "0=none", "--line", "m:d", "--out", "a.png"], "argument --at: none is no folder"),
        (["--at", "0=.", "--line", "m", "--out", "a.png"], "argument --line: must be METHOD:DECODER, got m"),
        (["--at", "0=.", "--line", "m:d", "--out", "a.txt"], "--out: must end in .png, .svg or .pdf, got a.txt"),
    ],
)
def test_the_figures_bad_input_is_refused(flags, message):
    assert message in refused("plot_scores.py", *flags)


def test_a_score_that_is_missing_is_named(tmp_path):
    keep(tmp_path, "cross-entropy", "greedy", 1, 50)
    flags = ["--at", f"0={tmp_path}", "--line", "searnn:beam", "--out", tmp_path / "a.png"]
    done = commands.script("plot_scores.py", *flags)
    assert done.returncode == 1 and "error: no score of searnn, beam at 0" in done.stderr
    assert not (tmp_path / "a.png").exists()
