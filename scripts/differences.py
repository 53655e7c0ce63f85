"""Compare the rows of an example's table with its control, seed by seed, by the paired bootstrap over sentences.

Reads MODELS_DIR/METHOD-SEED/SUBSET.DECODER.txt, which evaluate.sh writes, a sentence a line. Each cell lists, for one
seed after the other, the difference to the control of the same seed under the same decoder; a star is p < 0.05.
"""

import argparse
import sys
from pathlib import Path
from statistics import mean

from results import replacing

from seqsearch_fairseq.programs import run_program

SIGNIFICANT = 0.05


def main() -> int:
    args = build_parser().parse_args()
    from seqsearch_fairseq.data.files import FormatError

    try:
        text = table(args)
    except (FormatError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(text, end="")
    if args.write:
        with replacing(Path(args.write)) as path:
            path.write_text(text, encoding="utf-8")
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models_dir", metavar="MODELS_DIR", type=Path)
    parser.add_argument("--gold", required=True, type=Path, help="the gold text, a sentence a line")
    parser.add_argument("--scoring", required=True, choices=["tag_accuracy", "chunk_f1", "word_error", "bleu"])
    parser.add_argument("--tokenize", metavar="NAME", type=tokenizer, help="tokeniser of bleu (default: sacrebleu's)")
    parser.add_argument("--control", required=True, help="the method that the others are compared with")
    parser.add_argument(
        "--control-decoder", help="compare with the control under this decoder (default: under the same one)"
    )
    parser.add_argument("--methods", nargs="+", required=True, help="rows")
    parser.add_argument("--decoders", nargs="+", required=True, help="columns")
    parser.add_argument("--seeds", nargs="+", required=True)
    parser.add_argument("--subset", default="test", help="(default: %(default)s)")
    parser.add_argument("--write", metavar="FILE", help="write the table there too")
    return parser


def tokenizer(name: str) -> str:
    from sacrebleu.metrics import BLEU

    if name not in BLEU.TOKENIZERS:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(sorted(BLEU.TOKENIZERS))}, got {name}")
    return name


def table(args) -> str:
    control = f"{args.control}, {args.control_decoder}" if args.control_decoder else args.control
    lines = [
        f"difference to {control} ({args.scoring}, {args.subset}; seeds {', '.join(args.seeds)}; "
        f"* p < {SIGNIFICANT}, paired bootstrap)\n",
        "| training | " + " | ".join(args.decoders) + " |",
        "|---|" + "---|" * len(args.decoders),
    ]
    gold = read(args.gold)
    for method in args.methods:
        if method != args.control or args.control_decoder:
            cells = [cell(args, gold, method, decoder) for decoder in args.decoders]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(args, gold: list[str], method: str, decoder: str) -> str:
    from seqsearch_fairseq.data.files import FormatError
    from seqsearch_fairseq.scoring.bootstrap import paired_bootstrap

    found = []
    for seed in args.seeds:
        paths = [
            args.models_dir / f"{name}-{seed}" / f"{args.subset}.{column}.txt"
            for name, column in ((args.control, args.control_decoder or decoder), (method, decoder))
        ]
        if not all(path.exists() for path in paths):
            continue
        try:
            found.append(paired_bootstrap(args.scoring, gold, *map(read, paths), tokenize=args.tokenize))
        except ValueError as error:
            raise FormatError(f"{paths[1]} or {paths[0]}: {error}") from error
    if not found:
        return "–"
    each = ", ".join(f"{row.difference:+.2f}{'*' if row.p_value < SIGNIFICANT else ''}" for row in found)
    return each if len(found) == 1 else f"{mean(row.difference for row in found):+.2f} ({each})"


def read(path: Path) -> list[str]:
    from seqsearch_fairseq.data.files import read_lines

    return list(read_lines(path))


if __name__ == "__main__":
    run_program(main)
