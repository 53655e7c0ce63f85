"""Set lines of handwriting from Taskar's OCR letters in the words of a text, as data for --task search_recognition.

Writes what prepare_recognition.py writes: OUTPUT_DIR/{train,valid,test}.{tsv,wrd,ltr}, dict.ltr.txt, lexicon.txt and
ngram.arpa; and frames/SPLIT/*.npy, the lines: an array (columns, pixels of a column) of 0 and 1. A line is some words
that follow each other in a sentence of the text, in lower case, of a-z and of the lexicon. Each letter is a glyph drawn
at random from the writers' glyphs of that letter. Test and validation have glyphs and sentences of their own. The
lexicon is the most frequent words of the other sentences, and the n-gram is of all lines that can be cut from these.
The same seed gives the same files.
"""

import argparse
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from seqsearch_fairseq.data.files import FormatError, progress
from seqsearch_fairseq.data.letters import FOLDS
from seqsearch_fairseq.data.preparation import Summary, add_output_options, at_least, at_least_one, replaced, run
from seqsearch_fairseq.data.recognition.handwriting import Distortion, Glyphs, draw_line, joined, read_glyphs
from seqsearch_fairseq.data.recognition.lexicon import Lexicon, Pronunciation, write_lexicon
from seqsearch_fairseq.data.recognition.manifests import Entry, write_manifest
from seqsearch_fairseq.data.recognition.ngrams import kneser_ney, write_arpa
from seqsearch_fairseq.data.recognition.text_lines import SPLITS, Lengths, Line, TextLines, text_lines
from seqsearch_fairseq.data.recognition.units import LETTER_SEPARATOR, spelled, write_dictionary
from seqsearch_fairseq.programs import run_program

LINES = {"train": 2000, "valid": 200, "test": 400}
PLAIN = Distortion()


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    for split in ("test", "valid"):
        if not 0 <= getattr(args, f"{split}_fold") < FOLDS:
            parser.error(f"--{split}-fold must be in [0, {FOLDS - 1}], got {getattr(args, f'{split}_fold')}")
    if args.test_fold == args.valid_fold:
        parser.error(f"--test-fold and --valid-fold must differ, got {args.test_fold} for both")
    if args.word_gap < args.letter_gap:
        parser.error(f"--word-gap must be at least --letter-gap, {args.letter_gap}, got {args.word_gap}")
    return run(lambda: prepare(args))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("letters", metavar="LETTERS", type=Path, help="letter.data, or a sample; may be compressed")
    parser.add_argument("text", metavar="TEXT", type=Path, help="a sentence a line, tokens with blanks between them")
    add_output_options(parser)
    parser.add_argument("--seed", type=at_least(0), default=1, help="of all that is random (default: %(default)s)")
    words = parser.add_argument_group("words")
    for split in SPLITS:
        words.add_argument(
            f"--{split}-lines",
            type=at_least_one,
            default=LINES[split],
            metavar="N",
            help=f"lines of the {split} split (default: %(default)s)",
        )
    words.add_argument(
        "--words",
        type=lengths,
        default="3:8",
        metavar="LEAST:MOST",
        help="words of a line, at random (default: %(default)s)",
    )
    words.add_argument(
        "--lexicon-size",
        type=at_least_one,
        default=10_000,
        metavar="N",
        help="words of the lexicon; lines have no others (default: %(default)s)",
    )
    words.add_argument(
        "--order", type=at_least_one, default=2, metavar="N", help="of the n-gram (default: %(default)s)"
    )
    writing = parser.add_argument_group("writing")
    for split, fold in (("test", 0), ("valid", 1)):
        writing.add_argument(
            f"--{split}-fold",
            type=int,
            default=fold,
            metavar="N",
            help=f"fold of the glyphs of the {split} split, 0 to 9 (default: %(default)s)",
        )
    for name, kind, help in (
        ("letter-gap", at_least(0), "most empty columns between letters"),
        ("word-gap", at_least(0), "most empty columns between words; the least is --letter-gap"),
        ("shift", at_least(0), "most pixels that a glyph is moved up or down"),
        ("noise", share, "share of the pixels that are flipped"),
    ):
        default = getattr(PLAIN, name.replace("-", "_"))
        writing.add_argument(f"--{name}", type=kind, default=default, metavar="X", help=f"{help} (default: {default})")
    return parser


def lengths(text: str) -> Lengths:
    least, colon, most = text.partition(":")
    if not (colon and least.isdecimal() and most.isdecimal() and 1 <= int(least) <= int(most)):
        raise argparse.ArgumentTypeError(f"must be LEAST:MOST, at least 1 each, as in 3:8, got {text}")
    return Lengths(int(least), int(most))


