"""How benchmark.py measures: time, and what autograd keeps. Not a program of its own."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

Update = Callable[[], Tensor]  # the loss of one update, ready for backward


class Cost(NamedTuple):
    """A row of the benchmark: what a variant costs against a baseline."""

    size: str
    variant: str
    against: str
    time_ratio: float
    bytes_ratio: float | None  # None where bytes are not measured
    costs_changed: float | None = None  # see `benchmark_precision.py`


def times_of(calls: Mapping[str, Callable[[], object]], runs: int, device: str = "cpu") -> dict[str, list[float]]:
    """Seconds of each call in each of `runs` turns, all calls in turn. What is drawn in a turn is the same for all."""
    times: dict[str, list[float]] = {label: [] for label in calls}
    for turn in range(runs):
        for label, call in calls.items():
            torch.manual_seed(turn)
            times[label].append(seconds(call, device))
    return times


def median_ratio(ours: list[float], theirs: list[float]) -> float:
    """The median over the turns."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def seconds(call: Callable[[], object], device: str = "cpu") -> float:
    """CPU time of a call, or wall time on a GPU."""
    clock = time.process_time
    if device == "cuda":
        torch.cuda.synchronize()
        clock = time.perf_counter
    begin = clock()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - begin


def forward_and_backward(update: Update, model: torch.nn.Module) -> Callable[[], None]:
    """An update without the optimizer's step; gradients are added up, and none is made anew."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    return lambda: update().backward()


def bytes_kept(update: Update, model: torch.nn.Module) -> int:
    """What autograd keeps between forward and backward, parameters left out; each storage counts once."""
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    storages: dict[int, int] = {}
    held = []  # so that no storage is freed and its address used again

    def pack(tensor: Tensor) -> Tensor:
        held.append(tensor.detach())
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = update()
    kept = sum(size for address, size in storages.items() if address not in parameters)
    loss.backward()  # outside: a backward pass saves tensors of its own, where it makes values again
    return kept
