"""What the documents, examples and scripts say exists: every flag, every linked file; tables are up to date."""

import re
import subprocess
from pathlib import Path

import pytest
from commands import PLUGIN, script
from fairseq import options

ROOT = Path(__file__).parents[2]
README, PAGES = ROOT / "README.md", [*sorted(ROOT.glob("docs/*.md")), ROOT / "CONTRIBUTING.md"]
MARKDOWN = [README, ROOT / "CHANGELOG.md", *PAGES, *sorted(ROOT.glob("examples/*/*.md"))]
DOCUMENTS = [*MARKDOWN, *sorted(ROOT.glob("examples/*/*.sh"))]
DOCUMENTS += [ROOT / f"scripts/{name}.sh" for name in ("quickstart", "lib", "example", "recognition")]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")

# Flags of programs that are not asked below: pip, sacrebleu, git and friends.
OTHERS = {
    "--no-build-isolation",
    "--format",
    "--force",
    "--tokenize",
    "--config-dir",
    "--config-name",
    "--stat",
    "--no-binary",
}

PROGRAMS = ("prepare_parallel.py", "prepare_tagging.py", "prepare_spelling.py", "prepare_letters.py")
PROGRAMS += (
    "prepare_iwslt14.py",
    "prepare_recognition.py",
    "prepare_handwriting.py",
    "train_recognition_lm.py",
    "tune_decoder.py",
    "score_tagging.py",
    "plot_objective.py",
    "plot_beam.py",
    "plot_scores.py",
    "generate_each.py",
    "benchmark.py",
    "make_docs.py",
    "differences.py",
)
PLUGINS = [  # a task, a model, a criterion and a scheduler each bring flags of their own
    ("search_translation", "iwslt_goyal2017", "soft_beam_direct", "inverse_sqrt"),
    ("search_tagging", "tagger_gru", "differentiable_scheduled_sampling", "fixed"),
    ("search_translation", "spelling_leblond2018", "searnn", "polynomial_decay"),
    ("search_tagging", "tagger_lstm", "global_likelihood", "fixed"),
    ("search_tagging", "tagger_lstm", "beam_search_optimization", "fixed"),
    ("search_translation", "transformer", "minimum_risk", "fixed"),
    ("search_tagging", "ner_goyal2018", "label_smoothed_cross_entropy", "reduce_lr_on_plateau"),
    ("search_recognition", "recognizer_lstm", "dbd", "fixed"),
    ("search_recognition", "recognizer_lstm", "ctc", "fixed"),
    ("search_translation", "iwslt_goyal2017", "global_likelihood", "fixed"),
    ("search_tagging", "tagger_gru", "beam_search_optimization", "fixed"),
    ("search_translation", "iwslt_goyal2017", "minimum_risk", "fixed"),
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
    programs += [["plot_recognition.py", command] for command in ("errors", "utterance")]
    programs += [
        ["../seqsearch_fairseq/__main__.py"],
        *(["../seqsearch_fairseq/__main__.py", command] for command in ("tag", "score", "diagnose")),
    ]
    return known.union(*(FLAG.findall(script(*program, "--help").stdout) for program in programs))


def test_every_flag_that_is_written_down_exists(known_flags):
    used = {(flag, path.relative_to(ROOT).as_posix()) for path in DOCUMENTS for flag in FLAG.findall(path.read_text())}
    assert [use for use in sorted(used) if use[0] not in known_flags] == []


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchors(text: str) -> set[str]:
    """What GitHub calls the headings of a page."""
    titles = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), flags=re.MULTILINE
    )
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", MARKDOWN, ids=name)
def test_every_file_and_heading_that_a_link_names_exists(path):
    wrong = []
    for link in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if "://" not in link and (not target.exists() or (anchor and anchor not in anchors(target.read_text()))):
            wrong.append(link)
    assert wrong == []


def test_tables_of_flags_and_options_are_what_the_script_makes():
    assert script("make_docs.py", "--check") == (0, "", "")


def test_a_page_that_is_out_of_date_is_named(tmp_path):
    page = tmp_path / "soft.md"
    page.write_text("# Which?\n\n<!-- flags: soft_beam_direct -->\n<!-- end -->\n")
    assert script("make_docs.py", "--check", page) == (1, "soft.md: out of date, run python scripts/make_docs.py\n", "")
    assert script("make_docs.py", page) == (0, "soft.md: written\n", "")
    assert script("make_docs.py", "--check", page) == (0, "", "")
    assert "| `--soft-beam-size` | `3` |" in page.read_text()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("<!-- flags: no_such_name -->\n<!-- end -->\n", "flags: no_such_name is no criterion, task or model"),
        ("<!-- options: no_such.py -->\n<!-- end -->\n", "options: there is no scripts/no_such.py"),
        ("<!-- scripts -->\n", "page.md: a generated part has no <!-- end -->"),
    ],
)
def test_a_generated_part_that_cannot_be_made_is_an_error(tmp_path, part, message):
    (tmp_path / "page.md").write_text(part)
    ended = script("make_docs.py", tmp_path / "page.md")
    assert ended.returncode == 1 and message in ended.stderr


def test_the_readme_fits_and_names_every_page():
    text = README.read_text()
    assert text.count("\n") <= 120
    assert [name(page) for page in PAGES if f"]({name(page)})" not in text] == []


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_page_opens_with_the_question_that_it_answers(path):
    assert re.match(r"# .+\?\n\n", path.read_text())


@pytest.mark.parametrize("path", MARKDOWN, ids=name)
def test_every_block_of_commands_parses(path):
    blocks = re.findall(r"^```bash\n(.*?)^```$", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    parsed = subprocess.run(["bash", "-n"], input="\n".join(blocks), capture_output=True, text=True)
    assert parsed.stderr == ""


@pytest.mark.parametrize("path", sorted([*ROOT.glob("scripts/*.sh"), *ROOT.glob("examples/*/*.sh")]), ids=name)
def test_every_shell_script_parses(path):
    assert subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True).stderr == ""
