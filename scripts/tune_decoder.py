"""Find the weights of the beam decoder that make the fewest word errors on a validation set.

The model reads the utterances once. Then each point of a grid (or --trials points of it, at random) is decoded from the
same emissions: weight of the language model, score of a word, score of a frame of silence. The table has the best
points first; the last line has the flags of the best one, for fairseq-generate. With --output a search that was cut off
goes on where it was.
"""

import argparse
import itertools
import json
import math
import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from seqsearch_fairseq.data.files import progress
from seqsearch_fairseq.data.preparation import at_least_one
from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.programs import run_program

MERGES = ("log-add", "max")
COLUMNS = ("word error (%)", "unit error (%)", "LM weight", "word score", "silence score")


class Point(NamedTuple):
    """Weights of the decoder."""

    lm_weight: float
    word_score: float
    silence_score: float

    def flags(self) -> str:
        return " ".join(f"--recognition-{name.replace('_', '-')} {value:g}" for name, value in self._asdict().items())


class Found(NamedTuple):
    """What a point makes of the validation set."""

    point: Point
    word_error: float  # per cent
    unit_error: float


def main() -> int:
    args = parser().parse_args()
    try:
        best = tune(args)
    except (UsageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps([record(found) for found in best]))
        return 0
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for found in best[: args.rows]:
        numbers = [f"{found.word_error:.2f}", f"{found.unit_error:.2f}", *(f"{value:g}" for value in found.point)]
        print(f"| {' | '.join(numbers)} |")
    print(f"\nbest of {len(best)}: {best[0].point.flags()}")
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("data", metavar="DATA", help="folder that prepare_recognition.py wrote")
    made.add_argument("--path", required=True, metavar="CHECKPOINT", help="a model of --task search_recognition")
    made.add_argument("--gen-subset", default="valid", metavar="SPLIT", help="(default: %(default)s)")
    made.add_argument("--recognition-lexicon", metavar="FILE", help="(default: that of the training)")
    made.add_argument("--recognition-lm", metavar="FILE", help="(default: that of the training)")
    made.add_argument("--batch-size", type=at_least_one, default=32, metavar="N", help="(default: %(default)s)")
    made.add_argument("--cpu", action="store_true", help="do not use a GPU")
    grid = made.add_argument_group("grid", "numbers with commas between them; one is no choice")
    for name, values in (("lm-weights", "0.5,1,1.5,2,3,4"), ("word-scores", "-2,0,1,2,3,4"), ("silence-scores", "0")):
        grid.add_argument(f"--{name}", type=numbers, default=values, metavar="X,...", help="(default: %(default)s)")
    grid.add_argument("--trials", type=at_least_one, metavar="N", help="N points of the grid, at random (default: all)")
    grid.add_argument("--seed", type=int, default=1, help="of the choice (default: %(default)s)")
    search = made.add_argument_group("search")
    search.add_argument("--beam-size", type=at_least_one, default=50, metavar="K", help="(default: %(default)s)")
    search.add_argument("--beam-threshold", type=float, default=math.inf, metavar="X", help="(default: %(default)s)")
    search.add_argument("--merge", choices=MERGES, default=MERGES[0], help="(default: %(default)s)")
    output = made.add_argument_group("output")
    output.add_argument("--output", type=Path, metavar="FILE", help="a JSON line a point, as soon as it is known")
    output.add_argument("--json", action="store_true", help="print all points as one JSON list instead of the table")
    output.add_argument(
        "--rows", type=at_least_one, default=10, metavar="N", help="of the table (default: %(default)s)"
    )
    return made


def numbers(text: str) -> list[float]:
    values = [float(part) for part in text.split(",")]
    if not all(map(math.isfinite, values)):
        raise argparse.ArgumentTypeError(f"must be numbers with commas between them, got {text}")
    return values


def points(args: argparse.Namespace) -> list[Point]:
    grid = [Point(*values) for values in itertools.product(args.lm_weights, args.word_scores, args.silence_scores)]
    if args.trials is None or args.trials >= len(grid):
        return grid
    return random.Random(args.seed).sample(grid, args.trials)


