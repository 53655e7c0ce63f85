"""Draw what a beam decoder does: word errors against the size of the beam, or the search of one utterance.

`errors` reads the scores that an example's evaluate.sh wrote for its columns beam-K and grid-K. `utterance` searches
with a checkpoint and draws, frame by frame, what it reads, the probabilities of the units with the best path that says
the gold, and the words of the best hypothesis, those of the gold below.
"""

import argparse
import json
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from results import replacing

from seqsearch_fairseq.data.preparation import at_least_one
from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.programs import run_program

ENDINGS = (".png", ".svg")
KINDS = {"beam": "own weights", "grid": "weights by grid"}
COLUMN = re.compile(r"(beam|grid)-(\d+)")
WEIGHTS = ("lm_weight", "word_score", "silence_score")


class Line(NamedTuple):
    method: str
    kind: str  # of `KINDS`

    def __str__(self) -> str:
        return f"{self.method}, {KINDS[self.kind]}"


Scores = dict[Line, dict[int, list[float]]]  # of each line: from the beam's size to the scores of the seeds


def main() -> int:
    args = build_parser().parse_args()
    try:
        import matplotlib

        matplotlib.use("Agg")
    except ImportError:
        print("error: a picture needs matplotlib (pip install 'seqsearch-fairseq[plot]')", file=sys.stderr)
        return 1
    try:
        draw_errors(args) if args.command == "errors" else draw_utterance(args)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: --out {args.out} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    print(f"wrote {args.out}")
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    errors = commands.add_parser("errors", help="word error against the size of the beam, a line a method")
    errors.add_argument("results_dir", metavar="RESULTS_DIR", type=Path)
    errors.add_argument(
        "--line",
        action="append",
        type=line,
        metavar="METHOD:KIND",
        dest="lines",
        help="KIND is beam, the checkpoint's own weights, or grid; may be repeated (default: all there are)",
    )
    errors.add_argument("--seeds", nargs="*", help="(default: all there are)")
    utterance = commands.add_parser("utterance", help="the search of one utterance")
    utterance.add_argument("data", metavar="DATA", help="folder that a script of preparation wrote")
    utterance.add_argument("--path", required=True, metavar="CHECKPOINT", help="a model of --task search_recognition")
    utterance.add_argument("--utterance", required=True, type=int, metavar="N", help="from 0, in the manifest's order")
    utterance.add_argument("--gen-subset", default="test", metavar="SPLIT", help="(default: %(default)s)")
    for name in ("lexicon", "lm"):
        utterance.add_argument(f"--recognition-{name}", metavar="FILE", help="(default: that of the training)")
    utterance.add_argument(
        "--recognition-beam-size", type=at_least_one, default=50, metavar="K", help="(default: %(default)s)"
    )
    for name in WEIGHTS:
        flag = f"--recognition-{name.replace('_', '-')}"
        utterance.add_argument(flag, type=float, metavar="X", help="(default: the checkpoint's)")
    for command in (errors, utterance):
        command.add_argument(
            "--out", type=picture, required=True, metavar="FILE", help=f"ends in {' or '.join(ENDINGS)}"
        )
    return parser


def line(text: str) -> Line:
    method, _, kind = text.rpartition(":")
    if not method or kind not in KINDS:
        raise argparse.ArgumentTypeError(f"must be METHOD:KIND, KIND {' or '.join(KINDS)}, got {text}")
    return Line(method, kind)


def picture(text: str) -> Path:
    if Path(text).suffix not in ENDINGS:
        raise argparse.ArgumentTypeError(f"must end in {' or '.join(ENDINGS)}, got {text}")
    return Path(text)


def read_scores(args: argparse.Namespace) -> tuple[Scores, str]:
    """The scores of the lines, and what they are of.

    Raises:
        UsageError: a line has none, or they are of several kinds.
    """
    scores: Scores = defaultdict(lambda: defaultdict(list))
    metrics = set()
    for path in sorted(args.results_dir.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        column = COLUMN.fullmatch(record["decoder"])
        if column is None or record["seed"] not in (args.seeds or [record["seed"]]):
            continue
        found = Line(record["method"], column[1])
        if found in (args.lines or [found]):
            scores[found][int(column[2])].append(record["score"])
            metrics.add(record["metric"])
    if not scores:
        raise UsageError(f"{args.results_dir} has no score of a column beam-K or grid-K, of these lines and seeds")
    missing = [f"{one.method}:{one.kind}" for one in args.lines or () if one not in scores]
    if missing:
        raise UsageError(f"{args.results_dir} has no score of --line {', '.join(missing)}")
    if len(metrics) > 1:
        raise UsageError(f"the results in {args.results_dir} are not of one kind: {' | '.join(sorted(metrics))}")
    return {one: scores[one] for one in args.lines or sorted(scores)}, metrics.pop()


def draw_errors(args: argparse.Namespace) -> None:
    """A point is the mean over seeds, and a bar spans the lowest and the highest."""
    from matplotlib import pyplot

    scores, metric = read_scores(args)
    methods = list(dict.fromkeys(one.method for one in scores))
    sizes = sorted({size for of_line in scores.values() for size in of_line})
    figure, axes = pyplot.subplots(figsize=(7, 4.5 + 0.15 * len(scores)), layout="constrained")
    for number, (one, of_line) in enumerate(scores.items()):
        own = sorted(of_line)
        means = [statistics.mean(of_line[size]) for size in own]
        lows = [mean - min(of_line[size]) for size, mean in zip(own, means, strict=True)]
        highs = [max(of_line[size]) - mean for size, mean in zip(own, means, strict=True)]
        aside = 0.02 * (number - (len(scores) - 1) / 2)  # so that the bars can be told apart
        style = {"color": f"C{methods.index(one.method)}", "linestyle": "-" if one.kind == "beam" else "--"}
        places = [sizes.index(size) + aside for size in own]
        axes.errorbar(places, means, (lows, highs), label=str(one), marker="os"[one.kind == "grid"], capsize=3, **style)
    axes.set_xticks(range(len(sizes)), list(map(str, sizes)))
    axes.set_xlabel("hypotheses that the beam keeps")
    axes.set_ylabel(metric)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    save(figure, args.out)


def draw_utterance(args: argparse.Namespace) -> None:
    from recognition_panels import search_utterance
    from recognition_picture import draw

    save(draw(search_utterance(args, {name: getattr(args, f"recognition_{name}") for name in WEIGHTS})), args.out)


def save(figure, path: Path) -> None:
    """The same picture gives the same bytes."""
    import matplotlib
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    kind = path.suffix[1:]
    with replacing(path) as temporary, matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "recognition"}):
        figure.savefig(temporary, dpi=150, format=kind, metadata={"Date": None} if kind == "svg" else None)
    pyplot.close(figure)


if __name__ == "__main__":
    run_program(main)
