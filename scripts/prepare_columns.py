"""Turn column files (one token a line, a blank line after each sentence) into parallel text for fairseq-preprocess.

Writes OUTPUT_DIR/{train,valid,test}.{words,labels}, one sentence a line. Spaces inside a column become underscores.
Without --valid, every tenth sentence (--valid-every) of --train is for validation, and not for training.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from seqsearch_fairseq.data.columns import FormatError, Sentence, read_columns
from seqsearch_fairseq.data.preparation import at_least_one, replaced

SPLITS = ("train", "valid", "test")


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    if args.valid_every < 2:
        parser.error(f"--valid-every must be at least 2, got {args.valid_every}")
    try:
        inputs = [Path(path) for path in (args.train, args.valid, args.test) if path]
        with replaced(Path(args.output_dir), *inputs) as folder:
            for split in SPLITS:
                path = getattr(args, split) or args.train
                print(convert(Path(path), folder, split, args))
    except (FormatError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output_dir", metavar="OUTPUT_DIR", help="folder to write; replaced as a whole when it exists")
    for split in SPLITS:
        required = split != "valid"
        parser.add_argument(f"--{split}", required=required, metavar="FILE", help=f"column file of the {split} split")
    parser.add_argument(
        "--valid-every", type=int, default=10, metavar="N", help="without --valid: every N-th sentence of --train"
    )
    parser.add_argument("--word-column", type=int, default=0, help="column of the words, from 0 (default: %(default)s)")
    parser.add_argument("--label-column", type=int, default=-1, help="column of the labels (default: the last one)")
    parser.add_argument("--lowercase", action="store_true", help="lower-case the words")
    parser.add_argument(
        "--limit", type=at_least_one, help="use only the first N sentences of each split (for a trial run)"
    )
    return parser


def convert(path: Path, output: Path, split: str, args) -> str:
    """Write one split, as a stream; return its summary."""
    sentences = tokens = 0
    labels: set[str] = set()
    with (
        path.open("rb") as lines,
        (output / f"{split}.words").open("w", encoding="utf-8") as words_out,
        (output / f"{split}.labels").open("w", encoding="utf-8") as labels_out,
    ):
        stream = itertools.islice(choose(read_columns(lines, str(path)), split, args), args.limit)
        for sentence in tqdm(stream, desc=path.name, unit=" sentences", disable=not sys.stderr.isatty()):
            words, tags = (
                [pick(row, column, path, sentence.line + offset) for offset, row in enumerate(sentence.rows)]
                for column in (args.word_column, args.label_column)
            )
            words_out.write(" ".join(word.lower() if args.lowercase else word for word in words) + "\n")
            labels_out.write(" ".join(tags) + "\n")
            sentences, tokens = sentences + 1, tokens + len(words)
            labels.update(tags)
    if sentences == 0:
        raise FormatError(f"{path} holds no sentence for the {split} split")
    return f"{split}: {sentences} sentences, {tokens} tokens, {len(labels)} labels"


def choose(sentences: Iterator[Sentence], split: str, args) -> Iterator[Sentence]:
    """The sentences of one split: all of its file, unless training and validation share one."""
    if split == "test" or args.valid:
        return sentences
    return (sentence for i, sentence in enumerate(sentences, 1) if (i % args.valid_every == 0) == (split == "valid"))


def pick(row: list[str], column: int, path: Path, line: int) -> str:
    try:
        return "_".join(row[column].split())
    except IndexError:
        raise FormatError(f"{path}, line {line}: there is no column {column}, the line has {len(row)}") from None


if __name__ == "__main__":
    sys.exit(main())
