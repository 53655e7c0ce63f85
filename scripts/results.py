"""Collect the scores that an example's evaluate.sh wrote: as a table in Markdown, and as a bar chart.

Each score is a JSON file of RESULTS_DIR: {"method", "decoder", "seed", "metric", "score", "signature"}. A cell is the
mean over seeds, with the lowest and the highest where there are several.
"""

import argparse
import json
import math
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqsearch_fairseq.programs import run_program

DECODERS = ("greedy", "beam", "soft-beam")
ALL_ZERO = "all scores are 0"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add", help="write one score")
    add.add_argument("results_dir", metavar="RESULTS_DIR")
    for name in ("method", "decoder", "seed", "metric", "signature"):
        add.add_argument(f"--{name}", required=True)
    add.add_argument("--score", required=True, type=finite)
    table = commands.add_parser("table", help="print the table")
    table.add_argument("results_dir", metavar="RESULTS_DIR")
    table.add_argument("--methods", nargs="*", help="rows, in this order (default: all, by name)")
    table.add_argument("--seeds", nargs="*", help="(default: all there are)")
    table.add_argument("--decoders", nargs="*", default=DECODERS, help="columns (default: all three)")
    table.add_argument("--log-dir", help="folder of METHOD-SEED/train.log: adds the last beam distance and collapse")
    table.add_argument("--write", metavar="PATH", help="write it too: PATH.md, and PATH.png, a bar chart")
    args = parser.parse_args()
    return write_score(args) if args.command == "add" else write_table(args)


def finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a number, got {text}")
    return value


def write_score(args) -> int:
    folder = Path(args.results_dir)
    folder.mkdir(parents=True, exist_ok=True)
    record = {name: getattr(args, name) for name in ("method", "decoder", "seed", "metric", "signature")}
    record["score"] = args.score
    path = folder / f"{args.method}-{args.seed}-{args.decoder}.json"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record) + "\n", encoding="utf-8")
    return 0


def write_table(args) -> int:
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(args.results_dir).glob("*.json"))]
    records = [record for record in records if record["method"] in (args.methods or [record["method"]])]
    records = [record for record in records if record["seed"] in (args.seeds or [record["seed"]])]
    records = [record for record in records if record["decoder"] in args.decoders]
    if not records:
        print(f"error: no results in {args.results_dir}, of these methods, seeds and decoders", file=sys.stderr)
        return 1
    kinds = sorted({f"{record['metric']}; {record['signature']}" for record in records})
    if len(kinds) > 1:
        print(f"error: the results in {args.results_dir} are not of one kind: {' | '.join(kinds)}", file=sys.stderr)
        return 1
    scores = defaultdict(list)
    for record in records:
        scores[record["method"], record["decoder"]].append(record["score"])
    methods = args.methods or sorted({record["method"] for record in records})
    text = markdown(args, records, methods, scores)
    print(text, end="")
    if args.write:
        with replacing(Path(args.write + ".md")) as path:
            path.write_text(text, encoding="utf-8")
        draw(args.write + ".png", records[0]["metric"], methods, args.decoders, scores)
    return 0


def markdown(args, records: list[dict], methods: list[str], scores: dict) -> str:
    seeds = sorted({record["seed"] for record in records})
    extra = ["beam distance", "collapsed"] if args.log_dir else []
    lines = [
        f"{records[0]['metric']}, {len(seeds)} seed(s): {', '.join(seeds)}; {records[0]['signature']}\n",
        "| " + " | ".join(["training", *args.decoders, *extra]) + " |",
        "|---|" + "---|" * (len(args.decoders) + len(extra)),
    ]
    for method in methods:
        cells = [cell(scores[method, decoder], len(seeds)) for decoder in args.decoders]
        if args.log_dir:
            cells += diversity(Path(args.log_dir), method, seeds)
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(target: str, metric: str, methods: list[str], decoders: list[str], scores: dict) -> None:
    """A group of bars for each method, from the mean over seeds; a line spans the lowest and the highest."""
    try:
        import matplotlib
    except ImportError:
        print(f"{target} is not drawn: that needs matplotlib (pip install 'seqsearch-fairseq[plot]')", file=sys.stderr)
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = [score for method in methods for decoder in decoders for score in scores[method, decoder]]
    # A bar takes 0.18 inches, the axis and the legend above it 1.2.
    figure, axes = pyplot.subplots(figsize=(8, 1.2 + 0.18 * (len(decoders) + 1) * len(methods)), layout="constrained")
    draw_bars(axes, methods, decoders, scores)
    low, high = limits(found)
    axes.set_xlim(low, high)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.set_yticks(range(len(methods)), methods)
    axes.set_xlabel(metric if low <= 0 <= high else f"{metric} (the axis does not begin at zero)")
    if not any(found):
        axes.text(0.5, 0.5, ALL_ZERO, transform=axes.transAxes, ha="center", va="center")
        print(f"{target}: {ALL_ZERO}, so there are no bars", file=sys.stderr)
    figure.legend(loc="outside upper center", ncols=min(len(decoders), 5), frameon=False)
    with replacing(Path(target)) as path:
        figure.savefig(path, dpi=150, format="png")
    pyplot.close(figure)


def draw_bars(axes, methods: list[str], decoders: list[str], scores: dict) -> None:
    height = 0.8 / len(decoders)
    for number, decoder in enumerate(decoders):
        rows = [(place, scores[method, decoder]) for place, method in enumerate(methods) if scores[method, decoder]]
        means = [statistics.mean(found) for _, found in rows]
        spread = [
            [mean - min(found) for mean, (_, found) in zip(means, rows, strict=True)],
            [max(found) - mean for mean, (_, found) in zip(means, rows, strict=True)],
        ]
        places = [place + (number - (len(decoders) - 1) / 2) * height for place, _ in rows]
        axes.barh(places, means, height, xerr=spread, label=decoder, error_kw={"linewidth": 1})


def limits(found: list[float]) -> tuple[float, float]:
    """Of the axis of scores: what shows the differences, not the height above zero."""
    margin = (max(found) - min(found)) / 4 or 1
    low, high = min(found) - margin, max(found) + margin
    return (max(low, 0) if min(found) >= 0 else low, min(high, 0) if max(found) < 0 else high)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name that becomes `path` when all went well."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def cell(scores: list[float], seeds: int = 1) -> str:
    if not scores:
        return "–"
    text = f"{statistics.mean(scores):.2f}"
    if len(scores) > 1:
        text += f" ({min(scores):.2f}–{max(scores):.2f})"
    return text if len(scores) >= seeds else f"{text} [{len(scores)} of {seeds} seeds]"


def diversity(log_dir: Path, method: str, seeds: list[str]) -> list[str]:
    """Mean over seeds of what the last training epoch logged of its beams; a dash for cross entropy."""
    found = defaultdict(list)
    for seed in seeds:
        path = log_dir / f"{method}-{seed}" / "train.log"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        last = next((line for line in reversed(lines) if "| train | epoch" in line), "")
        for part in last.split(" | "):
            name, _, value = part.partition(" ")
            if name in ("beam_distance", "beam_collapsed"):
                found[name].append(float(value))
    return [cell(found[name][-1:] and [statistics.mean(found[name])]) for name in ("beam_distance", "beam_collapsed")]


if __name__ == "__main__":
    run_program(main)
