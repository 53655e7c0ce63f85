"""The shell of the examples on stubs, without fairseq: which names are taken, and the settings that they stand for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from commands import ROOT

EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/settings.sh"))
FAIRSEQ_TRAIN = """#!/usr/bin/env bash
while [ "$1" != --save-dir ]; do shift; done
touch "$2/checkpoint_last.pt" "$2/checkpoint_best.pt"
"""


class Shell:
    """A copy of the scripts and the examples, with a stub of fairseq-train; `built` exists once .venv was asked for."""

    def __init__(self, folder: Path) -> None:
        self.root, self.work, self.built = folder / "repo", folder / "work", folder / "built"
        shutil.copytree(ROOT / "examples", self.root / "examples", ignore=shutil.ignore_patterns("work*"))
        shutil.copytree(ROOT / "scripts", self.root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        (self.root / "scripts" / "env.sh").write_text(f"touch '{self.built}'\n")
        stub = self.root / ".venv" / "bin" / "fairseq-train"
        stub.parent.mkdir(parents=True)
        stub.write_text(FAIRSEQ_TRAIN)
        stub.chmod(0o755)

    def run(self, script: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess:
        plain = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environment = plain | {"WORK": str(self.work)} | settings
        command = ["bash", str(self.root / script), *arguments]
        return subprocess.run(command, env=environment, cwd=self.root, capture_output=True, text=True, timeout=60)

    def call(self, example: str, lines: str, **settings: str) -> str:
        """What these lines of shell print after the settings of an example."""
        script = self.root / "examples" / example / "called.sh"
        script.write_text(f'. "$(dirname "$0")/settings.sh"\n{lines}\n')
        done = self.run(f"examples/{example}/called.sh", **settings)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, script: str, *arguments: str, **settings: str) -> str:
        """The one line on standard error of a script that ends before it writes anything."""
        done = self.run(script, *arguments, **settings)
        assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1, done.stdout + done.stderr
        assert not self.work.exists() and not self.built.exists()
        return done.stderr

    def flags(self, example: str, method: str, **settings: str) -> str:
        """What the model of a method is trained with."""
        done = self.run(f"examples/{example}/train.sh", method, "1", **settings)
        assert done.returncode == 0, done.stderr
        [found] = self.work.rglob(f"*{method}-1/settings")
        return " " + found.read_text().replace("\n", " ")


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


@pytest.mark.parametrize(
    ("script", "arguments", "settings", "message"),
    [
        (
            "ner/run.sh",
            ["data"],
            {"ONLY": "cross-entropy soft-beam-drect"},
            "unknown METHOD soft-beam-drect (did you mean",
        ),
        (
            "ocr/run.sh",
            ["data"],
            {"ONLY": "cross-entropy\nxyz"},
            "unknown METHOD xyz; known are: cross-entropy searnn-ll-",
        ),
        ("ocr/run.sh", ["data"], {"ONLY": " "}, "ONLY names no method"),
        ("ocr/run.sh", ["data"], {"SEEDS": "1 1.5"}, "a seed must be a whole number below 2^32, got 1.5"),
        ("ocr/run.sh", ["data"], {"SEEDS": "4294967296"}, "a seed must be a whole number below 2^32, got 4294967296"),
        ("ocr/run.sh", ["data"], {"SEEDS": "*"}, "a seed must be a whole number below 2^32, got *"),
        ("ocr/run.sh", ["data"], {"SMOKE": "yes"}, "SMOKE must be 0 or 1, got yes"),
        (
            "ocr/run.sh",
            ["data"],
            {"DECODERS": "greedy bean"},
            "unknown DECODER bean; known are: greedy, beam, soft-beam",
        ),
        ("ocr/run.sh", ["data"], {"SUBSET": "tset"}, "SUBSET must be train, valid or test, got tset"),
        ("ner/train.sh", ["dss-argmx", "1"], {}, "(did you mean dss-argmax?)"),
        ("ner/train.sh", ["searnn-ll-mixed", "1"], {}, "unknown METHOD searnn-ll-mixed; known are: cross-entropy"),
        ("ner/train.sh", ["dss-argmax", "one"], {}, "a seed must be a whole number below 2^32, got one"),
        (
            "ner/train.sh",
            ["dss-argmax", "1"],
            {"TRIAL": "a/b"},
            "TRIAL must be letters, digits, dots, - and _, got a/b",
        ),
        ("ocr/evaluate.sh", ["searnn-llcas-mixed-5", "1"], {}, "sllcas where not all tokens are tried"),
        ("../scripts/quickstart.sh", [], {"SEEDS": "1 x"}, "a seed must be a whole number below 2^32, got x"),
        (
            "ner/trials.sh",
            ["data", "growth3"],
            {},
            "unknown TRIAL growth3 (did you mean growth-5?); known are: lr-1e-3 lr-",
        ),
    ],
)
def test_a_name_that_is_not_known_ends_before_anything_is_written(shell, script, arguments, settings, message):
    said = shell.refused(f"examples/{script}", *arguments, **settings)
    assert said.startswith("error: ") and message in said


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_method_and_trial_of_an_example_has_flags(shell, example):
    shell.call(example, 'check_methods "${METHODS[@]}" && split columns "$DECODERS" && check_columns')
    trials = ROOT / "examples" / example / "trials.sh"
    if trials.exists():
        said = shell.refused(f"examples/{example}/trials.sh", "data", "no-trial")
        assert "unknown TRIAL no-trial; known are: " in said


@pytest.mark.parametrize(
    ("example", "method", "flags"),
    [
        ("supertagging", "soft-beam-direct", "--criterion soft_beam_direct --soft-beam-size 3 --soft-beam-alpha 10 "),
        (
            "supertagging",
            "soft-beam-hinge-logits-annealed-successive-k6",
            "--criterion soft_beam_hinge --soft-beam-size 6 --soft-beam-scores logits --soft-beam-top-k successive "
            "--soft-beam-alpha 1 --soft-beam-alpha-growth 30 --soft-beam-alpha-max 1000 --search-nll-weight 2",
        ),
        ("multi30k_de_en", "soft-beam-hinge", "--criterion soft_beam_hinge --soft-beam-size 3 --soft-beam-alpha 10 "),
        ("ner", "soft-beam-direct", "--soft-beam-alpha 10 --soft-beam-label-cost O=2 --search-nll-weight 2"),
        (
            "ner",
            "dss-soft-argmax-annealed-7",
            "--dss-decay 7 --dss-feedback soft-argmax --dss-alpha 1 --dss-alpha-growth 3",
        ),
        ("ner", "dss-argmax", "--dss-decay 1 --dss-feedback argmax "),
        (
            "ocr",
            "searnn-sll-learned-5",
            "--searnn-sampling policy --searnn-tokens 5 --searnn-sampled-softmax --searnn-loss ll",
        ),
        (
            "ocr",
            "searnn-kl-mixed-9-top-k",
            "--searnn-sampling top-k --searnn-tokens 9 --searnn-cost-scale 10 --searnn-loss kl",
        ),
        ("iwslt14_de_en", "searnn-kl-mixed", "--searnn-cost-scale 200 --searnn-loss kl --searnn-roll-in reference"),
        ("multi30k_de_en", "searnn-control", "--max-update 1200 --criterion label_smoothed_cross_entropy"),
    ],
)
def test_a_name_stands_for_the_same_flags_in_every_example(shell, example, method, flags):
    assert f" {flags}" in shell.flags(example, method)


def test_a_method_has_one_name(shell):
    wrong = ["soft-beam", "soft-beam-direct-k0", "soft-beam-direct-annealed-logits", "soft-beam-x-direct", "''"]
    wrong += ["dss-", "dss-none-1", "dss-soft-argmax", "dss-argmax-fixed", "dss-argmax-0", "dss-argmax-1-always"]
    wrong += ["searnn", "searnn-ll", "searnn-sl2-mixed", "searnn-ll-mixed-0", "searnn-ll-mixed-policy", "cross_entropy"]
    script = f'for name in {" ".join(wrong)}; do if objective_of "$name"; then echo "taken: $name"; fi; done'
    assert shell.call("multi30k_de_en", script) == ""


def test_all_rows_of_scheduled_sampling_go_on_from_the_same_first_epoch(shell):
    for method in ("dss-none", "dss-argmax", "dss-soft-argmax-annealed-10"):
        shell.flags("multi30k_de_en", method)
    [first] = shell.work.rglob("lstm-dss-epoch-1-1/settings")
    assert "--dss-decay\nnone" in first.read_text()
    assert not list(shell.work.rglob("lstm-dss-argmax-always-1"))


RECOGNITION_SCRIPTS = """#!/usr/bin/env bash
echo "$@" >> "$WORK/asked"
case $1 in
    *train_recognition_lm.py) touch "${@: -1}" ;;
    *tune_decoder.py) echo "best of 1: --recognition-lm-weight 2" ;;