def tune(args: argparse.Namespace) -> list[Found]:
    """All points, the best first; of equal ones the first of the grid."""
    wanted = points(args)
    known = list(finished(args))
    left = [point for point in wanted if point not in {found.point for found in known}]
    found = [one for one in known if one.point in wanted]
    if left:
        found += measured(args, left)
    return sorted(found, key=lambda one: (one.word_error, one.unit_error, wanted.index(one.point)))


def settings(args: argparse.Namespace) -> dict:
    """What a point's figures depend on."""
    names = ("path", "gen_subset", "beam_size", "merge", "recognition_lexicon", "recognition_lm")
    return {"data": args.data, **{name: getattr(args, name) for name in names}, "threshold": str(args.beam_threshold)}


def finished(args: argparse.Namespace) -> Iterator[Found]:
    """The points that the output file holds already.

    Raises:
        UsageError: it was made with other settings, or is no such file. A line that was cut off is written again.
    """
    if args.output is None or not args.output.exists():
        return
    whole = [line for line in args.output.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
    try:
        first, *rest = map(json.loads, whole) if whole else [settings(args)]
        found = [Found(Point(*one["weights"]), one["word_error"], one["unit_error"]) for one in rest]
    except (ValueError, LookupError, TypeError) as error:
        raise UsageError(f"{args.output} is no file that this program wrote; name another --output") from error
    if first != settings(args):
        raise UsageError(f"{args.output} was made with other settings ({first}); name another --output")
    args.output.write_text("".join(whole), encoding="utf-8")
    yield from found


def record(found: Found) -> dict:
    return {"weights": list(found.point), "word_error": found.word_error, "unit_error": found.unit_error}


def measured(args: argparse.Namespace, left: list[Point]) -> Iterable[Found]:
    """Decode with each of these points. torch and fairseq are imported here."""
    from seqsearch_fairseq.scoring.recognition import Errors

    task, model, batches = read(args)
    if args.output is not None and (not args.output.exists() or args.output.stat().st_size == 0):
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(settings(args)) + "\n", encoding="utf-8")
    found = []
    for point in progress(left, "tune", "points", len(left)):
        task.given_weights = point._asdict()
        words, units = Errors(), Errors()
        for emissions, sample in batches:
            more_words, more_units = task.errors("beam", emissions, model, sample)
            words, units = words.plus(more_words), units.plus(more_units)
        found.append(Found(point, words.rate(), units.rate()))
        if args.output is not None:
            with args.output.open("a", encoding="utf-8") as out:
                out.write(json.dumps(record(found[-1])) + "\n")
    return found


def read(args: argparse.Namespace):
    """The task, the model, and of each batch the emissions and the gold."""
    import torch
    from fairseq import utils
    from recognition_checkpoint import load

    from seqsearch_fairseq.algorithms.beam_decoder.search import Settings
    from seqsearch_fairseq.emissions import emit

    model, task = load(args)
    if not args.beam_threshold >= 0:
        raise UsageError(f"--beam-threshold must be at least 0, got {args.beam_threshold}")
    task.beam_settings = Settings(args.beam_size, args.beam_threshold, args.merge)
    task.load_dataset(args.gen_subset)
    dataset = task.dataset(args.gen_subset)
    if dataset.targets is None:
        raise UsageError(
            f"split '{args.gen_subset}' of {args.data} has no transcriptions, with which words are compared"
        )
    use_cuda = torch.cuda.is_available() and not args.cpu
    model = model.eval().float().to("cuda" if use_cuda else "cpu")
    order = dataset.ordered_indices()
    batches = []
    for begin in range(0, len(order), args.batch_size):
        sample = dataset.collater([dataset[i] for i in order[begin : begin + args.batch_size]])
        sample = utils.move_to_cuda(sample) if use_cuda else sample
        gold = {name: sample[name] for name in ("target", "words")}
        batches.append((emit([model], sample["net_input"]), gold))
    return task, model, batches


if __name__ == "__main__":
    run_program(main)
