"""Measure an update, as a ratio to cross entropy of the same model in the same run; or preparation and scores.

WORK names what is measured, one or more of these, or all of them (`all`):

  soft-beam  soft_beam_direct and soft_beam_hinge, against teacher-forced cross entropy
  dss        differentiable_scheduled_sampling without any gold input, its most expensive setting, against cross
             entropy through the same step-by-step loop, and against teacher-forced cross entropy
  searnn     searnn at the sizes of the authors' code, with learned and mixed roll-outs, against teacher-forced cross
             entropy (MLE); sequences are cut at the gold's length, as in that code. Roll-outs are in float32 and in
             bfloat16 (--searnn-roll-out-precision); *costs changed* is the share of costs that the latter changes
  rivals     global_likelihood, beam_search_optimization and minimum_risk with a beam of 10, against teacher-forced
             cross entropy
  dbd        the differentiable beam search decoder, against CTC through the same model; and decoding by its search,
             against flashlight-text where that is installed
  decode     soft-beam decoding with a beam of 5, and greedy search, against fairseq's own beam search of that width
  growth     how the cost of soft_beam_direct grows with the vocabulary, the beam, the length, the batch and alpha,
             against teacher-forced cross entropy; --plot draws it
  kernel     soft_beam_direct by Triton's kernels on a GPU (--soft-beam-kernel), against torch's operations and against
             teacher-forced cross entropy: K 1, 3, 5, V 10,000 and 32,000, float32 and bfloat16; not one of `all`
  data       preparing a million tokens, against 10 s, and scoring 100,000 labels, against 1 s; its bytes are the
             peak of memory against that of a tenth of the corpus

An update is forward and backward of encoder and decoder on random data, without the optimizer's step. Variants and
baselines are run in turn; a ratio is the median over the turns. Time is CPU time of one thread, or wall time on a GPU;
bytes are what autograd keeps for the backward pass. The models' scores are scaled to a standard deviation of
--sharpness, because those of random weights are far flatter than a trained model's; --path takes it from one.
"""

import argparse
import importlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmark_page import EXTRAS, Row, as_json, as_line, commit, heading, load, page, said_of
from results import replacing

from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.programs import run_program

# What measures is imported when the arguments are read: torch and fairseq take seconds.
SEARNN, DBD, DECODE, GROWTH, DATA = "searnn", "dbd", "decode", "growth", "data"
UPDATES = ("soft-beam", "dss", SEARNN, "rivals")
ANYWHERE = (*UPDATES, DBD, DECODE, GROWTH, DATA)
ALL = "all"  # of these
KERNEL = "kernel"  # needs a GPU
WORKS = (*ANYWHERE, KERNEL)
MODULES = {
    DBD: "benchmark_recognition",
    DECODE: "benchmark_decoding",
    GROWTH: "benchmark_growth",
    KERNEL: "benchmark_kernel",
    DATA: "benchmark_data",
}
PICTURES = (".png", ".svg", ".pdf")


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    works = ANYWHERE if ALL in args.work else tuple(dict.fromkeys(args.work))
    check(parser, args, works)
    import torch

    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() and not args.cpu else "cpu"
    try:
        if args.path is not None:
            from benchmark_sharpness import sharpness_of

            args.sharpness = sharpness_of(args.path, args.data)
        machine = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {args.threads} thread(s)"
        about = f"{machine}, torch {torch.__version__}, {args.runs} runs, sharpness {args.sharpness:.3g}"
        loads, rows, measured, extras = [load()], [], about + commit(), extras_of(args)
        for work in works:
            if not args.json:
                print("\n".join([f"{work} on {about}\n", *heading(work, extras)]), flush=True)
            for row in measure(work, args, device):
                print(as_json(row, extras) if args.json else as_line(row, extras), flush=True)
                rows.append(row)
                loads.append(load())
            if work == GROWTH and args.plot is not None:
                importlib.import_module(MODULES[GROWTH]).draw([row for row in rows if row.work == GROWTH], args.plot)
            if args.output is not None:  # after each work: some take long
                write_page(args, rows, said_of(measured, args.threads, loads))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def extras_of(args: argparse.Namespace) -> list[str]:
    """The flags given that add columns."""
    return [extra for extra in EXTRAS if getattr(args, extra)]


