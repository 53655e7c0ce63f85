"""Turn a corpus of tagged words into parallel text for fairseq-preprocess.

Writes OUTPUT_DIR/{train,valid,test}.{words,labels}, a sentence a line, and a file more for each --factor. Files may be
compressed with gzip, bzip2 or xz. Without --valid, every tenth sentence of --train (--valid-every) is for validation,
and not for training. `-DOCSTART-` lines are left out. The scheme of chunk labels is found and reported; --scheme
converts them.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from seqsearch_fairseq.data.ccgbank import SECTIONS, section_files
from seqsearch_fairseq.data.columns import Sentence, is_document_mark, pick
from seqsearch_fairseq.data.files import FormatError, progress, read_lines
from seqsearch_fairseq.data.layouts import LAYOUTS, add_layout_options, resolve_columns
from seqsearch_fairseq.data.preparation import (
    Summary,
    Words,
    add_output_options,
    add_word_options,
    at_least,
    escaped,
    replaced,
    run,
)
from seqsearch_fairseq.data.schemes import SCHEMES, SchemeDetector, convert

SPLITS = ("train", "valid", "test")
FOUND, AS_THEY_ARE = "found", "none"


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    if args.ccgbank is None and not (args.train and args.test):
        parser.error("the corpus must be given: --train FILE and --test FILE, or --ccgbank FOLDER")
    if args.ccgbank is not None and (args.train or args.valid or args.test):
        parser.error("--ccgbank finds its files by their sections; leave out --train, --valid and --test")
    if args.ccgbank is not None:
        args.layout = "auto"
    names = [name for name, _ in args.factor]
    if len(set(names)) < len(names):
        parser.error(f"--factor must have a name once, got {', '.join(names)}")
    resolve_columns(args)
    return run(lambda: prepare(args))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="%(prog)s OUTPUT_DIR --train FILE... --test FILE... [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_output_options(parser)
    files = parser.add_argument_group("corpus")
    for split in SPLITS:
        files.add_argument(f"--{split}", metavar="FILE", nargs="+", type=Path, help=f"files of the {split} split")
    files.add_argument(
        "--valid-every", type=at_least(2), default=10, metavar="N", help="without --valid (default: %(default)s)"
    )
    files.add_argument("--ccgbank", metavar="FOLDER", type=Path, help="CCGbank, instead of the files; layout auto")
    for split, sections in SECTIONS.items():
        files.add_argument(
            f"--{split}-sections", default=sections, metavar="NN-NN", help="of --ccgbank (default: %(default)s)"
        )
    add_layout_options(files)
    files.add_argument(
        "--factor",
        action="append",
        default=[],
        metavar="NAME=N",
        type=factor,
        help="write column N to OUTPUT_DIR/SPLIT.NAME, as another factor of the words (pos=1); may be repeated",
    )
    files.add_argument(
        "--scheme",
        choices=[FOUND, AS_THEY_ARE, *SCHEMES],
        default=FOUND,
        help=f"chunk labels as they are {FOUND}, and then they must keep to one scheme; without a look at them "
        f"({AS_THEY_ARE}); or converted (default: %(default)s)",
    )
    add_word_options(parser.add_argument_group("words"))
    return parser


def factor(text: str) -> tuple[str, int]:
    name, _, column = text.partition("=")
    if not name.isidentifier() or name in ("words", "labels") or not column.lstrip("-").isdecimal():
        raise argparse.ArgumentTypeError(f"must be a name, = and the number of a column, as in pos=1, got {text!r}")
    return name, int(column)


def prepare(args: argparse.Namespace) -> Iterator[str]:
    """Write all splits; yield the summary of each, and the scheme of the labels."""
    if args.ccgbank is not None:
        files = {split: section_files(args.ccgbank, getattr(args, f"{split}_sections")) for split in SPLITS}
        args.valid = files["valid"]
    else:
        files = {split: getattr(args, split) or args.train for split in SPLITS}
    words = Words(args)
    if args.valid is None or args.min_count > 1:
        check_files(files["train"])
    with replaced(args.output_dir, *itertools.chain(*files.values()), overwrite=args.overwrite) as folder:
        words.learn(lambda: training_words(files["train"], args))
        detector = SchemeDetector()
        summaries = [write(files[split], folder, split, words, detector, args) for split in SPLITS]
        for summary in summaries[1:]:
            unseen = summary.labels.keys() - summaries[0].labels.keys()
            summary.notes[f"labels that train does not hold ({', '.join(sorted(unseen)[:5])})"] = len(unseen)
        found = detector.found(str(files["train"][0]))
    yield from map(str, summaries)
    if found is not None:
        yield f"chunk labels: {found}"
    elif args.scheme in SCHEMES:
        yield f"chunk labels: written as {args.scheme}"


def check_files(paths: list[Path]) -> None:
    """Refuse a pipe where a file is read more than once."""
    for path in paths:
        if path.exists() and not path.is_file():
            raise FormatError(
                f"{path} must be a file: without --valid, and with --min-count, it is read more than once"
            )


def write(
    files: list[Path], output: Path, split: str, words: Words, detector: SchemeDetector, args: argparse.Namespace
) -> Summary:
    """Write one split, as a stream."""
    summary, unknown = Summary(split, count_labels=True), words.unknown
    sides = ("words", "labels", *(name for name, _ in args.factor))
    with ExitStack() as stack:
        out = {side: stack.enter_context((output / f"{split}.{side}").open("w", encoding="utf-8")) for side in sides}
        for path, sentence in itertools.islice(sentences(files, split, args, summary), args.limit):
            where = partial(sentence.where, str(path))
            tags = [escaped(tag) for tag in pick(sentence, args.label_column, str(path))]
            if args.scheme == FOUND:
                detector.add(tags, where)
            elif args.scheme in SCHEMES:
                tags = convert(tags, args.scheme, where)
            written = words(map(escaped, pick(sentence, args.word_column, str(path))))
            out["words"].write(" ".join(written) + "\n")
            out["labels"].write(" ".join(tags) + "\n")
            for name, column in args.factor:
                out[name].write(" ".join(map(escaped, pick(sentence, column, str(path)))) + "\n")
            summary.add(tags)
    summary.notes["words written as <unk>"] = words.unknown - unknown
    if summary.sentences == 0:
        raise FormatError(f"{files[0]} holds no sentence for the {split} split")
    return summary


def sentences(files, split: str, args, summary: Summary | None = None) -> Iterator[tuple[Path, Sentence]]:
    """The sentences of one split, each with its file: all of them, unless training and validation share the files."""
    shared = split != "test" and not args.valid
    number = 0
    for path in files:
        read = LAYOUTS[args.layout].read(read_lines(path, args.encoding), str(path))
        for sentence in progress(read, path.name, "sentences"):
            dropped = None
            if is_document_mark(sentence):
                dropped = "document marks left out"
            else:
                number += 1
                if shared and (number % args.valid_every == 0) != (split == "valid"):
                    continue
                if split == "train" and args.max_length is not None and len(sentence.rows) > args.max_length:
                    dropped = f"sentences of more than {args.max_length} words left out"
            if dropped is None:
                yield path, sentence
            elif summary is not None:
                summary.notes[dropped] += 1


def training_words(files: list[Path], args) -> Iterator[list[str]]:
    """The words of each sentence that is trained on."""
    for path, sentence in itertools.islice(sentences(files, "train", args), args.limit):
        yield [escaped(word) for word in pick(sentence, args.word_column, str(path))]


if __name__ == "__main__":
    sys.exit(main())
