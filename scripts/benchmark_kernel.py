"""`benchmark.py kernel`: the soft beam's kernels in Triton, against torch's operations. Not a program of its own.

The model is an LSTM of 256 units. Two things are measured: whole updates of soft_beam_direct, and what a step does with
its logits alone (the candidate pass).
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from benchmark_measures import Cost, bytes_kept, forward_and_backward, median_ratio, times_of
from benchmark_problems import Problem, lstm, sharpen
from benchmark_updates import searched, teacher_forced

from seqsearch_fairseq.algorithms.candidate_pass import KERNELS, candidate_pass, why_not
from seqsearch_fairseq.algorithms.choice import Beams, Settings
from seqsearch_fairseq.algorithms.costs import hamming
from seqsearch_fairseq.algorithms.output_layer import SearchedOutput
from seqsearch_fairseq.algorithms.scored import Run
from seqsearch_fairseq.algorithms.step import first_inputs
from seqsearch_fairseq.errors import UsageError

AGAINST, PASS = "teacher forcing", "candidate pass alone"
UNITS, BATCH, LENGTH = 256, 32, 12
VOCABULARIES, TYPES = (10000, 32000), {"float32": torch.float32, "bfloat16": torch.bfloat16}
WIDTHS, ALPHAS = (1, 3, 5), (1.0, 10.0)
PASSES = 20  # that are timed together: one takes less than a clock can tell


class Setting(NamedTuple):
    vocabulary: int
    dtype: torch.dtype


SIZES = {f"V {v}, {name}": Setting(v, dtype) for v in VOCABULARIES for name, dtype in TYPES.items()}


def sizes() -> list[str]:
    return list(SIZES)


def measure(size: str, runs: int, seed: int, sharpness: float, device: str, variant: str = "") -> Iterator[Cost]:
    """The rows of one of `sizes()`, of variants whose names hold `variant`, as in `K 3, alpha 10, triton`."""
    reason = why_not("triton", torch.device(device))
    if reason is not None:
        raise UsageError(f"the work kernel measures triton, which {reason}")
    torch.manual_seed(seed)
    given = lstm(SIZES[size].vocabulary, UNITS, BATCH, LENGTH, device)
    sharpen(given, sharpness)
    given = given._replace(model=given.model.to(SIZES[size].dtype))
    for width in WIDTHS:
        for alpha in ALPHAS:
            yield from _updates(size, given, width, alpha, runs, device, variant)
        yield from _passes(size, given, width, runs, device, variant)


def _updates(
    size: str, given: Problem, width: int, alpha: float, runs: int, device: str, variant: str
) -> Iterator[Cost]:
    """Each kernel against teacher forcing, and triton against torch."""
    names = {f"K {width}, alpha {alpha:g}, {kernel}": kernel for kernel in KERNELS}
    wanted = [name for name in names if variant in name]
    if not wanted:
        return
    updates: dict[str, Callable] = {AGAINST: partial(teacher_forced, given)}
    for name, kernel in names.items():
        updates[name] = partial(searched, given, "squared-distance", alpha, beam_size=width, kernel=kernel)
    kept = {name: bytes_kept(update, given.model) for name, update in updates.items()}  # also warms up
    calls = {name: forward_and_backward(update, given.model) for name, update in updates.items()}
    times = times_of(calls, runs, device)
    by_torch, by_triton = names
    for name in wanted:
        yield Cost(size, name, AGAINST, median_ratio(times[name], times[AGAINST]), kept[name] / kept[AGAINST])
    if by_triton in wanted:
        ratio = median_ratio(times[by_triton], times[by_torch])
        yield Cost(size, by_triton, by_torch, ratio, kept[by_triton] / kept[by_torch])


def _passes(size: str, given: Problem, width: int, runs: int, device: str, variant: str) -> Iterator[Cost]:
    names = {f"K {width}, {PASS}, {kernel}": kernel for kernel in KERNELS}
    by_torch, by_triton = names
    if variant not in by_triton:
        return
    calls = {name: _pass(given, width, kernel) for name, kernel in names.items()}
    for call in calls.values():
        call()  # compiles the kernels
    times = times_of(calls, runs, device)
    yield Cost(size, by_triton, by_torch, median_ratio(times[by_triton], times[by_torch]), None)


@torch.no_grad()
def _pass(given: Problem, width: int, kernel: str) -> Callable[[], None]:
    """What a first step whose beams are all live makes of its logits, the product with the output layer included."""
    step = given.step()
    assert step.output is not None
    features, _ = step.advance(first_inputs(step, width), step.start(width))
    settings = Settings(
        width, 1.0, "squared-distance", given.candidates, hamming(given.gold, len(given.candidates)), False
    )
    output = SearchedOutput(step.output, 1, len(features))
    run = Run(settings, output, step.embedding.detach().float())
    scores = torch.randn(BATCH, width, device=features.device)
    beams = Beams(0, scores, scores.isfinite(), scores[:, :1].isfinite())
    make = candidate_pass(kernel, features.device)

    def call() -> None:
        with torch.no_grad():
            for _ in range(PASSES):
                found = make(run, features, beams)
                found.ranking.best(width)
                found.mean_output_rows()

    return call
