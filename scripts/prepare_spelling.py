"""Make spelling correction out of any text: parallel text for fairseq-preprocess, a character a token.

Writes OUTPUT_DIR/{train,valid,test}.{noisy,clean}. A line of TEXT gives up to --pieces pieces of --length characters;
with probability --replace a character is replaced by one of 43 that is drawn evenly. One line in --valid-every is for
validation and the next one for the test.
"""

import argparse
import itertools
import sys
from contextlib import ExitStack
from pathlib import Path

import torch
from tqdm import tqdm

from seqsearch_fairseq.data.columns import FormatError
from seqsearch_fairseq.data.preparation import at_least_one, replaced
from seqsearch_fairseq.data.spelling import corrupt, pieces, read_lines

SPLITS = ("train", "valid", "test")


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    if not 0 <= args.replace <= 1:
        parser.error(f"--replace must be in [0, 1], got {args.replace}")
    for name, least in (("length", 1), ("pieces", 1), ("valid_every", 3)):
        if getattr(args, name) < least:
            parser.error(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(args, name)}")
    try:
        with replaced(Path(args.output_dir), Path(args.text)) as folder:
            counts = convert(Path(args.text), folder, args)
    except (FormatError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for split, count in counts.items():
        print(f"{split}: {count} pieces")
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", metavar="TEXT", help="text file, UTF-8, a sentence a line")
    parser.add_argument("output_dir", metavar="OUTPUT_DIR", help="folder to write; replaced as a whole when it exists")
    parser.add_argument(
        "--replace", type=float, default=0.3, help="probability of a replacement (default: %(default)s)"
    )
    parser.add_argument("--length", type=int, default=10, help="characters of a piece (default: %(default)s)")
    parser.add_argument("--pieces", type=int, default=3, help="at most so many pieces a line (default: %(default)s)")
    parser.add_argument("--valid-every", type=int, default=20, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the replacements (default: %(default)s)")
    parser.add_argument("--limit", type=at_least_one, help="use only the first N lines (for a trial run)")
    return parser


def convert(path: Path, output: Path, args) -> dict[str, int]:
    """Write the splits, as a stream; return how many pieces each has."""
    draws = torch.Generator().manual_seed(args.seed)
    counts = dict.fromkeys(SPLITS, 0)
    with ExitStack() as stack:
        files = {
            (split, side): stack.enter_context((output / f"{split}.{side}").open("w", encoding="utf-8"))
            for split in SPLITS
            for side in ("noisy", "clean")
        }
        lines = itertools.islice(read_lines(stack.enter_context(path.open("rb")), str(path)), args.limit)
        progress = tqdm(lines, desc=path.name, unit=" lines", disable=not sys.stderr.isatty())
        for number, line in enumerate(progress):
            split = {0: "valid", 1: "test"}.get(number % args.valid_every, "train")
            for correct in pieces(line, args.length, args.pieces):
                files[split, "noisy"].write(" ".join(corrupt(correct, args.replace, draws)) + "\n")
                files[split, "clean"].write(" ".join(correct) + "\n")
                counts[split] += 1
    for split, count in counts.items():
        if count == 0:
            raise FormatError(f"{path} has too few lines with letters for the {split} split")
    return counts


if __name__ == "__main__":
    sys.exit(main())
