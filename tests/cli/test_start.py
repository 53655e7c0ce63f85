"""Starting is quick, and fairseq finds the plug-in's names whatever was imported first."""

import os
import resource
import signal
import subprocess
import sys

import pytest
from commands import ENVIRONMENT, ROOT

PROGRAMS = sorted(path for path in (ROOT / "scripts").glob("*.py") if "__main__" in path.read_text(encoding="utf-8"))
COMMANDS = [[str(path)] for path in PROGRAMS]
COMMANDS += [["-m", "seqsearch_fairseq", *command] for command in ([], ["score"], ["tag"], ["diagnose"])]


def python(*arguments) -> subprocess.CompletedProcess:
    argv = [sys.executable, *map(str, arguments)]
    done = subprocess.run(argv, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


def seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("command", COMMANDS, ids=[" ".join(command).split("/")[-1] for command in COMMANDS])
def test_help_takes_less_than_a_second_of_cpu_time(command):
    before = seconds_of_children()
    done = python(*command, "--help")
    assert seconds_of_children() - before < 1
    assert done.stdout.startswith("usage: ") and done.stderr == ""


@pytest.mark.parametrize("command", COMMANDS, ids=[" ".join(command).split("/")[-1] for command in COMMANDS])
def test_a_reader_that_wants_no_more_ends_a_program_quietly(command):
    status, err = with_a_closed_reader(*command, "--help")
    assert (status, err) == (128 + signal.SIGPIPE, "")


def test_so_it_does_when_the_work_is_done(tmp_path):
    (tmp_path / "corpus").write_text("a X\nb Y\n\n" * 30)
    flags = ["--train", tmp_path / "corpus", "--test", tmp_path / "corpus"]
    status, err = with_a_closed_reader(ROOT / "scripts" / "prepare_tagging.py", tmp_path / "text", *flags)
    assert (status, err) == (128 + signal.SIGPIPE, "")
    assert (tmp_path / "text" / "train.words").read_text().startswith("a b\n")


def with_a_closed_reader(*arguments) -> tuple[int, str]:
    """Exit status and standard error of a program whose output nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    env = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONUNBUFFERED"}  # as a user has it
    argv = [sys.executable, *map(str, arguments)]
    done = subprocess.run(argv, cwd=ROOT, env=env, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writer)
    return done.returncode, done.stderr


def test_the_package_alone_imports_neither_torch_nor_fairseq():
    done = python(
        "-c", "import sys, seqsearch_fairseq; print(sorted({'torch', 'fairseq', 'numpy'} & set(sys.modules)))"
    )
    assert done.stdout == "[]\n"


FOUND = "; from fairseq.criterions import CRITERION_REGISTRY; print(CRITERION_REGISTRY['searnn'].__name__)"


@pytest.mark.parametrize(
    "first",
    [
        "import seqsearch_fairseq",
        "import fairseq, seqsearch_fairseq",
        "from seqsearch_fairseq.adapters import FairseqStep",
        "import seqsearch_fairseq; assert seqsearch_fairseq.models.tagger.TaggerModel",
    ],
)
def test_the_names_are_registered_whatever_is_imported_first(first):
    assert "SearnnCriterion" in python("-c", first + FOUND).stdout


def test_what_the_benchmark_offers_is_what_it_can_measure(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import benchmark
    import benchmark_updates

    assert list(benchmark.UPDATES) == list(benchmark_updates.WORKS)
