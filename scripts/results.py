"""Collect the scores that an example's evaluate.sh wrote, and print them as a Markdown table.

Each score is a JSON file of RESULTS_DIR: {"method", "decoder", "seed", "metric", "score", "signature"}. A cell is the
mean over seeds, with the lowest and the highest where there are several.
"""

import argparse
import json
import os
import statistics
import sys
from collections import defaultdict
from pathlib import Path

DECODERS = ("greedy", "beam", "soft-beam")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add", help="write one score")
    add.add_argument("results_dir", metavar="RESULTS_DIR")
    for name in ("method", "decoder", "seed", "metric", "score", "signature"):
        add.add_argument(f"--{name}", required=True)
    table = commands.add_parser("table", help="print the table")
    table.add_argument("results_dir", metavar="RESULTS_DIR")
    table.add_argument("--methods", nargs="*", help="rows, in this order (default: all, by name)")
    table.add_argument("--decoders", nargs="*", default=DECODERS, help="columns (default: all three)")
    table.add_argument("--log-dir", help="folder of METHOD-SEED/train.log: adds the last beam distance and collapse")
    args = parser.parse_args()
    return write_score(args) if args.command == "add" else print_table(args)


def write_score(args) -> int:
    folder = Path(args.results_dir)
    folder.mkdir(parents=True, exist_ok=True)
    record = {name: getattr(args, name) for name in ("method", "decoder", "seed", "metric", "signature")}
    record["score"] = float(args.score)
    path = folder / f"{args.method}-{args.seed}-{args.decoder}.json"
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(record) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return 0


def print_table(args) -> int:
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(args.results_dir).glob("*.json"))]
    if not records:
        print(f"error: no results in {args.results_dir}", file=sys.stderr)
        return 1
    scores = defaultdict(list)
    for record in records:
        scores[record["method"], record["decoder"]].append(record["score"])
    methods = args.methods or sorted({record["method"] for record in records})
    seeds = sorted({record["seed"] for record in records})
    extra = ["beam distance", "collapsed"] if args.log_dir else []
    print(f"{records[0]['metric']}, {len(seeds)} seed(s): {', '.join(seeds)}; {records[0]['signature']}\n")
    print("| " + " | ".join(["training", *args.decoders, *extra]) + " |")
    print("|---|" + "---|" * (len(args.decoders) + len(extra)))
    for method in methods:
        cells = [cell(scores[method, decoder]) for decoder in args.decoders]
        if args.log_dir:
            cells += diversity(Path(args.log_dir), method, seeds)
        print(f"| {method} | " + " | ".join(cells) + " |")
    return 0


def cell(scores: list[float]) -> str:
    if not scores:
        return "–"
    mean = f"{statistics.mean(scores):.2f}"
    return mean if len(scores) == 1 else f"{mean} ({min(scores):.2f}–{max(scores):.2f})"


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
    sys.exit(main())
