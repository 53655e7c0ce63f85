"""Turn plain parallel text files into sentencepiece pieces, ready for fairseq-preprocess.

Reads INPUT_DIR/{train,valid or val,test}.{SOURCE,TARGET}, trains one sentencepiece model on both sides of train, and
writes OUTPUT_DIR/{train,valid,test}.{SOURCE,TARGET} in pieces, beside spm.model and the untouched references
raw.{train,valid,test}.TARGET.
"""

import argparse
import itertools
import sys
from pathlib import Path

import sentencepiece
from tqdm import tqdm

from seqsearch_fairseq.data.files import FormatError
from seqsearch_fairseq.data.preparation import at_least_one, replaced


def main() -> int:
    args = build_parser().parse_args()
    source_dir, output = Path(args.input_dir), Path(args.output_dir)
    languages = (args.source_lang, args.target_lang)
    try:
        files = {split: find_split(source_dir, split, languages) for split in ("train", "valid", "test")}
        counts = {split: check_pair(paths, args.limit) for split, paths in files.items()}
        with replaced(output, source_dir, overwrite=args.overwrite) as folder:
            model = train_pieces(files["train"], folder, args)
            for split, paths in files.items():
                for language, path in zip(languages, paths, strict=True):
                    encode_file(model, path, folder / f"{split}.{language}", counts[split])
                copy_lines(files[split][1], folder / f"raw.{split}.{args.target_lang}", counts[split])
    except (FormatError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for split, count in counts.items():
        print(f"{split}: {count} sentence pairs")
    print(f"vocabulary: {model.get_piece_size()} pieces; written to {output}")
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input_dir", metavar="INPUT_DIR", help="folder with the parallel text files")
    parser.add_argument("output_dir", metavar="OUTPUT_DIR", help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace OUTPUT_DIR as a whole if it exists")
    parser.add_argument("--source-lang", default="de", help="suffix of the source files (default: %(default)s)")
    parser.add_argument("--target-lang", default="en", help="suffix of the target files (default: %(default)s)")
    parser.add_argument("--vocab-size", type=int, default=4000, help="pieces, both languages (default: %(default)s)")
    parser.add_argument("--limit", type=at_least_one, help="use only the first N pairs of each split (for a trial run)")
    return parser


def find_split(folder: Path, split: str, languages: tuple[str, str]) -> tuple[Path, Path]:
    """The two files of a split; the validation split may be called `valid`, `val` or `dev`."""
    if not folder.is_dir():
        raise FormatError(f"the folder {folder} does not exist")
    names = ("valid", "val", "dev") if split == "valid" else (split,)
    for name in names:
        paths = tuple(folder / f"{name}.{language}" for language in languages)
        if all(path.is_file() for path in paths):
            return paths  # type: ignore[return-value]
    raise FormatError(f"{folder} must hold {names[0]}.{languages[0]} and {names[0]}.{languages[1]}, and does not")


def check_pair(paths: tuple[Path, Path], limit: int | None) -> int:
    """Number of sentence pairs to use. Both files must have as many lines, all of them UTF-8."""
    counts = []
    for path in paths:
        with path.open("rb") as lines:
            number = 0
            for number, line in enumerate(lines, 1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise FormatError(f"{path}, line {number} is not UTF-8: {error}") from error
        counts.append(number)
    if counts[0] != counts[1]:
        raise FormatError(f"{paths[0]} has {counts[0]} lines and {paths[1]} has {counts[1]}; they must be parallel")
    if counts[0] == 0:
        raise FormatError(f"{paths[0]} is empty")
    return counts[0] if limit is None else min(limit, counts[0])


def train_pieces(paths: tuple[Path, Path], output: Path, args) -> sentencepiece.SentencePieceProcessor:
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=itertools.chain.from_iterable(read_lines(path, args.limit) for path in paths),
            model_prefix=str(output / "spm"),
            model_type="bpe",
            vocab_size=args.vocab_size,
            character_coverage=1.0,
            minloglevel=2,
        )
    except RuntimeError as error:  # a vocabulary that the text cannot fill
        raise FormatError(f"--vocab-size {args.vocab_size} does not fit the text: {error}") from error
    return sentencepiece.SentencePieceProcessor(model_file=str(output / "spm.model"))


def read_lines(path: Path, limit: int | None):
    with path.open(encoding="utf-8", newline="\n") as lines:
        yield from (line.rstrip("\r\n") for line in itertools.islice(lines, limit))


def encode_file(model, path: Path, output: Path, count: int) -> None:
    with output.open("w", encoding="utf-8") as out:
        for line in tqdm(read_lines(path, count), total=count, desc=path.name, disable=not sys.stderr.isatty()):
            out.write(" ".join(model.encode(line, out_type=str)) + "\n")


def copy_lines(path: Path, output: Path, count: int) -> None:
    output.write_text("".join(line + "\n" for line in read_lines(path, count)), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
