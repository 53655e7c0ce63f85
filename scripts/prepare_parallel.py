"""Turn plain parallel text files into sentencepiece pieces, ready for fairseq-preprocess.

Reads INPUT_DIR/{train,valid or val or dev,test}.{SOURCE,TARGET}, which may be compressed with gzip, bzip2 or xz, trains
one sentencepiece model on both sides of train, and writes OUTPUT_DIR/{train,valid,test}.{SOURCE,TARGET} in pieces,
beside spm.model and the untouched references raw.{train,valid,test}.TARGET.
"""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

from seqsearch_fairseq.data.files import FormatError, progress, read_lines
from seqsearch_fairseq.data.parallel import find_pair, plain_lines, read_pairs
from seqsearch_fairseq.data.pieces import learn_pieces
from seqsearch_fairseq.data.preparation import Summary, add_output_options, at_least_one, replaced, run
from seqsearch_fairseq.programs import run_program

SPLITS = {"train": ("train",), "valid": ("valid", "val", "dev"), "test": ("test",)}  # by the names of their files


def main() -> int:
    args = build_parser().parse_args()
    return run(lambda: prepare(args))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input_dir", metavar="INPUT_DIR", type=Path, help="folder with the parallel text files")
    add_output_options(parser)
    parser.add_argument("--source-lang", default="de", help="suffix of the source files (default: %(default)s)")
    parser.add_argument("--target-lang", default="en", help="suffix of the target files (default: %(default)s)")
    parser.add_argument(
        "--vocab-size",
        type=at_least_one,
        default=4000,
        metavar="N",
        help="pieces, both languages (default: %(default)s)",
    )
    return parser


def prepare(args: argparse.Namespace) -> Iterator[str]:
    """Write all splits; yield the summary of each, and the number of pieces."""
    languages = (args.source_lang, args.target_lang)
    files = {split: find_split(args.input_dir, split, languages) for split in SPLITS}
    counts = {split: count_pairs(paths, args.limit) for split, paths in files.items()}
    with replaced(args.output_dir, args.input_dir, overwrite=args.overwrite) as folder:
        text = itertools.chain.from_iterable(first_lines(path, counts["train"]) for path in files["train"])
        model = learn_pieces(text, folder, args.vocab_size, "--vocab-size")
        summaries = [write(files[split], folder, split, counts[split], model, args) for split in SPLITS]
    yield from map(str, summaries)
    yield f"vocabulary: {model.get_piece_size()} pieces; written to {args.output_dir}"


def find_split(folder: Path, split: str, languages: tuple[str, str]) -> tuple[Path, Path]:
    """The two files of a split."""
    if not folder.is_dir():
        raise FormatError(f"the folder {folder} does not exist")
    paths = find_pair(folder, SPLITS[split], languages)
    if paths is None:
        raise FormatError(f"{folder} must hold {split}.{languages[0]} and {split}.{languages[1]}, and does not")
    return paths


def count_pairs(paths: tuple[Path, Path], limit: int | None) -> int:
    """Number of sentence pairs to use. Both files are read to their ends: they must be whole, parallel, and UTF-8."""
    pairs = read_pairs(*map(plain_lines, paths), paths)
    count = sum(1 for _ in progress(pairs, f"checking {paths[0].name}", "pairs"))
    if count == 0:
        raise FormatError(f"{paths[0]} is empty")
    return count if limit is None else min(limit, count)


def write(paths: tuple[Path, Path], output: Path, split: str, count: int, model, args) -> Summary:
    """Write one split in pieces, and its references."""
    summary = Summary(split, "sentence pairs", f"{args.target_lang} pieces")
    for language, path in zip((args.source_lang, args.target_lang), paths, strict=True):
        with (output / f"{split}.{language}").open("w", encoding="utf-8") as out:
            for line in progress(first_lines(path, count), path.name, "sentences", count):
                pieces = model.encode(line, out_type=str)
                out.write(" ".join(pieces) + "\n")
                if language == args.target_lang:
                    summary.add(pieces)
    with (output / f"raw.{split}.{args.target_lang}").open("w", encoding="utf-8") as out:
        out.writelines(line + "\n" for line in first_lines(paths[1], count))
    return summary


def first_lines(path: Path, count: int) -> Iterator[str]:
    return itertools.islice(read_lines(path), count)


if __name__ == "__main__":
    run_program(main)
