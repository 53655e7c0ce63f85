"""fairseq's commands, run in this process or in one of their own.

Starting fairseq costs seconds, so tests call its commands in this process wherever the process itself is not what they
test. What fairseq leaves behind in global state is undone here and nowhere else.
"""

import contextlib
import fcntl
import importlib.util
import io
import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "seqsearch_fairseq"
LOG_FORMAT = "%(asctime)s | %(levelname)s | %(name)s | %(message)s"  # fairseq's own
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
SMALL = "test1"  # fairseq-preprocess's name for the split `small`

TINY = {
    "lstm": [
        *("--arch", "lstm", "--encoder-embed-dim", "24", "--encoder-hidden-size", "32", "--decoder-embed-dim", "24"),
        *("--decoder-hidden-size", "32", "--decoder-out-embed-dim", "24", "--dropout", "0.1"),
    ],
    "transformer": [
        *("--arch", "transformer", "--encoder-layers", "1", "--decoder-layers", "1", "--encoder-embed-dim", "32"),
        *("--decoder-embed-dim", "32", "--encoder-ffn-embed-dim", "64", "--decoder-ffn-embed-dim", "64"),
        *("--encoder-attention-heads", "2", "--decoder-attention-heads", "2", "--dropout", "0.1"),
    ],
    "attention_gru": [
        *("--arch", "attention_gru", "--encoder-embed-dim", "24", "--encoder-hidden-size", "32"),
        *("--decoder-embed-dim", "24", "--decoder-hidden-size", "32", "--dropout", "0.1"),
    ],
    **{
        f"tagger_{cell}": [
            *("--arch", f"tagger_{cell}", "--encoder-embed-dim", "16", "--encoder-hidden-size", "32"),
            *("--decoder-embed-dim", "8", "--decoder-hidden-size", "16"),
        ]
        for cell in ("lstm", "gru")
    },
}
OPTIMIZER = ["--optimizer", "adam", "--clip-norm", "1.0", "--lr", "0.01", "--batch-size", "20"]
torch.set_num_threads(1)  # threads that wait for each other are slower than none on a busy machine


class Output(NamedTuple):
    """What a command printed and logged."""

    text: str

    def logged(self, tag: str) -> list[dict[str, float]]:
        """The numbers that fairseq logged under `tag` (train, train_inner, valid, ...), in order, read as JSON."""
        lines = re.findall(rf"\| {tag} \| (\{{.*\}})$", self.text, flags=re.MULTILINE)
        return [{name: _number(value) for name, value in json.loads(line).items()} for line in lines]

    def lines(self, kind: str) -> dict[int, list[list[str]]]:
        """The lines `KIND-id<tab>...` by sentence id, each split at its tabs."""
        found: dict[int, list[list[str]]] = {}
        for line in self.text.splitlines():
            if match := re.match(rf"{kind}-(\d+)\t(.*)", line):
                found.setdefault(int(match[1]), []).append(match[2].split("\t"))
        return found


def run(command: str, *arguments) -> Output:
    """`fairseq-COMMAND ARGUMENTS` in this process. What it raises is raised."""
    module = importlib.import_module(f"fairseq_cli.{command}")
    captured = io.StringIO()
    argv = [f"fairseq-{command}", *map(str, arguments)]
    device = _without_gpu() if "--cpu" in argv else contextlib.nullcontext()
    with device, _clean_fairseq(captured), contextlib.redirect_stdout(captured), mock.patch.object(sys, "argv", argv):
        module.cli_main()
    return Output(captured.getvalue())


def preprocess(text: Path, destination: Path, *flags) -> Path:
    """fairseq-preprocess of the splits in `text`."""
    splits = [f"--trainpref={text / 'train'}", f"--validpref={text / 'valid'}"]
    splits.append(f"--testpref={text / 'test'},{text / 'small'}")
    run("preprocess", "--source-lang", "src", "--target-lang", "tgt", "--destdir", destination, *splits, *flags)
    return destination


