"""Measure an update, as a ratio to cross entropy of the same model in the same run; or preparation and scores.

WORK names what is measured:

  soft-beam  soft_beam_direct and soft_beam_hinge, against teacher-forced cross entropy
  dss        differentiable_scheduled_sampling without any gold input, its most expensive setting, against cross
             entropy through the same step-by-step loop, and against teacher-forced cross entropy
  searnn     searnn at the sizes of the authors' code, with learned and mixed roll-outs, against teacher-forced cross
             entropy (MLE); sequences are cut at the gold's length, as in that code
  rivals     global_likelihood, beam_search_optimization and minimum_risk with a beam of 10, against teacher-forced
             cross entropy
  dbd        the differentiable beam search decoder, against CTC through the same model; and decoding by its search,
             against flashlight-text where that is installed
  decode     soft-beam decoding with a beam of 5, and greedy search, against fairseq's own beam search of that width
  data       preparing a million tokens, against 10 s, and scoring 100,000 labels, against 1 s; its bytes are the
             peak of memory against that of a tenth of the corpus

An update is forward and backward of encoder and decoder on random data, without the optimizer's step. Variants and
baselines are run in turn; a ratio is the median over the turns. Time is CPU time of one thread, or wall time on a GPU;
bytes are what autograd keeps for the backward pass. The models' scores are scaled to a standard deviation of
--sharpness, because those of random weights are far flatter than a trained model's.
"""

import argparse
import importlib
import json
from collections.abc import Iterator
from typing import NamedTuple

from seqsearch_fairseq.programs import run_program

# What measures is imported when the arguments are read: torch and fairseq take seconds.
UPDATES, DBD, DECODE, DATA = ("soft-beam", "dss", "searnn", "rivals"), "dbd", "decode", "data"
WORKS = (*UPDATES, DBD, DECODE, DATA)
MODULES = {DBD: "benchmark_recognition", DECODE: "benchmark_decoding", DATA: "benchmark_data"}


class Row(NamedTuple):
    work: str
    size: str
    variant: str
    against: str
    time_ratio: float
    bytes_ratio: float | None  # None where bytes are not measured
    runs: int
    memory_ratio: float | None = None  # with --memory: the peak of the process
    memory_above_model_ratio: float | None = None  # and what of it lies above what it holds before an update


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    check(parser, args)
    import torch

    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() and not args.cpu else "cpu"
    if not args.json:
        machine = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {args.threads} thread(s)"
        print(f"{args.work} on {machine}, torch {torch.__version__}, {args.runs} runs, sharpness {args.sharpness:g}\n")
        print("\n".join(heading(args.memory)))
    for row in measure(args, device):
        print(as_json(row, args.memory) if args.json else as_line(row, args.memory), flush=True)
    return 0


def heading(memory: bool) -> list[str]:
    columns = ["size", "variant", "against", "time", "saved bytes", *(["process", "above the model"] if memory else [])]
    return [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]


def as_line(row: Row, memory: bool) -> str:
    ratios = [row.time_ratio, row.bytes_ratio, *([row.memory_ratio, row.memory_above_model_ratio] if memory else [])]
    shown = ["–" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
    return f"| {' | '.join([row.size, row.variant, row.against, *shown])} |"


def as_json(row: Row, memory: bool) -> str:
    return json.dumps({name: value for name, value in row._asdict().items() if memory or "memory" not in name})


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=WORKS, metavar="WORK", help=", ".join(WORKS))
    parser.add_argument("--size", default="", metavar="TEXT", help="only sizes whose name holds this text")
    parser.add_argument("--variant", default="", metavar="TEXT", help="only variants whose name holds this text")
    parser.add_argument("--runs", type=int, default=7, help="turns that the median is over (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: %(default)s)")
    parser.add_argument("--sharpness", type=float, default=4.0, help="deviation of the scores (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    parser.add_argument(
        "--memory",
        action="store_true",
        help="also the peak memory of each update, with the step of Adam, in a process of its own: the whole process, "
        "and what lies above the program, model and averages of Adam",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a row instead of a table")
    return parser


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.runs < 1 or args.threads < 1:
        parser.error(f"--runs and --threads must be at least 1, got {args.runs} and {args.threads}")
    if not 0 < args.sharpness < float("inf"):
        parser.error(f"--sharpness must be a positive number, got {args.sharpness}")
    if args.memory and args.work not in UPDATES:
        parser.error(f"--memory is for updates ({', '.join(UPDATES)}), got it with {args.work}")
    if not any(args.size in name for name in sizes_of(args.work)):
        parser.error(f"--size must be part of one of: {'; '.join(sizes_of(args.work))}; got {args.size!r}")


def sizes_of(work: str) -> list[str]:
    if work in UPDATES:
        from benchmark_updates import WORKS

        return list(WORKS[work].sizes)
    return importlib.import_module(MODULES[work]).sizes()


def measure(args: argparse.Namespace, device: str) -> Iterator[Row]:
    """The rows of one work."""
    for size in (name for name in sizes_of(args.work) if args.size in name):
        costs = (cost for cost in costs_of(args.work, size, args, device) if args.variant in cost.variant)
        if args.memory:
            yield from with_memory(args.work, size, list(costs), args, device)
            continue
        yield from (row_of(args, cost) for cost in costs)


def with_memory(work: str, size: str, costs: list, args: argparse.Namespace, device: str) -> Iterator[Row]:
    from benchmark_memory import peaks

    labels = {label: None for cost in costs for label in (cost.against, cost.variant)}
    found = peaks(work, size, labels, args, device)
    for cost in costs:
        ours, theirs = found[cost.variant], found[cost.against]
        ratios = {"memory_ratio": ours.whole / theirs.whole, "memory_above_model_ratio": ours.above / theirs.above}
        yield row_of(args, cost)._replace(**{name: round(ratio, 3) for name, ratio in ratios.items()})


def row_of(args: argparse.Namespace, cost) -> Row:
    grown = None if cost.bytes_ratio is None else round(cost.bytes_ratio, 3)
    ratios = {"time_ratio": round(cost.time_ratio, 3), "bytes_ratio": grown}
    return Row(args.work, **cost._replace(**ratios)._asdict(), runs=args.runs)


def costs_of(work: str, size: str, args: argparse.Namespace, device: str) -> Iterator:
    if work in UPDATES:
        from benchmark_updates import measure

        return measure(work, size, args.runs, args.seed, args.sharpness, device, args.variant)
    module = importlib.import_module(MODULES[work])
    if work == DECODE:
        return module.measure(size, args.runs, args.seed, args.sharpness, device)
    return module.measure(size, args.runs, args.seed)


if __name__ == "__main__":
    run_program(main)
