"""scripts/differences.py: the rows of a table beside their control."""

from commands import script

GOLD = ["A B A", "B B", "A A A A"] * 20
LABELS = {  # method-seed -> text
    "control-1": ["A B B", "B A", "A A B A"] * 20,
    "control-2": GOLD,
    "better-1": GOLD,
    "better-2": GOLD,
}


def write(folder, texts=LABELS):
    (folder / "gold").write_text("".join(line + "\n" for line in GOLD))
    for name, lines in texts.items():
        (folder / name).mkdir()
        (folder / name / "test.beam.txt").write_text("".join(line + "\n" for line in lines))


def differences(folder, *options):
    shared = [
        "--gold",
        folder / "gold",
        "--scoring",
        "tag_accuracy",
        "--control",
        "control",
        "--methods",
        "control",
        "better",
    ]
    return script("differences.py", folder, *shared, "--decoders", "greedy", "beam", "--seeds", 1, 2, *options)


def test_the_differences_of_each_seed_and_what_was_not_run(tmp_path):
    write(tmp_path)
    result = differences(tmp_path, "--write", tmp_path / "out.md")
    assert result.returncode == 0 and (tmp_path / "out.md").read_text() == result.stdout
    assert "| better | – | +16.67 (+33.33*, +0.00) |" in result.stdout
    assert "| control |" not in result.stdout


def test_the_control_under_another_decoder(tmp_path):
    write(tmp_path)
    (tmp_path / "control-1" / "test.greedy.txt").write_text("B B A\nB B\nA A A A\n" * 20)
    result = differences(tmp_path, "--control-decoder", "greedy")
    assert "difference to control, greedy" in result.stdout
    assert "| better | – | +11.11* |" in result.stdout and "| control | +0.00 | -22.22* |" in result.stdout


def test_bleu_is_counted_by_the_tokeniser_of_the_table(tmp_path):
    """The full stops are words of their own for 13a, and parts of words for none."""
    write(tmp_path, {"control-1": ["C. B. A.", "B. C."] * 30, "better-1": ["A. B. A.", "B. C."] * 30})
    (tmp_path / "gold").write_text("A. B. A.\nB. B.\n" * 30)
    found = {
        flags: differences(tmp_path, "--scoring", "bleu", "--decoders", "beam", *flags)
        for flags in ((), ("--tokenize", "13a"), ("--tokenize", "none"))
    }
    assert all(result.returncode == 0 for result in found.values())
    assert found[()].stdout == found["--tokenize", "13a"].stdout != found["--tokenize", "none"].stdout
    refused = differences(tmp_path, "--tokenize", "14")
    assert refused.returncode == 2 and "argument --tokenize: must be one of 13a, " in refused.stderr


def test_outputs_that_are_cut_off_are_refused_by_name(tmp_path):
    write(tmp_path, LABELS | {"better-1": GOLD[:-1]})
    result = differences(tmp_path)
    assert result.returncode == 1 and result.stdout == ""
    assert (
        "better-1/test.beam.txt" in result.stderr and "must have as many sentences, got 60, 60 and 59" in result.stderr
    )
