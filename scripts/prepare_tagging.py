"""Turn a corpus of tagged words into parallel text for fairseq-preprocess.

Writes OUTPUT_DIR/{train,valid,test}.{words,labels}, a sentence a line, a file more for each --factor, and in
preparation.json what was done to the words, which goes with them into the checkpoints. Files may be
compressed with gzip, bzip2 or xz. Without --valid, every tenth sentence of --train (--valid-every) is for validation,
and not for training. `-DOCSTART-` lines are left out. The scheme of chunk labels is found and reported; --scheme
converts them.
"""

import argparse
import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from seqsearch_fairseq.data.ccgbank import SECTIONS, section_files
from seqsearch_fairseq.data.columns import Column, Sentence, is_document_mark, pick
from seqsearch_fairseq.data.conllu import COLUMNS, NO_VALUE
from seqsearch_fairseq.data.encodings import encoding_of
from seqsearch_fairseq.data.files import FormatError, progress, read_lines
from seqsearch_fairseq.data.layouts import Reading, add_layout_options, column, resolve_columns
from seqsearch_fairseq.data.preparation import (
    Summary,
    Words,
    add_output_options,
    add_word_options,
    at_least,
    escaped,
    is_input,
    parsed,
    replaced,
    run,
    shortened,
)
from seqsearch_fairseq.data.record import Preparation
from seqsearch_fairseq.data.schemes import SCHEMES, SchemeDetector, convert
from seqsearch_fairseq.programs import run_program

SPLITS = ("train", "valid", "test")
FOUND, AS_THEY_ARE = "found", "none"


def main() -> int:
    parser = build_parser()
    args = parsed(parser, {f"--{split}": is_input for split in SPLITS})
    if args.ccgbank is None and not (args.train and args.test):
        parser.error("the corpus must be given: --train FILE and --test FILE, or --ccgbank FOLDER")
    if args.ccgbank is not None and (args.train or args.valid or args.test):
        parser.error("--ccgbank finds its files by their sections; leave out --train, --valid and --test")
    if args.ccgbank is not None:
        args.layout = "auto"
    names = [name for name, _ in args.factor]
    if len(set(names)) < len(names):
        parser.error(f"--factor must have a name once, got {', '.join(names)}")
    return run(lambda: prepare(args))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="%(prog)s OUTPUT_DIR --train FILE [FILE ...] --test FILE [FILE ...] [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_output_options(parser)
    files = parser.add_argument_group("corpus")
    for split in SPLITS:
        files.add_argument(
            f"--{split}",
            metavar="FILE",
            action="append",
            type=Path,
            help=f"file of the {split} split, or several of them",
        )
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
        help="write column N to OUTPUT_DIR/SPLIT.NAME, as another factor of the words (pos=1; pos=UPOS in conllu, "
        "pos=pos_tags in jsonl); may be repeated",
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


def factor(text: str) -> tuple[str, Column]:
    name, _, given = text.partition("=")
    if not name.isidentifier() or name in ("words", "labels") or not given:
        raise argparse.ArgumentTypeError(f"must be a name, = and a column, as in pos=1, got {text!r}")
    return name, column(given)


def prepare(args: argparse.Namespace) -> Iterator[str]:
    """Write all splits; yield what was found out, and the summary of each."""
    resolve_columns(args)
    if args.ccgbank is not None:
        files = {split: section_files(args.ccgbank, getattr(args, f"{split}_sections")) for split in SPLITS}
        args.valid = files["valid"]
    else:
        files = {split: getattr(args, split) or args.train for split in SPLITS}
    words = Words(args)
    if args.valid is None or args.min_count > 1:
        check_files(files["train"])
    encodings = {path: encoding_of(path, args.encoding) for path in itertools.chain(*files.values())}
    yield from (encoding.note for encoding in encodings.values() if encoding.note)
    corpus = Corpus(args, {path: encoding.name for path, encoding in encodings.items()}, Reading(args))
    with replaced(args.output_dir, *encodings, overwrite=args.overwrite) as folder:
        words.learn(lambda: training_words(files["train"], corpus))
        detector = SchemeDetector()
        summaries = [write(files[split], folder, split, words, detector, corpus) for split in SPLITS]
        for summary in summaries[1:]:
            unseen = summary.labels.keys() - summaries[0].labels.keys()
            summary.notes[f"labels that train does not hold ({shortened(unseen)})"] = len(unseen)
        found = detector.found(str(files["train"][0]))
        record(args, args.scheme if args.scheme in SCHEMES else found.scheme).save(folder)
    yield from map(str, summaries)
    if args.label_column is None:
        yield f"labels: {corpus.reading.label!r} of the objects"
    yield from found.notes
    if found.scheme is not None:
        yield f"chunk labels: {found.scheme}"
    elif args.scheme in SCHEMES:
        yield f"chunk labels: written as {args.scheme}"


