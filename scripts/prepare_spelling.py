"""Make spelling correction out of any text: parallel text for fairseq-preprocess, a character a token.

Writes OUTPUT_DIR/{train,valid,test}.{noisy,clean}. A line of TEXT gives up to --pieces pieces of --length characters,
cut at random places; with probability --replace a character is replaced by one of 43 that is drawn evenly. Of the
different pieces one in --valid-every is for validation and as many are for the test: no piece is in two splits.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path

from seqsearch_fairseq.data.files import FormatError, progress, read_lines
from seqsearch_fairseq.data.preparation import Summary, add_output_options, at_least, replaced, run
from seqsearch_fairseq.programs import run_program

SPLITS = ("train", "valid", "test")


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    if not 0 <= args.replace <= 1:
        parser.error(f"--replace must be in [0, 1], got {args.replace}")
    return run(lambda: prepare(args))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", metavar="TEXT", type=Path, help="a sentence a line; may be compressed")
    add_output_options(parser)
    parser.add_argument(
        "--replace", type=float, default=0.3, help="probability of a replacement (default: %(default)s)"
    )
    for name, least, default, about in (
        ("length", 1, 10, "characters of a piece"),
        ("pieces", 1, 3, "largest number of pieces of a line"),
        ("valid-every", 3, 20, "different pieces, of which one is for validation and one for the test"),
    ):
        parser.add_argument(
            f"--{name}", type=at_least(least), default=default, metavar="N", help=f"{about} (default: %(default)s)"
        )
    parser.add_argument("--seed", type=int, default=1, help="of places, replacements and splits (default: %(default)s)")
    return parser


def prepare(args) -> list[str]:
    with replaced(args.output_dir, args.text, overwrite=args.overwrite) as folder:
        return list(map(str, convert(args.text, folder, args)))


def convert(path: Path, output: Path, args) -> list[Summary]:
    """Write the splits, as a stream; return what each holds."""
    import torch  # here: it takes seconds, which --help should not

    from seqsearch_fairseq.data.spelling import corrupt, pieces, split_of

    draws = torch.Generator().manual_seed(args.seed)
    places = torch.Generator().manual_seed(-1 - args.seed)  # of its own, so that a split does not depend on --replace
    summaries = {split: Summary(split, "pieces", "characters") for split in SPLITS}
    with ExitStack() as stack:
        files = {
            (split, side): stack.enter_context((output / f"{split}.{side}").open("w", encoding="utf-8"))
            for split in SPLITS
            for side in ("noisy", "clean")
        }
        for line in progress(read_lines(path), path.name, "lines"):
            if all(args.limit is not None and summary.sentences >= args.limit for summary in summaries.values()):
                break
            for correct in pieces(line, args.length, args.pieces, places):
                split = split_of(correct, args.valid_every, args.seed)
                if args.limit is not None and summaries[split].sentences >= args.limit:
                    continue
                files[split, "noisy"].write(" ".join(corrupt(correct, args.replace, draws)) + "\n")
                files[split, "clean"].write(" ".join(correct) + "\n")
                summaries[split].add(correct)
    for split, summary in summaries.items():
        if summary.sentences == 0:
            raise FormatError(f"{path} has too few lines with letters for the {split} split")
    return list(summaries.values())


if __name__ == "__main__":
    run_program(main)
