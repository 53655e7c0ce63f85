"""Draw the training objective along a line in parameter space: how a soft feedback smooths a hard one.

Goyal, Dyer, Berg-Kirkpatrick 2017, figure 1, for a real checkpoint. The line goes from --path to --to, another
checkpoint of the same architecture, or along a random direction (drawn from --seed, each row scaled to the weights'
own). At each point every input is the model's own output: hard (argmax), and soft argmax at each --alpha. The objective
is the gold's cross entropy per target token, in nats. The curves are written as numbers too, beside the picture.
"""

import argparse
import json
import logging
import os
from pathlib import Path

from seqsearch_fairseq.programs import run_program


def main() -> int:
    args = parse()
    from objective_line import curves  # here: torch and fairseq take seconds, which --help should not

    logging.getLogger().setLevel(logging.WARNING)  # fairseq's import lets everybody's debug messages through
    values = curves(args)
    output = Path(args.output)
    write(output.with_suffix(".json"), lambda path: path.write_text(json.dumps(values) + "\n"))
    write(output, lambda path: draw(path, values.pop("places"), values, args))
    print(f"wrote {output} and {output.with_suffix('.json')}")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA", help="folder that fairseq-preprocess wrote")
    parser.add_argument("--path", required=True, metavar="CHECKPOINT", help="where the line begins, at 0")
    parser.add_argument("--to", metavar="CHECKPOINT", help="what it goes through at 1 (default: a random direction)")
    parser.add_argument("--output", default="objective.png", metavar="PNG", help="default: %(default)s")
    parser.add_argument("--alpha", type=float, nargs="+", default=[1.0, 10.0, 100.0], help="default: 1 10 100")
    parser.add_argument("--range", type=float, nargs=2, metavar=("FIRST", "LAST"), help="part of the line to draw")
    parser.add_argument("--points", type=int, default=101, help="points on it (default: %(default)s)")
    parser.add_argument("--split", default="valid", help="the data's split (default: %(default)s)")
    parser.add_argument("--sentences", type=int, default=32, help="its first sentences (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random direction (default: %(default)s)")
    args = parser.parse_args()
    for name, least in (("points", 2), ("sentences", 1)):
        if getattr(args, name) < least:
            parser.error(f"--{name} must be at least {least}, got {getattr(args, name)}")
    if not all(0 < alpha < float("inf") for alpha in args.alpha):
        parser.error(f"--alpha must be positive numbers, got {args.alpha}")
    if Path(args.output).suffix != ".png":
        parser.error(f"--output must end in .png, got {args.output}")
    for path in filter(None, (args.path, args.to)):
        if not os.path.isfile(path):
            parser.error(f"the checkpoint {path} does not exist")
    return args


def draw(path: Path, places: list[float], values: dict[str, list[float]], args) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5))
    for name, curve in values.items():
        hard = name == "argmax"
        axes.plot(places, curve, label=name, color="black" if hard else None, linewidth=1.6 if hard else 1.1)
    where = f"to {args.to} (1)" if args.to else f"along a random direction, seed {args.seed}"
    axes.set_xlabel(f"from {args.path} (0)\n{where}", fontsize="small")
    axes.set_ylabel("cross entropy on its own output (nats per token)")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=150, format="png")
    plt.close(figure)


def write(path: Path, make) -> None:
    """Let `make` write a file under a temporary name, then give it its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        make(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    run_program(main)
