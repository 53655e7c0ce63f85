"""Draw a score against a condition of several runs of an example, a line for each method: accuracy against lookahead.

Each --at names a condition and the folder of its scores, as evaluate.sh wrote them, in the order of the axis. A
point is the mean over seeds; a bar spans the lowest and the highest.
"""

import argparse
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from results import replacing

from seqsearch_fairseq.programs import run_program


class Place(NamedTuple):
    name: str
    folder: Path


class Line(NamedTuple):
    method: str
    decoder: str

    def __str__(self) -> str:
        return f"{self.method}, {self.decoder}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at", action="append", type=place, required=True, metavar="NAME=RESULTS_DIR", dest="places")
    parser.add_argument("--axis", default="condition", help="title of the horizontal axis")
    parser.add_argument("--line", action="append", type=line, required=True, metavar="METHOD:DECODER", dest="lines")
    parser.add_argument("--seeds", nargs="*", help="(default: all there are)")
    parser.add_argument("--out", type=Path, required=True, help="a .png, .svg or .pdf file")
    args = parser.parse_args()
    if args.out.suffix not in (".png", ".svg", ".pdf"):
        parser.error(f"argument --out: must end in .png, .svg or .pdf, got {args.out}")
    scores: dict[tuple[str, Line], list[float]] = defaultdict(list)
    metrics = set()
    for name, folder in args.places:
        for path in sorted(folder.glob("*.json")):
            record = json.loads(path.read_text(encoding="utf-8"))
            found = Line(record["method"], record["decoder"])
            if found in args.lines and record["seed"] in (args.seeds or [record["seed"]]):
                scores[name, found].append(record["score"])
                metrics.add(record["metric"])
    missing = [f"{one} at {name}" for one in args.lines for name, _ in args.places if not scores[name, one]]
    if missing:
        print(f"error: no score of {'; '.join(missing[:5])}{'; ...' if missing[5:] else ''}", file=sys.stderr)
        return 1
    if len(metrics) > 1:
        print(f"error: the results are not of one kind: {' | '.join(sorted(metrics))}", file=sys.stderr)
        return 1
    draw(args, metrics.pop(), scores)
    return 0


def place(text: str) -> Place:
    name, found, folder = text.partition("=")
    if not found or not name:
        raise argparse.ArgumentTypeError(f"must be NAME=RESULTS_DIR, got {text}")
    if not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"{folder} is no folder")
    return Place(name, Path(folder))


def line(text: str) -> Line:
    method, found, decoder = text.partition(":")
    if not found or not method or not decoder:
        raise argparse.ArgumentTypeError(f"must be METHOD:DECODER, got {text}")
    return Line(method, decoder)


def draw(args: argparse.Namespace, metric: str, scores: dict[tuple[str, Line], list[float]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5 + 0.2 * len(args.lines)), layout="constrained")
    names = [name for name, _ in args.places]
    for number, one in enumerate(args.lines):
        found = [scores[name, one] for name in names]
        means = [statistics.mean(values) for values in found]
        spread = [
            [mean - min(values) for mean, values in zip(means, found, strict=True)],
            [max(values) - mean for mean, values in zip(means, found, strict=True)],
        ]
        aside = 0.04 * (number - (len(args.lines) - 1) / 2)  # so that the bars can be told apart
        places = [at + aside for at in range(len(names))]
        axes.errorbar(places, means, spread, label=str(one), marker="osv^D<>p"[number % 8], capsize=3)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlabel(args.axis)
    axes.set_ylabel(metric)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", frameon=False, fontsize="small")
    with replacing(args.out) as path:
        figure.savefig(
            path, dpi=150, format=args.out.suffix[1:], metadata={"Date": None} if args.out.suffix == ".svg" else None
        )
    pyplot.close(figure)


if __name__ == "__main__":
    run_program(main)