def record(args: argparse.Namespace, scheme: str | None) -> Preparation:
    """What the checkpoints must know of this preparation, so that new words are treated alike."""
    return Preparation(
        lowercase=args.lowercase,
        digits=args.digits,
        layout=args.layout,
        word_column=args.word_column,
        scheme=scheme,
        factors=dict(args.factor),
    )


def check_files(paths: list[Path]) -> None:
    """Refuse a pipe where a file is read more than once."""
    for path in paths:
        if path.exists() and not path.is_file():
            raise FormatError(
                f"{path} must be a file: without --valid, and with --min-count, it is read more than once"
            )


class Corpus(NamedTuple):
    """How the files are read."""

    args: argparse.Namespace
    encodings: dict[Path, str]
    reading: Reading


def write(
    files: list[Path], output: Path, split: str, words: Words, detector: SchemeDetector, corpus: Corpus
) -> Summary:
    """Write one split, as a stream."""
    summary, unknown = Summary(split, count_labels=True), words.unknown
    args, reading = corpus.args, corpus.reading
    sides = ("words", "labels", *(name for name, _ in args.factor))
    with ExitStack() as stack:
        out = {side: stack.enter_context((output / f"{split}.{side}").open("w", encoding="utf-8")) for side in sides}
        for path, sentence in itertools.islice(sentences(files, split, corpus, summary), args.limit):
            where = partial(sentence.where, str(path))
            written = words(map(escaped, reading.words(sentence, str(path))))
            tags = [escaped(tag) for tag in reading.labels(sentence, str(path))]
            if args.scheme == FOUND:
                detector.add(tags, where)
            elif args.scheme in SCHEMES:
                tags = convert(tags, args.scheme, where)
            out["words"].write(" ".join(written) + "\n")
            out["labels"].write(" ".join(tags) + "\n")
            for name, number in args.factor:
                out[name].write(" ".join(map(escaped, pick(sentence, number, str(path)))) + "\n")
            summary.add(tags)
    summary.notes["words written as <unk>"] = words.unknown - unknown
    check(summary, files, corpus)
    return summary


def check(summary: Summary, files: list[Path], corpus: Corpus) -> None:
    """Refuse a split without sentences, or without labels; note how many of CoNLL-U's labels are no value."""
    if summary.sentences == 0:
        raise FormatError(f"{files[0]} holds no sentence for the {summary.name} split")
    if corpus.args.layout != "conllu":
        return
    if summary.name == "train" and summary.labels.keys() == {NO_VALUE}:
        raise FormatError(
            f"{files[0]}: {COLUMNS[corpus.reading.label]} is {NO_VALUE}, which is no value, for all tokens of the "
            "training split; --label-column names another column"
        )
    summary.notes[f"labels are {NO_VALUE}, which is no value in CoNLL-U, and a label like others here"] = (
        summary.labels[NO_VALUE]
    )


def sentences(
    files: list[Path], split: str, corpus: Corpus, summary: Summary | None = None
) -> Iterator[tuple[Path, Sentence]]:
    """The sentences of one split, each with its file: all of them, unless training and validation share the files."""
    args = corpus.args
    shared = split != "test" and not args.valid
    number = 0
    for path in files:
        read = corpus.reading.sentences(read_lines(path, corpus.encodings[path]), str(path))
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


def training_words(files: list[Path], corpus: Corpus) -> Iterator[list[str]]:
    """The words of each sentence that is trained on."""
    for path, sentence in itertools.islice(sentences(files, "train", corpus), corpus.args.limit):
        yield [escaped(word) for word in corpus.reading.words(sentence, str(path))]


if __name__ == "__main__":
    run_program(main)
