"""usage: python scripts/generate_each.py FLAG ... --each OUT FLAG ... [--each OUT FLAG ...]

Run fairseq-generate several times, with packages imported once: the first flags are for all runs, and after each OUT
come that run's own. What a run prints is in the file OUT, whole or not at all; its messages are in OUT.log.
Each run is a process of its own.
"""

import os
import sys
from pathlib import Path

from seqsearch_fairseq.programs import run_program

SEPARATOR = "--each"


def main() -> int:
    shared, *runs = split(sys.argv[1:])
    if not shared or "--help" in shared or "-h" in shared or not runs or not all(runs):
        print(__doc__)
        return 0 if {"--help", "-h"} & set(shared) else 2
    from fairseq_cli import generate  # what takes seconds, once

    for out, *flags in runs:
        if failed := run(generate, Path(out), [*shared, *flags]):
            return failed
    return 0


def split(arguments: list[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for argument in arguments:
        if argument == SEPARATOR:
            parts.append([])
        else:
            parts[-1].append(argument)
    return parts


def run(generate, out: Path, flags: list[str]) -> int:
    """Exit status of fairseq-generate with these flags, in a child whose output goes to `out` and `out`.log."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(out.name + ".tmp")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for stream, path in ((1, temporary), (2, out.with_name(out.name + ".log"))):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), stream)
            sys.argv = ["fairseq-generate", *flags]
            status = exit_status(generate.cli_main)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 0:
        os.replace(temporary, out)
    else:
        log = out.with_name(out.name + ".log")
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]:
            print(line[:500], file=sys.stderr)
        print(f"{out} could not be written; the whole log is {log}", file=sys.stderr)
    return abs(status)


def exit_status(program) -> int:
    try:
        program()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == "__main__":
    run_program(main)
