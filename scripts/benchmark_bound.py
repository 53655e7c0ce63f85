"""The least time that an update of SEARNN can take, for `benchmark.py searnn --bound`. Not a program of its own.

An update of cross entropy, and all products that the roll-outs need, at the rate of the best product:

    1 + FLOP of the roll-outs / (rate * seconds of cross entropy)

A row is one action at one step of its roll-out. It needs the output layer and, where the model has one, the attention.
From its second step on it needs the recurrence's product with its own state, too: before that all actions of a cell
have one state. What a token or the encoder's output gives is not counted, because it can be looked up.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import NamedTuple

import torch
from benchmark_measures import forward_and_backward, seconds
from benchmark_precision import NARROW
from benchmark_problems import Problem
from benchmark_updates import prepared, searnn_searches, teacher_forced
from torch.utils.flop_counter import FlopCounterMode

PRODUCTS = ((1024, 1024, 1024), (512, 128, 384), (1024, 256, 768))  # (n, k) @ (k, m) among which the best rate is
WIDTH = 4  # rows a sentence with which FLOP are counted


class Bound(NamedTuple):
    """Of one variant; the fields of `benchmark_page.Row`."""

    roll_out_rows: int  # mean over the runs: mixed roll-outs are drawn
    roll_out_gflop: float
    gflop_a_second: float
    bound_ratio: float


class RowFlop(NamedTuple):
    """FLOP of the products of one row."""

    first: float  # at the first step of its roll-out
    later: float


def bounds(size: str, variants: list[str], args: argparse.Namespace, device: str) -> dict[str, Bound]:
    """The bound of each variant of a size, as a ratio to cross entropy."""
    given = prepared("searnn", size, args.seed, args.sharpness, device)
    searches, row = searnn_searches(given), flop_of_row(given)
    mle, rates = seconds_and_rates(given, args.runs, device)
    found = {}
    for variant in variants:
        done = [searches[variant]() for _ in range(args.runs)]
        rows, first = (sum(getattr(n, name) for n in done) / args.runs for name in ("roll_out_steps", "rolled_out"))
        flop, rate = first * row.first + (rows - first) * row.later, rates[dtype_of(variant)]
        figures = (flop / 1e9, rate / 1e9, 1 + flop / (rate * mle))
        found[variant] = Bound(round(rows), *(round(figure, 3) for figure in figures))
    return found


@torch.no_grad()
def flop_of_row(given: Problem) -> RowFlop:
    """Counted in one step of the decoder that rolls out, with one state a sentence and with one a row."""
    step = given.step("logits")
    with step.noise_free():
        quick, sentences = step.row_step, torch.arange(step.batch_size, device=given.gold.device)
        tokens, states = given.gold[:, :1].expand(-1, WIDTH).flatten(), quick.states_of(quick.start(1))
        rows = quick.rows(sentences.repeat_interleave(WIDTH))
        rows.advance(tokens, states, 0, one_state=True)  # once: what a token gives is looked up after that
        one_state = flop_of(lambda: step.scores(rows.advance(tokens, states, 0, one_state=True)[0]))
        own_states = flop_of(lambda: step.scores(rows.advance(tokens, states.repeat(WIDTH, 1), 0)[0]))
    recurrence = (own_states - one_state) / (WIDTH - 1)  # of a sentence's one state, or of all rows' first
    return RowFlop((one_state - recurrence) / len(tokens), own_states / len(tokens))


def flop_of(call: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def dtype_of(variant: str) -> torch.dtype:
    return torch.bfloat16 if variant.endswith(NARROW) else torch.float32


def seconds_and_rates(given: Problem, runs: int, device: str) -> tuple[float, dict[torch.dtype, float]]:
    """The median time of an update of cross entropy, and FLOP a second of the best product, measured in turn."""
    update = forward_and_backward(lambda: teacher_forced(given), given.model)
    update()  # warms up
    times, rates = [], {torch.float32: 0.0, torch.bfloat16: 0.0}
    for _ in range(runs):
        times.append(seconds(update, device))
        for dtype, best in rates.items():
            rates[dtype] = max(best, *(rate_of(n, k, m, device, dtype) for n, k, m in PRODUCTS))
    return statistics.median(times), rates


@torch.no_grad()
def rate_of(n: int, k: int, m: int, device: str, dtype: torch.dtype, calls: int = 20) -> float:
    """FLOP a second of a product, the best of several calls."""
    left, right, out = (torch.rand(shape, device=device, dtype=dtype) for shape in ((n, k), (k, m), (n, m)))
    product = lambda: torch.mm(left, right, out=out)  # noqa: E731
    return 2 * n * k * m / min(seconds(product, device) for _ in range(calls))
