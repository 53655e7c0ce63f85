"""Turn Taskar's OCR letters into parallel text for fairseq-preprocess, with the pixels as embeddings.

Writes OUTPUT_DIR/{train,valid,test}.{glyphs,letters}, a word a line; dict.glyphs.txt, every glyph, for --srcdict; and
glyphs.vec, the 128 pixels of each, for --encoder-embed-path. Fold --fold is the test set; of the other words one in
--valid-every is for validation, the rest for training.
"""

import argparse
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from seqsearch_fairseq.data.files import FormatError, progress, read_lines
from seqsearch_fairseq.data.letters import FOLDS, PIXELS, pixels_of, read_letters
from seqsearch_fairseq.data.preparation import Summary, add_output_options, at_least, replaced, run
from seqsearch_fairseq.programs import run_program

SPLITS = ("train", "valid", "test")


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    if not 0 <= args.fold < FOLDS:
        parser.error(f"--fold must be in [0, {FOLDS - 1}], got {args.fold}")
    return run(lambda: prepare(args))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("letters", metavar="LETTERS", type=Path, help="letter.data, or a sample; may be compressed")
    add_output_options(parser)
    parser.add_argument("--fold", type=int, default=0, help="fold of the test set, 0 to 9 (default: %(default)s)")
    parser.add_argument("--valid-every", type=at_least(2), default=10, metavar="N", help="(default: %(default)s)")
    return parser


def prepare(args) -> list[str]:
    with replaced(args.output_dir, args.letters, overwrite=args.overwrite) as folder:
        summaries, glyphs = convert(args.letters, folder, args)
        write_glyphs(glyphs, folder)
    return [*map(str, summaries), f"{len(glyphs)} distinct glyphs"]


def convert(path: Path, output: Path, args) -> tuple[list[Summary], Counter[str]]:
    """Write the splits, as a stream; return what each holds, and how often each glyph occurs."""
    summaries, glyphs = {split: Summary(split, "words", "letters") for split in SPLITS}, Counter[str]()
    others = 0  # words that are not of the test fold
    with ExitStack() as stack:
        files = {
            (split, side): stack.enter_context((output / f"{split}.{side}").open("w", encoding="utf-8"))
            for split in SPLITS
            for side in ("glyphs", "letters")
        }
        for word in progress(read_letters(read_lines(path), str(path)), path.name, "words"):
            split = "test"
            if word.fold != args.fold:
                others += 1
                split = "valid" if others % args.valid_every == 0 else "train"
            summary = summaries[split]
            if args.limit is not None and summary.sentences >= args.limit:
                continue
            files[split, "glyphs"].write(" ".join(word.glyphs) + "\n")
            files[split, "letters"].write(" ".join(word.letters) + "\n")
            summary.add(word.letters)
            glyphs.update(word.glyphs)
    for split, summary in summaries.items():
        if summary.sentences == 0:
            raise FormatError(f"{path} holds no word for the {split} split")
    return list(summaries.values()), glyphs


def write_glyphs(glyphs: Counter[str], output: Path) -> None:
    with (
        (output / "dict.glyphs.txt").open("w", encoding="utf-8") as dictionary,
        (output / "glyphs.vec").open("w", encoding="utf-8") as vectors,
    ):
        vectors.write(f"{len(glyphs)} {PIXELS}\n")
        for token, count in glyphs.most_common():
            dictionary.write(f"{token} {count}\n")
            vectors.write(f"{token} {' '.join(map(str, pixels_of(token)))}\n")


if __name__ == "__main__":
    run_program(main)