def write_page(args: argparse.Namespace, rows: list[Row], circumstances: str) -> None:
    command = f"python scripts/benchmark.py {shlex.join(sys.argv[1:])}"
    picture = None if args.plot is None else os.path.relpath(args.plot, args.output.absolute().parent)
    lines = page(rows, command, circumstances, extras_of(args), picture)
    with replacing(args.output) as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*WORKS, ALL]
    parser.add_argument("work", nargs="+", choices=names, metavar="WORK", help=", ".join(names))
    parser.add_argument("--size", default="", metavar="TEXT", help="only sizes whose name holds this text")
    parser.add_argument("--variant", default="", metavar="TEXT", help="only variants whose name holds this text")
    parser.add_argument("--runs", type=int, default=7, help="turns that the median is over (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: %(default)s)")
    parser.add_argument("--sharpness", type=float, default=4.0, help="deviation of the scores (default: %(default)s)")
    parser.add_argument(
        "--path",
        metavar="CHECKPOINT",
        help="take the sharpness from this model: the deviation of its logits at a position of the validation data",
    )
    parser.add_argument("--data", metavar="FOLDER", help="with --path: these data (default: those it was trained on)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    parser.add_argument(
        "--memory",
        action="store_true",
        help="also the peak memory of each update, with the step of Adam, in a process of its own: the whole process, "
        "and what lies above the program, model and averages of Adam",
    )
    parser.add_argument(
        "--bound",
        action="store_true",
        help="with searnn: also the decoder's rows that have to be rolled out, the GFLOP of their products, this "
        "thread's best rate of products, and how long cross entropy and these products at that rate would take",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a row instead of a table")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="with growth: a picture of it, .png, .svg or .pdf")
    parser.add_argument("--output", type=Path, metavar="PAGE.md", help="write a page in Markdown, too")
    return parser


def check(parser: argparse.ArgumentParser, args: argparse.Namespace, works: tuple[str, ...]) -> None:
    if args.runs < 1 or args.threads < 1:
        parser.error(f"--runs and --threads must be at least 1, got {args.runs} and {args.threads}")
    if not 0 < args.sharpness < float("inf"):
        parser.error(f"--sharpness must be a positive number, got {args.sharpness}")
    if args.data is not None and args.path is None:
        parser.error(f"--data goes with --path, got {args.data} alone")
    if args.memory and not set(works) & set(UPDATES):
        parser.error(f"--memory is for updates ({', '.join(UPDATES)}), got it with {', '.join(works)}")
    if args.bound and works != (SEARNN,):
        parser.error(f"--bound is for {SEARNN}, got it with {', '.join(works)}")
    if args.plot is not None and (GROWTH not in works or args.plot.suffix not in PICTURES):
        parser.error(f"--plot goes with {GROWTH} and must end in {', '.join(PICTURES)}, got {args.plot}")
    for name in ("plot", "output"):
        file = getattr(args, name)
        if file is not None and not file.absolute().parent.is_dir():
            parser.error(f"--{name} must be in a folder that exists, got {file}")
    sizes = [size for work in works for size in sizes_of(work)]
    if not any(args.size in size for size in sizes):
        parser.error(f"--size must be part of one of: {'; '.join(sizes)}; got {args.size!r}")


def sizes_of(work: str) -> list[str]:
    if work in UPDATES:
        from benchmark_updates import WORKS

        return list(WORKS[work].sizes)
    return importlib.import_module(MODULES[work]).sizes()


def measure(work: str, args: argparse.Namespace, device: str) -> Iterator[Row]:
    """The rows of one work."""
    for size in (name for name in sizes_of(work) if args.size in name):
        costs = (cost for cost in costs_of(work, size, args, device) if args.variant in cost.variant)
        rows = (row_of(work, args, cost) for cost in costs)
        if args.memory and work in UPDATES:
            rows = with_memory(list(rows), args, device)
        if args.bound:
            rows = with_bound(list(rows), args, device)
        yield from rows


def with_memory(rows: list[Row], args: argparse.Namespace, device: str) -> Iterator[Row]:
    """The rows of one size, and the peaks of their memory."""
    from benchmark_memory import peaks

    labels = {label: None for row in rows for label in (row.against, row.variant)}
    found = peaks(rows[0].work, rows[0].size, labels, args, device) if rows else {}
    for row in rows:
        ours, theirs = found[row.variant], found[row.against]
        ratios = {"memory_ratio": ours.whole / theirs.whole, "memory_above_model_ratio": ours.above / theirs.above}
        yield row._replace(**{name: round(ratio, 3) for name, ratio in ratios.items()})


def with_bound(rows: list[Row], args: argparse.Namespace, device: str) -> Iterator[Row]:
    """The rows of one size, and the lower bounds of their time."""
    from benchmark_bound import bounds

    found = bounds(rows[0].size, [row.variant for row in rows], args, device) if rows else {}
    yield from (row._replace(**found[row.variant]._asdict()) for row in rows)


def row_of(work: str, args: argparse.Namespace, cost) -> Row:
    grown = None if cost.bytes_ratio is None else round(cost.bytes_ratio, 3)
    ratios = {"time_ratio": round(cost.time_ratio, 3), "bytes_ratio": grown}
    return Row(work, **cost._replace(**ratios)._asdict(), runs=args.runs)


def costs_of(work: str, size: str, args: argparse.Namespace, device: str) -> Iterator:
    if work in UPDATES:
        from benchmark_updates import measure

        return measure(work, size, args.runs, args.seed, args.sharpness, device, args.variant)
    module = importlib.import_module(MODULES[work])
    if work == DECODE:
        return module.measure(size, args.runs, args.seed, args.sharpness, device)
    if work in (GROWTH, KERNEL):
        return module.measure(size, args.runs, args.seed, args.sharpness, device, args.variant)
    return module.measure(size, args.runs, args.seed)


if __name__ == "__main__":
    run_program(main)