esac
"""


def test_rows_with_a_recurrent_language_model_have_its_file(shell):
    python = shell.root / ".venv" / "bin" / "python"
    python.write_text(RECOGNITION_SCRIPTS)
    python.chmod(0o755)
    for folder in ("bin", "models/ctc-1"):
        (shell.work / "letters" / folder).mkdir(parents=True)
        (shell.work / "letters" / folder / "done").touch()
    model = f"{shell.work}/letters/bin/rnnlm.pt"
    kept, trained, bigram = (shell.flags("speech_an4", f"dbd-learned{name}") for name in ("-rnn", "-rnn-lm", ""))
    assert f"--recognition-lm {model} --dbd-lm-weight 2" in kept and "--dbd-train-lm" not in kept
    assert f"--recognition-lm {model} --dbd-lm-weight 2" in trained and "--dbd-train-lm" in trained
    assert "ngram.arpa" in bigram and model not in bigram
    asked = (shell.work / "asked").read_text()
    assert asked.count("train_recognition_lm.py") == 1
    assert asked.count("tune_decoder.py") == 2  # with either language model
    found = shell.call("speech_an4", "task_of ctc; decoder_flags grid-5; decoder_flags beam-9-rnn").splitlines()
    assert [" ".join(line.split()) for line in found] == [
        "--decoder beam --recognition-beam-size 5",
        f"--decoder beam --recognition-beam-size 9 --recognition-lm {model}",
    ]


def test_the_table_of_differences_has_the_control_of_each_method(shell):
    """The stub of Python prints what differences.py is asked for."""
    python = shell.root / ".venv" / "bin" / "python"
    python.write_text('#!/usr/bin/env bash\nif [[ $1 == *differences.py ]]; then echo "${@:2}"; fi\n')
    python.chmod(0o755)
    shell.work.mkdir()

    def asked(example: str, *methods: str, **settings: str) -> str:
        return shell.call(example, f'table "1 2" {" ".join(methods)}', **settings).replace(str(shell.work), "W")

    text = asked(
        "iwslt14_de_en", "cross-entropy", "cross-entropy-continued", "soft-beam-direct", "dss-none", "dss-argmax"
    )
    shared = "W/models --gold W/text/raw.test.en --scoring bleu --tokenize none --control"
    rest = "--decoders greedy beam soft-beam --seeds 1 2 --subset test"
    assert text == (
        f"\n{shared} cross-entropy-continued --methods cross-entropy soft-beam-direct {rest}\n"
        f"\n{shared} dss-none --methods dss-argmax {rest}\n"
    )
    assert (shell.work / "results-test-differences.md").read_text().replace(str(shell.work), "W") == text[1:]

    text = asked("chunking", "cross-entropy", "searnn-kl-mixed", DECODERS="greedy", SUBSET="valid")
    assert (
        "W/text/valid.labels --scoring chunk_f1 --control cross-entropy --methods searnn-kl-mixed --decoders greedy"
        in text
    )
    assert asked("iwslt14_de_en", "cross-entropy", "searnn-kl-mixed") == ""
    assert not (shell.work / "results-test-differences.md").exists()
    assert asked("spelling", "cross-entropy", "searnn-kl-mixed") == ""


@pytest.mark.parametrize(
    ("method", "settings", "flags"),
    [
        ("dbd-learned-k5", {"BEAM": "20"}, "--criterion dbd --dbd-beam-size 5 --search-nll-weight 0 | 5"),
        (
            "asg-dbd-fixed-free",
            {"BEAM": "20"},
            "--dbd-beam-size 20 --search-nll-weight 0 --dbd-fixed-weights --dbd-gold free",
        ),
        ("dbd-learned-lm-free-k7", {}, "--dbd-beam-size 7 --search-nll-weight 0 --dbd-train-lm --dbd-gold free | 7"),
        ("asg-continued", {}, "--criterion asg | 50"),
    ],
)
def test_the_names_of_recognisers_stand_for_flags_and_a_training_beam(shell, method, settings, flags):
    lines = f'objective_of {method} && echo "${{OBJECTIVE[*]}} | $TRAINING_BEAM"'
    assert flags in shell.call("handwriting", lines, **settings)
    assert "unknown METHOD dbd-learned-k0 (did you mean" in shell.refused(
        "examples/handwriting/train.sh", "dbd-learned-k0", "1"
    )