def train_flags(data: Path, task: str, save_dir: Path, *flags) -> list:
    """Arguments of fairseq-train that all tests share."""
    where = [data, "--user-dir", PLUGIN, "--task", task, "--save-dir", save_dir, "--cpu"]
    quiet = ["--no-progress-bar", "--log-format", "json", "--log-interval", "1000", "--num-workers", "0"]
    return [*where, *quiet, "--no-epoch-checkpoints", *flags]


def train(data: Path, task: str, save_dir: Path, *flags) -> Output:
    return run("train", *train_flags(data, task, save_dir, *flags))


def decode_flags(data: Path, task: str, checkpoint, *flags) -> list:
    """Arguments of fairseq-generate and fairseq-interactive that all tests share."""
    return [data, "--user-dir", PLUGIN, "--task", task, "--path", checkpoint, "--cpu", "--num-workers", "0", *flags]


def generate(data: Path, task: str, checkpoint, *flags) -> Output:
    return run("generate", *decode_flags(data, task, checkpoint, "--no-progress-bar", *flags))


def validate(data: Path, task: str, checkpoint, *flags) -> Output:
    quiet = ["--no-progress-bar", "--log-format", "json", "--batch-size", "20"]
    return run("validate", *decode_flags(data, task, checkpoint, *quiet, *flags))


def start(command: str, *arguments, **options) -> subprocess.Popen:
    """`fairseq-COMMAND ARGUMENTS` in a process of its own."""
    argv = [sys.executable, "-m", f"fairseq_cli.{command}", *map(str, arguments)]
    environment = ENVIRONMENT | ({"CUDA_VISIBLE_DEVICES": ""} if "--cpu" in argv else {})
    return subprocess.Popen(argv, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def finish(process: subprocess.Popen, seconds: float = 120) -> tuple[int, str, str]:
    """Wait for a process: its exit status, what it wrote to stdout and to stderr."""
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return process.returncode, out, err


def stderr_of_failure(process: subprocess.Popen) -> str:
    """What a process that must fail wrote to stderr: a sentence, not a stack trace."""
    status, _, err = finish(process)
    assert status not in (0, None)
    assert "Traceback" not in err
    return err


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def once(tmp_path_factory, name: str, build: Callable[[Path], object]) -> Path:
    """The folder `name`, filled by `build` the first time: the processes of one test run share it."""
    base = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent
    folder = base / name
    with open(base / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "built").exists():
            folder.mkdir(parents=True, exist_ok=True)
            build(folder)
            (folder / "built").touch()
    return folder


def _without_gpu():
    """fairseq clips gradients on the GPU where there is one, in spite of --cpu, and fails."""
    return mock.patch.object(torch.cuda, "is_available", return_value=False)


@contextlib.contextmanager
def _clean_fairseq(stream: io.StringIO):
    """fairseq as a new process finds it, logging to `stream`."""
    from fairseq.checkpoint_utils import save_checkpoint
    from fairseq.logging import metrics

    metrics.reset()
    vars(save_checkpoint).pop("best", None)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("fairseq").setLevel(logging.NOTSET)  # `tag` in this process says less
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


class Script(NamedTuple):
    """What became of a script that was run in this process."""

    returncode: int
    stdout: str
    stderr: str


def script(name: str, *arguments) -> Script:
    """`python scripts/NAME ARGUMENTS` in this process."""
    spec = importlib.util.spec_from_file_location(Path(name).stem.strip("_"), ROOT / "scripts" / name)
    module = importlib.util.module_from_spec(spec)
    out, err = io.StringIO(), io.StringIO()
    argv = [name, *map(str, arguments)]
    path = [str(ROOT / "scripts"), *sys.path]
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", argv),
        mock.patch.object(sys, "path", path),
    ):
        try:
            spec.loader.exec_module(module)
            status = module.main()
        except SystemExit as ended:  # argparse
            status = ended.code
    return Script(status, out.getvalue(), err.getvalue())


def _number(value):
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
