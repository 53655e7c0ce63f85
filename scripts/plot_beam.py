"""Draw the search of one sentence: the relaxed beam at each --alpha, and plain beam search.

Each beam is a row and each step a column. A cell holds the heaviest tokens of a soft hypothesis with their weights, and
its score. The lines are the soft backpointers, as wide as they weigh; those of plain beam search weigh one. The search
has as many steps as the gold sequence has tokens, as in training. Shaded columns are steps in which all beams chose the
same: a collapsed beam costs K times as much and acts as one.
"""

import argparse
import logging
import os
import re
import sys
from pathlib import Path

from seqsearch_fairseq.programs import run_program

SCORES = ("auto", "log-probs", "logits")
TOP_K = ("squared-distance", "successive")
FORMATS = (".png", ".svg")
SHOWN = 24  # steps of a longer sentence, unless --steps says which
MOST_STEPS = MOST_ROWS = 60  # of a picture that can still be looked at


def main() -> int:
    args = parse()
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("error: a picture needs matplotlib (pip install 'seqsearch-fairseq[plot]')", file=sys.stderr)
        return 1
    from seqsearch_fairseq.errors import UsageError

    try:
        for line in draw(args):
            print(line)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA", help="folder that fairseq-preprocess wrote")
    parser.add_argument("--path", required=True, metavar="CHECKPOINT", help="the model")
    parser.add_argument("--sentence", required=True, type=int, metavar="N", help="from 0, as fairseq-generate counts")
    parser.add_argument("--gen-subset", default="test", metavar="SPLIT", help="default: %(default)s")
    parser.add_argument("--output", default="beam.png", metavar="FILE", help=".png or .svg (default: %(default)s)")
    parser.add_argument("--alpha", type=float, nargs="+", default=[1.0, 100.0], help="any number (default: 1 100)")
    parser.add_argument("--beam", type=int, default=3, metavar="K", help="beams (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=3, metavar="M", help="most tokens of a cell (default: 3)")
    parser.add_argument(
        "--scores", choices=SCORES, default="auto", help="local scores (default: what the checkpoint was trained with)"
    )
    parser.add_argument("--top-k", choices=TOP_K, default=TOP_K[0], help="relaxed top-k (default: %(default)s)")
    parser.add_argument(
        "--steps", type=steps, metavar="FIRST:LAST", help=f"part to draw, from 1 (default: at most {SHOWN} steps)"
    )
    args = parser.parse_args()
    for name, most in (("beam", MOST_ROWS), ("tokens", 10)):
        if not 1 <= getattr(args, name) <= most:
            parser.error(f"--{name} must be in [1, {most}], got {getattr(args, name)}")
    if not all(0 < alpha < float("inf") for alpha in args.alpha):
        parser.error(f"--alpha must be positive numbers, got {args.alpha}")
    rows = args.beam * (len(args.alpha) + 1)
    if rows > MOST_ROWS:
        parser.error(f"--beam {args.beam} with {len(args.alpha)} alphas makes {rows} rows; at most {MOST_ROWS} fit")
    if Path(args.output).suffix not in FORMATS:
        parser.error(f"--output must end in {' or '.join(FORMATS)}, got {args.output}")
    if not os.path.isfile(args.path):
        parser.error(f"the checkpoint {args.path} does not exist")
    return args


def steps(text: str) -> tuple[int, int | None]:
    """`FIRST:LAST` for argparse; either may be left out."""
    found = re.fullmatch(r"(\d*):(\d*)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"must be FIRST:LAST, as in 1:20, got {text}")
    return int(found[1] or 1), int(found[2]) if found[2] else None


def draw(args) -> list[str]:
    """Search, write the picture, and return what there is to say."""
    from beam_panels import search_sentence
    from beam_picture import write_picture
    from results import replacing

    from seqsearch_fairseq.errors import UsageError

    logging.getLogger().setLevel(logging.WARNING)  # fairseq's import lets everybody's debug messages through
    picture, notes = search_sentence(args, SHOWN, MOST_STEPS)
    output = Path(args.output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(output) as temporary:
            notes += write_picture(picture, temporary, output.suffix[1:])
    except OSError as error:
        raise UsageError(f"--output {output} cannot be written: {error.strerror}") from error
    return [*notes, f"wrote {output}"]


if __name__ == "__main__":
    run_program(main)
