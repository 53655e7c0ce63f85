"""fairseq's commands in processes of their own that need no time to start.

A server loads torch and fairseq once for a process of tests; each command is a fork of it, with what it writes kept in
files. What is said and done while the interpreter starts is not seen here: tests of that use `commands.start`.
"""

import importlib
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["pytest", "fairseq_cli.train", "fairseq_cli.generate", "fairseq_cli.hydra_train"])


class Forked:
    """A process that `commands.finish` can wait for, as for one of `subprocess`."""

    def __init__(self, function: Callable, *arguments, cwd: Path | None = None, **environment: str):
        self._folder = tempfile.TemporaryDirectory()
        self._said = [Path(self._folder.name) / name for name in ("out", "err")]
        self._process = _SERVER.Process(target=_call, args=(self._said, cwd, environment, function, arguments))
        with mock.patch.dict(os.environ, OMP_NUM_THREADS="1"):  # the server's, which starts with its first process
            self._process.start()

    def communicate(self, timeout: float) -> tuple[str, str]:
        """What the process wrote to stdout and to stderr, after its end."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutError(f"a process has not ended in {timeout} seconds: {self._said[1].read_text()}")
        out, err = (path.read_text(encoding="utf-8") for path in self._said)
        return out, err

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._folder.cleanup()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode


def command(name: str, *arguments, cwd: Path | None = None, **environment: str) -> Forked:
    """`fairseq-NAME ARGUMENTS`."""
    if "--cpu" in arguments:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return Forked(_commands, name, [list(map(str, arguments))], cwd=cwd, **environment)


def in_turn(name: str, runs: list[list]) -> Forked:
    """`fairseq-NAME` with the arguments of each of the runs, one after the other, in one process."""
    return Forked(_commands, name, [list(map(str, run)) for run in runs])


def killed_training(updates: int, *arguments) -> Forked:
    """`fairseq-train ARGUMENTS` that is killed when it has made that many updates."""
    return Forked(_killed_training, updates, list(map(str, arguments)))


def script(name: str, *arguments) -> Forked:
    """`python scripts/NAME ARGUMENTS`."""
    return Forked(_script, name, list(map(str, arguments)))


def _script(name: str, arguments: list[str]) -> None:
    sys.path.insert(0, str(SCRIPTS))
    sys.argv = [name, *arguments]
    runpy.run_path(str(SCRIPTS / name), run_name="__main__")


def _commands(name: str, runs: list[list[str]]) -> None:
    module = importlib.import_module(f"fairseq_cli.{name}")
    for arguments in runs:
        sys.argv = [f"fairseq-{name}", *arguments]
        module.cli_main()


def _killed_training(updates: int, arguments: list[str]) -> None:
    from fairseq.trainer import Trainer

    train_step = Trainer.train_step

    def killed(self, samples, *args, **kwargs):
        if self.get_num_updates() == updates:
            os.kill(os.getpid(), signal.SIGKILL)
        return train_step(self, samples, *args, **kwargs)

    Trainer.train_step = killed
    _commands("train", [arguments])


def _call(said: list[Path], cwd: Path | None, environment: dict[str, str], function: Callable, arguments: tuple):
    """Calls the function as a program that was started for it would: same streams, same end."""
    for path, descriptor in zip(said, (1, 2), strict=True):
        with open(path, "wb") as file:
            os.dup2(file.fileno(), descriptor)
    os.environ.update(environment)
    if cwd is not None:
        os.chdir(cwd)
    try:
        function(*arguments)
    except Exception:
        sys.excepthook(*sys.exc_info())
        sys.exit(1)
