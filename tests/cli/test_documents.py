"""What README, examples and scripts say exists: every flag, every method, every file that a link names."""

import re
import subprocess
from pathlib import Path

import pytest
from commands import PLUGIN, script
from fairseq import options

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("examples/*/*.md")), *sorted(ROOT.glob("examples/*/*.sh"))]
DOCUMENTS += [ROOT / "scripts/quickstart.sh", ROOT / "scripts/lib.sh", ROOT / "scripts/example.sh"]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")

# Flags of programs that are not asked below: pip, sacrebleu, awk and friends.
OTHERS = {"--no-build-isolation", "--format", "--force", "--tokenize", "--config-dir", "--config-name"}

PROGRAMS = ("prepare_parallel.py", "prepare_tagging.py", "prepare_spelling.py", "prepare_letters.py")
PROGRAMS += ("prepare_iwslt14.py", "score_tagging.py", "plot_objective.py", "benchmark.py")
PLUGINS = [  # a task, a model, a criterion and a scheduler each bring flags of their own
    ("search_translation", "iwslt_goyal2017", "soft_beam_direct", "inverse_sqrt"),
    ("search_tagging", "tagger_gru", "differentiable_scheduled_sampling", "fixed"),
    ("search_translation", "spelling_leblond2018", "searnn", "polynomial_decay"),
    ("search_tagging", "ner_goyal2018", "label_smoothed_cross_entropy", "reduce_lr_on_plateau"),
]


def fairseq_flags(parser, *flags: str) -> set[str]:
    options.parse_args_and_arch(parser, input_args=["data", "--user-dir", str(PLUGIN), *flags])
    return set(parser._option_string_actions)


@pytest.fixture(scope="module")
def known_flags() -> set[str]:
    known = OTHERS | fairseq_flags(options.get_generation_parser(), "--task", "search_tagging", "--path", "model")
    for task, arch, criterion, schedule in PLUGINS:
        chosen = ["--task", task, "--arch", arch, "--criterion", criterion, "--lr-scheduler", schedule]
        known |= fairseq_flags(options.get_training_parser(), *chosen, "--optimizer", "adam")
    known |= set(options.get_preprocessing_parser()._option_string_actions)
    programs = [[name] for name in PROGRAMS] + [["results.py", command] for command in ("add", "table")]
    programs += [["../seqsearch_fairseq/__main__.py"], ["../seqsearch_fairseq/__main__.py", "score"]]
    return known.union(*(FLAG.findall(script(*program, "--help").stdout) for program in programs))


def test_every_flag_that_is_written_down_exists(known_flags):
    used = {(flag, path.relative_to(ROOT).as_posix()) for path in DOCUMENTS for flag in FLAG.findall(path.read_text())}
    assert [use for use in sorted(used) if use[0] not in known_flags] == []


@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if path.suffix == ".md"], ids=lambda path: path.parent.name
)
def test_every_file_that_a_link_names_exists(path):
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", sorted([*ROOT.glob("scripts/*.sh"), *ROOT.glob("examples/*/*.sh")]), ids=str)
def test_every_shell_script_parses(path):
    assert subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True).stderr == ""
