"""Turn Taskar's OCR letters into parallel text for fairseq-preprocess, with the pixels as embeddings.

Writes OUTPUT_DIR/{train,valid,test}.{glyphs,letters}, a word a line; dict.glyphs.txt, every glyph, for --srcdict; and
glyphs.vec, the 128 pixels of each, for --encoder-embed-path. Fold --fold is the test set; of the other words one in
--valid-every is for validation, the rest for training.
"""

import argparse
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from seqsearch_fairseq.data.columns import FormatError
from seqsearch_fairseq.data.letters import FOLDS, PIXELS, pixels_of, read_letters
from seqsearch_fairseq.data.preparation import at_least_one, replaced

SPLITS = ("train", "valid", "test")


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    if not 0 <= args.fold < FOLDS:
        parser.error(f"--fold must be in [0, {FOLDS - 1}], got {args.fold}")
    if args.valid_every < 2:
        parser.error(f"--valid-every must be at least 2, got {args.valid_every}")
    try:
        with replaced(Path(args.output_dir), Path(args.letters)) as folder:
            words, glyphs = convert(Path(args.letters), folder, args)
            write_glyphs(glyphs, folder)
    except (FormatError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(", ".join(f"{split}: {words[split]} words" for split in SPLITS) + f"; {len(glyphs)} distinct glyphs")
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("letters", metavar="LETTERS", help="letter.data, or a sample of it")
    parser.add_argument("output_dir", metavar="OUTPUT_DIR", help="folder to write; replaced as a whole when it exists")
    parser.add_argument("--fold", type=int, default=0, help="fold of the test set, 0 to 9 (default: %(default)s)")
    parser.add_argument("--valid-every", type=int, default=10, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--limit", type=at_least_one, help="use only the first N words of each split (for a trial run)")
    return parser


def convert(path: Path, output: Path, args) -> tuple[dict[str, int], Counter[str]]:
    """Write the splits, as a stream; return how many words each has, and how often each glyph occurs."""
    words, glyphs = dict.fromkeys(SPLITS, 0), Counter[str]()
    others = 0  # words that are not of the test fold
    with ExitStack() as stack:
        lines = stack.enter_context(path.open("rb"))
        files = {
            (split, side): stack.enter_context((output / f"{split}.{side}").open("w", encoding="utf-8"))
            for split in SPLITS
            for side in ("glyphs", "letters")
        }
        progress = tqdm(read_letters(lines, str(path)), desc=path.name, unit=" words", disable=not sys.stderr.isatty())
        for word in progress:
            split = "test"
            if word.fold != args.fold:
                others += 1
                split = "valid" if others % args.valid_every == 0 else "train"
            if args.limit is not None and words[split] >= args.limit:
                continue
            files[split, "glyphs"].write(" ".join(word.glyphs) + "\n")
            files[split, "letters"].write(" ".join(word.letters) + "\n")
            words[split] += 1
            glyphs.update(word.glyphs)
    for split, count in words.items():
        if count == 0:
            raise FormatError(f"{path} holds no word for the {split} split")
    return words, glyphs


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
    sys.exit(main())
