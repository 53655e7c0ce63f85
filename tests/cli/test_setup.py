"""The set-up scripts, on a stub of Python: what they refuse, what they build again, what they reuse, what they pass on.

The stub writes down how it is called and installs nothing, so no test needs the network or a compiler.
"""

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from setuptools import find_packages

ROOT = Path(__file__).resolve().parents[2]
TOOLS = "bash sh cat cut head tail sha256sum shasum mkdir rm mv cp dirname env flock sleep"

STUB = """#!/bin/sh
printf '%s\\n' "$*" >>"{calls}"
case "$*" in
    {fails}) echo "the stub was told to fail" >&2; exit 1 ;;
    *version_info*) echo {version} ;;
    *_base_executable*) echo "{path}" ;;
    --version) echo Python {version}.1 ;;
    "-m venv "*)
        sleep {sleep}; mkdir -p "$3/bin" && cp "{path}" "$3/bin/python"
        echo "version = {version}.1" >"$3/pyvenv.cfg" ;;
esac
"""


class Machine:
    """A copy of the scripts in a folder of its own, and a PATH that holds nothing but what it is given."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "repo"
        self.bin = folder / "bin"
        self.calls_file = folder / "calls"
        self.bin.mkdir()
        for name in ("scripts/env.sh", "scripts/test.sh", "scripts/constraints.txt", ".ci/run", "pyproject.toml"):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        for tool in TOOLS.split():
            if found := shutil.which(tool):
                (self.bin / tool).symlink_to(found)
        self.program("c++", "#!/bin/sh\n")
        self.python()

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def python(self, version: str = "3.11", fails: str = "'no such call'", sleep: float = 0, name: str = "python3.11"):
        path = self.bin / name
        values = {"calls": self.calls_file, "path": path, "version": version, "fails": fails, "sleep": sleep}
        self.program(path.name, STUB.format(**values))

    def start(self, script: str = "scripts/env.sh", *arguments: str, **environment: str) -> subprocess.Popen:
        return subprocess.Popen(
            ["bash", str(self.root / script), *arguments],
            env={"PATH": str(self.bin), **environment},
            cwd=self.bin,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, script: str = "scripts/env.sh", *arguments: str, **environment: str) -> tuple[int, str]:
        process = self.start(script, *arguments, **environment)
        output, _ = process.communicate(timeout=30)
        return process.returncode, output

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []

    @property
    def complete(self) -> bool:
        return (self.root / ".venv/.complete").exists()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.14", "3.1"])
def test_another_python_is_refused(machine, version):
    machine.python(version=version, name="python3")
    (machine.bin / "python3.11").unlink()
    status, output = machine.run()
    assert status != 0
    assert re.search(rf"needs Python 3\.11, 3\.12 or 3\.13, and \S+/python3 is Python {re.escape(version)};", output)
    assert "install one of them, or set PYTHON=/path/to/it." in output
    assert not (machine.root / ".venv").exists()


def test_another_python_named_by_the_user_is_refused(machine):
    machine.python(version="3.14", name="mine")
    status, output = machine.run(PYTHON="./mine")
    assert status != 0 and "mine is Python 3.14;" in output


def test_the_newest_python_that_starts_is_taken(machine):
    machine.python(version="3.12", name="python3.12")
    machine.program("python3.13", "#!/bin/sh\necho 'python3.13: command not found' >&2\nexit 127\n")  # a stand-in
    status, output = machine.run()
    assert status == 0 and f"with {machine.bin}/python3.12," in output

    (machine.root / ".venv/.complete").unlink()
    machine.python(version="3.13", name="python3.13")
    assert f"with {machine.bin}/python3.13," in machine.run()[1]


def test_python_of_another_version_builds_again(machine):
    assert machine.run()[0] == 0
    machine.python(version="3.12", name="other")
    assert machine.run() == (0, "")  # any finished environment will do
    status, output = machine.run(PYTHON="other")
    assert status == 0 and "building it again from scratch" in output and f"with {machine.bin}/other," in output
    assert machine.run(PYTHON="other") == machine.run() == (0, "")


def test_python3_serves_where_there_is_no_other(machine):
    (machine.bin / "python3.11").unlink()
    machine.python(name="python3", version="3.13")
    status, output = machine.run()
    assert status == 0 and f"with {machine.bin}/python3," in output


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "no Python found; install Python 3.11, 3.12 or 3.13, or set PYTHON=/path/to/it."),
        ({"PYTHON": "/no/python"}, "PYTHON=/no/python is no program; set PYTHON=/path/to/python3.12, say."),
    ],
)
def test_no_python_is_refused(machine, environment, message):
    (machine.bin / "python3.11").unlink()
    status, output = machine.run(**environment)
    assert status != 0 and message in output


def test_a_python_that_does_not_start_is_refused(machine):
    machine.program("broken", "#!/bin/sh\nexit 127\n")
    status, output = machine.run(PYTHON="broken")
    assert status != 0 and "broken is no Python that starts; install one of them" in output


@pytest.mark.parametrize(
    ("environment", "message"),
    [({}, "no C++ compiler found"), ({"CXX": "/no/c++"}, "CXX=/no/c++ is no program; set CXX to a C++ compiler")],
)
def test_no_compiler_is_refused(machine, environment, message):
    (machine.bin / "c++").unlink()
    status, output = machine.run(**environment)
    assert status != 0 and message in output
    assert not (machine.root / ".venv").exists()


def test_no_python_headers_are_refused(machine):
    machine.python(fails="*Python.h*")
    status, output = machine.run()
    assert status != 0 and "has no Python.h" in output and "install Python's headers" in output


@pytest.mark.parametrize("fails", ['"-m venv"*', "*setuptools*wheel*", "*pip*torch", "*fairseq-fixed*", "*-e*"])
def test_a_failed_step_says_what_to_do_and_leaves_no_whole_environment(machine, fails):
    machine.python(fails=fails)
    status, output = machine.run()
    assert status != 0
    assert "the stub was told to fail" in output
    assert f"the whole log is {machine.root}/build/env.log" in output and "Then run scripts/env.sh again." in output
    assert not machine.complete


def test_an_unfinished_environment_is_built_again_and_a_finished_one_is_reused(machine):
    machine.python(fails="*fairseq-fixed*")
    assert machine.run()[0] != 0
    leftover = machine.root / ".venv/leftover"
    leftover.touch()

    machine.python()
    status, output = machine.run()
    assert status == 0 and "building it again from scratch" in output and not leftover.exists() and machine.complete
    assert re.findall(r"^\[(\d)/(\d)\] .* \.\.\.$", output, re.MULTILINE) == [(str(n), "6") for n in range(1, 7)]

    machine.calls_file.unlink()
    began = time.monotonic()
    assert machine.run() == (0, "")
    assert time.monotonic() - began < 1 and machine.calls == []


@pytest.mark.parametrize("change", ["constraints", "pyproject", "folder", "interpreter", "stamp"])
def test_an_environment_made_from_something_else_is_built_again(machine, change):
    assert machine.run()[0] == 0
    if change == "constraints":
        (machine.root / "scripts/constraints.txt").write_text("torch==2.6.0\n")
    elif change == "pyproject":
        (machine.root / "pyproject.toml").write_text("")
    elif change == "folder":
        machine.root = machine.root.rename(machine.root.with_name("moved"))
    elif change == "interpreter":
        (machine.root / ".venv/bin/python").unlink()
    else:
        (machine.root / ".venv/.complete").write_text("")
    status, output = machine.run()
    assert status == 0 and "building it again from scratch" in output


def test_of_two_runs_at_once_one_builds_and_the_other_waits(machine):
    machine.python(sleep=0.5)
    runs = [machine.start(), machine.start()]
    outputs = sorted(run.communicate(timeout=30)[0] for run in runs)
    assert [run.returncode for run in runs] == [0, 0]
    assert sum(call.startswith("-m venv") for call in machine.calls) == 1
    assert outputs[0].startswith("another scripts/env.sh is at work") and "[6/6]" in outputs[1]


def test_a_lock_whose_holder_is_gone_is_taken_where_there_is_no_flock(machine):
    (machine.bin / "flock").unlink(missing_ok=True)
    lock = machine.root / "build/env.lock.d"
    lock.mkdir(parents=True)
    gone = subprocess.Popen(["true"])
    gone.wait()
    (lock / "pid").write_text(f"{gone.pid}\n")
    assert machine.run()[0] == 0
    assert machine.complete and not lock.exists()


def test_a_gpu_needs_a_torch_with_cuda(machine):
    machine.program("nvidia-smi", "#!/bin/sh\n")
    machine.python(fails="*'torch.version.cuda is None'*")
    status, output = machine.run()
    assert status != 0 and "SEQSEARCH_TORCH_INDEX=<index url of the CUDA wheels>" in output and not machine.complete

    machine.python()
    assert machine.run()[0] == 0 and machine.complete


def test_without_a_gpu_any_torch_will_do(machine):
    machine.program("nvidia-smi", "#!/bin/sh\nexit 9\n")
    machine.python(fails="*'torch.version.cuda is None'*")
    assert machine.run()[0] == 0


def test_the_torch_index_is_for_torch_only(machine):
    assert machine.run(SEQSEARCH_TORCH_INDEX="file:///wheels")[0] == 0
    with_index = [call for call in machine.calls if "file:///wheels" in call]
    assert len(with_index) == 1 and with_index[0].endswith("--no-deps --index-url file:///wheels torch")


def test_fairseq_is_compiled_here(machine):
    assert machine.run()[0] == 0
    calls = [call for call in machine.calls if "pip" in call and "fairseq-fixed" in call]
    assert len(calls) == 1 and "--no-build-isolation --no-binary fairseq-fixed fairseq-fixed" in calls[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "-n 2"),
        (["tests/cli", "-k", "n"], "-n 2 tests/cli -k n"),
        (["-n", "0"], "-n 0"),
        (["-n4", "-x"], "-n4 -x"),
        (["--pdb"], "--pdb"),
    ],
)
def test_test_sh_builds_and_runs_pytest(machine, arguments, expected):
    assert machine.run("scripts/test.sh", *arguments)[0] == 0
    assert machine.complete and machine.calls[-1] == f"-m pytest {expected}"


@pytest.mark.parametrize("fails", ["*'ruff check'*", "*'ruff format'*", "*mypy*", "*pytest*"])
def test_ci_runs_every_check_and_fails_if_one_fails(machine, fails):
    fails = f"'-m '{fails.strip('*')}*" if "ruff" in fails else f"'-m {fails.strip('*')}'*"
    machine.python(fails=fails)
    status, output = machine.run(".ci/run", CI="true")
    assert status != 0 and output.splitlines()[-1].startswith("failed: ")
    checks = [" ".join(call.split()[1:3]) for call in machine.calls if re.match(r"-m (ruff|mypy|pytest)", call)]
    assert checks == ["ruff check", "ruff format", "mypy", "pytest -n", "pytest -n"]  # the tests, and the examples


def test_ci_passes_if_all_pass(machine):
    status, output = machine.run(".ci/run", CI="true")
    assert status == 0 and output.splitlines()[-1] == "all passed"


def test_the_pins_are_plain_and_satisfy_what_the_package_asks_for():
    lines = (ROOT / "scripts/constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"==[0-9][0-9a-z.]*", str(pin.specifier)) for pin in pins)
    version = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    assert len(version) == len(pins)

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    supported = [f"3.{minor}" for minor in range(20) if SpecifierSet(project["requires-python"]).contains(f"3.{minor}")]
    assert f"supported=({' '.join(reversed(supported))})" in (ROOT / "scripts/env.sh").read_text()
    groups = project["optional-dependencies"]
    assert groups.pop("gpu")[0].startswith("triton") and "triton" not in version  # torch says which, where it needs it
    asked = project["dependencies"] + [line for group in groups.values() for line in group]
    for requirement in map(Requirement, asked):
        assert requirement.specifier.contains(version[canonicalize_name(requirement.name)]), requirement


def test_every_folder_of_the_package_is_installed():
    found = set(find_packages(str(ROOT), include=["seqsearch_fairseq", "seqsearch_fairseq.*"]))
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "seqsearch_fairseq").rglob("*.py")}
    assert {".".join(folder.parts) for folder in folders} <= found


def test_the_types_are_installed_and_all_of_them_are_checked(tmp_path):
    command = [sys.executable, "setup.py", "-q", "egg_info", "-e", str(tmp_path), "build_py", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert (tmp_path / "seqsearch_fairseq/py.typed").is_file()
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert checked["packages"] == ["seqsearch_fairseq"] and "exclude" not in checked


@pytest.mark.parametrize("script", ["scripts/env.sh", "scripts/test.sh", ".ci/run"])
def test_the_scripts_can_be_started_without_naming_bash(script):
    assert os.access(ROOT / script, os.X_OK)