def share(text: str) -> float:
    if not (math.isfinite(float(text)) and 0 <= float(text) < 1):
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 1, got {text}")
    return float(text)


def prepare(args: argparse.Namespace) -> Iterator[str]:
    """Write everything; yield the summary of each split, and what else was made."""
    with replaced(args.output_dir, args.letters, args.text, overwrite=args.overwrite) as folder:
        glyphs = glyphs_of_splits(args)
        counts = {split: getattr(args, f"{split}_lines") for split in SPLITS}
        draws = np.random.default_rng(args.seed)
        texts = text_lines(args.text, counts, args.lexicon_size, args.words, draws)
        lexicon = Lexicon(Pronunciation(word, tuple(word)) for word in texts.lexicon)
        shown = {split: texts.of_split[split][: args.limit] for split in SPLITS}
        summaries = [write(args, split, shown[split], glyphs[split], folder) for split in SPLITS]
        write_lexicon(folder / "lexicon.txt", lexicon, LETTER_SEPARATOR)
        write_dictionary(folder / "dict.ltr.txt", unit_counts(texts.lexicon, shown["train"]))
        model = kneser_ney(texts.training_text, args.order, texts.lexicon)
        write_arpa(folder / "ngram.arpa", model)
    yield from map(str, summaries)
    yield from said_of(texts, lexicon)
    for split in SPLITS[1:]:
        yield f"{split}: perplexity {model.perplexity(shown[split]):.2f} a word, the end of a line counted"


def said_of(texts: TextLines, lexicon: Lexicon) -> Iterator[str]:
    words = sum(map(len, texts.training_text))
    yield f"lexicon: {len(lexicon)} words"
    yield f"n-gram: of {len(texts.training_text)} lines, {words} words"


def glyphs_of_splits(args: argparse.Namespace) -> dict[str, Glyphs]:
    """The glyphs of each split.

    Raises:
        FormatError: a fold has no glyph.
    """
    folds = read_glyphs(args.letters)
    own = {"test": args.test_fold, "valid": args.valid_fold}
    for split, fold in own.items():
        if fold not in folds:
            raise FormatError(f"{args.letters} has no letter of fold {fold}, which is for the {split} split")
    others = [folds[fold] for fold in sorted(folds) if fold not in own.values()]
    if not others:
        raise FormatError(f"{args.letters} has no letter for the train split: all are of folds {sorted(folds)}")
    return {"train": joined(others), **{split: folds[fold] for split, fold in own.items()}}


def write(args: argparse.Namespace, split: str, lines: list[Line], glyphs: Glyphs, folder: Path) -> Summary:
    """The lines of a split as frames, manifest, words and letters. Each line is drawn by its own generator."""
    lacking = next((letter for line in lines for word in line for letter in word if letter not in glyphs), None)
    if lacking is not None:
        raise FormatError(f"{args.letters} has no glyph of the letter {lacking!r} for the {split} split")
    summary, entries = Summary(split, "lines", "words"), []
    distortion = Distortion(args.letter_gap, args.word_gap, args.shift, args.noise)
    frames_folder, root = folder / "frames" / split, args.output_dir.resolve()
    frames_folder.mkdir(parents=True)
    for number, line in enumerate(progress(lines, split, "lines", len(lines)), 1):
        draws = np.random.default_rng([args.seed, SPLITS.index(split), number])
        frames = draw_line(line, glyphs, distortion, draws)
        name = f"{number:06}.npy"
        np.save(frames_folder / name, frames)
        entries.append(Entry(root / "frames" / split / name, len(frames)))
        summary.add(line)
        summary.notes["frames"] += len(frames)
    write_manifest(folder / f"{split}.tsv", root, entries)
    write_text(folder / f"{split}.wrd", lines, lambda line: line)
    write_text(folder / f"{split}.ltr", lines, lambda line: spelled(line, tuple, LETTER_SEPARATOR))
    return summary


def write_text(path: Path, lines: list[Line], tokens: Callable[[Line], list[str]]) -> None:
    path.write_text("".join(" ".join(tokens(line)) + "\n" for line in lines), encoding="utf-8")


def unit_counts(lexicon: list[str], train: list[Line]) -> Counter[str]:
    """How often each letter occurs in the training split; those that only the lexicon has too."""
    counts = Counter({letter: 0 for word in lexicon for letter in word})
    for line in train:
        counts.update(spelled(line, tuple, LETTER_SEPARATOR))
    return counts


if __name__ == "__main__":
    run_program(main)
