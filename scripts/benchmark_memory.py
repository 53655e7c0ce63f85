"""The peak memory of an update of benchmark.py, each in a process of its own. For benchmark.py --memory.

An update here is a whole one: forward, backward, gradient clipping and Adam's step, as fairseq-train makes it. Two are
made, so that the second one finds Adam's averages in memory. On a GPU the peak is that of its tensors.
"""

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

UPDATES = 2


class Peak(NamedTuple):
    """Bytes."""

    whole: int  # of the process
    model: int  # what it holds before the update: program, parameters and Adam's averages

    @property
    def above(self) -> int:
        return self.whole - self.model


def peaks(work: str, size: str, labels: Iterable[str], args: Namespace, device: str) -> dict[str, Peak]:
    """The peak of each variant or baseline of a size."""
    found = {}
    for label in labels:
        wanted = {"work": work, "size": size, "label": label, "device": device}
        wanted |= {"seed": args.seed, "sharpness": args.sharpness, "threads": args.threads}
        program = (
            "import json, sys, benchmark_memory as m; print(json.dumps(m.measure(json.loads(sys.argv[1]))._asdict()))"
        )
        argv = [sys.executable, "-c", program, json.dumps(wanted)]
        # With -c the current folder is the first place that modules are looked for.
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parent)
        found[label] = Peak(**json.loads(done.stdout.splitlines()[-1]))
    return found


def measure(wanted: dict) -> Peak:
    """In the process of its own."""
    import torch
    from benchmark_updates import WORKS, prepared

    torch.set_num_threads(wanted["threads"])
    work, device = WORKS[wanted["work"]], wanted["device"]
    given = prepared(wanted["work"], wanted["size"], wanted["seed"], wanted["sharpness"], device)
    updates = work.variants(given) | {name: partial(update, given) for name, update in work.baselines.items()}
    update, parameters = updates[wanted["label"]], list(given.model.parameters())
    adam = torch.optim.Adam(parameters, lr=1e-4)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    adam.step()  # makes the averages, and moves nothing
    adam.zero_grad()
    held = in_use(device)
    for _ in range(UPDATES):
        update().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()
        adam.zero_grad()
    return Peak(most_in_use(device), held)


def in_use(device: str) -> int:
    import torch

    return torch.cuda.memory_allocated() if device == "cuda" else _status("VmRSS")


def most_in_use(device: str) -> int:
    import torch

    return torch.cuda.max_memory_allocated() if device == "cuda" else _status("VmHWM")


def _status(name: str) -> int:
    """A size that Linux tells of this process. Unlike `ru_maxrss` it does not know of the process that started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])
