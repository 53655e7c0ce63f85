"""Put what fairseq-generate predicted into the corpus file, and score it.

Writes OUTPUT: CORPUS line for line, with the predicted label as one more column (conlleval reads that). From the
layouts auto and pipes it becomes columns: word, part of speech, supertag, predicted supertag. Prints the score.
"""

import argparse
import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from fairseq.scoring import build_scorer

import seqsearch_fairseq  # noqa: F401  registers the scorers
from seqsearch_fairseq.data.columns import Sentence, is_document_mark, pick
from seqsearch_fairseq.data.files import FormatError, read_lines
from seqsearch_fairseq.data.layouts import LAYOUTS, add_layout_options, resolve_columns
from seqsearch_fairseq.data.preparation import at_least_one, escaped, run
from seqsearch_fairseq.data.schemes import OUTSIDE, SCHEMES, SchemeDetector, convert
from seqsearch_fairseq.scoring.files import in_order, read_hypotheses

SCORERS = ("chunk_f1", "tag_accuracy")


def main() -> int:
    args = build_parser().parse_args()
    resolve_columns(args)
    return run(lambda: score(args))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", metavar="CORPUS", type=Path, help="the file that was the test split")
    parser.add_argument("generated", metavar="GENERATED", type=Path, help="what fairseq-generate printed")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="file to write; replaced if it exists")
    parser.add_argument(
        "--scoring", choices=SCORERS, nargs="+", default=["tag_accuracy"], help="(default: %(default)s)"
    )
    parser.add_argument("--scheme", choices=SCHEMES, help="write and compare chunk labels in this scheme")
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="use only the first N sentences")
    add_layout_options(parser)
    return parser


def score(args: argparse.Namespace) -> Iterator[str]:
    """Write the file; yield the scores."""
    if args.output.resolve() in (args.corpus.resolve(), args.generated.resolve()):
        raise FormatError(f"OUTPUT would replace what is read: {args.output}")
    predictions = in_order(read_hypotheses(args.generated), args.generated)
    scorers = [build_scorer(name, None) for name in args.scoring]
    detectors = SchemeDetector(), SchemeDetector()
    temporary = args.output.with_name(args.output.name + ".tmp")
    try:
        with temporary.open("w", encoding=args.encoding) as out:
            sentences = add_predictions(args, predictions, scorers, detectors)
            if LAYOUTS[args.layout].line_a_token:
                write_lines(args.corpus, args.encoding, sentences, out, whole=args.limit is None)
            else:
                write_columns(sentences, out)
        if next(predictions, None) is not None:
            raise FormatError(f"{args.generated} holds more sentences than {args.corpus}; is it of this file?")
        os.replace(temporary, args.output)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    for scorer in scorers:
        yield scorer.result_string()
    gold, predicted = map(likely_scheme, detectors)
    if gold is not None and predicted is not None and gold != predicted:
        yield f"note: labels are {gold}, predictions {predicted}; --scheme {gold} writes and compares them as {gold}"


def likely_scheme(detector: SchemeDetector) -> str | None:
    """What the labels keep to; None if they are not of chunks, or to none or several."""
    return detector.possible[0] if detector.chunks and len(detector.possible) == 1 else None


def add_predictions(args, predictions: Iterator[list[str]], scorers, detectors) -> Iterator[tuple[Sentence, list[str]]]:
    """Each sentence of the corpus with its predicted labels, which are scored."""
    read = LAYOUTS[args.layout].read(read_lines(args.corpus, args.encoding), str(args.corpus))
    count = itertools.count()
    for sentence in read:
        if is_document_mark(sentence):
            yield sentence, [OUTSIDE]
            continue
        if args.limit is not None and next(count) >= args.limit:
            return
        where = sentence.where(str(args.corpus), 0)
        labels = next(predictions, None)
        if labels is None:
            raise FormatError(f"{where}: {args.generated} holds no more predictions")
        if len(labels) != len(sentence.rows):
            raise FormatError(f"{where}: {len(sentence.rows)} words, but {len(labels)} predicted labels")
        gold = [escaped(label) for label in pick(sentence, args.label_column, str(args.corpus))]  # as it was prepared
        if args.scheme is not None:
            at = partial(sentence.where, str(args.corpus))
            labels, gold = convert(labels, args.scheme, at), convert(gold, args.scheme, at)
        for detector, row in zip(detectors, (gold, labels), strict=True):
            with suppress(FormatError):  # labels that are not all of chunks; the scores take any
                detector.add(row, str)
        for scorer in scorers:
            scorer.add_string(" ".join(gold), " ".join(labels))
        yield sentence, labels


def write_lines(path: Path, encoding: str, sentences, out, whole: bool) -> None:
    """The file's own lines, those of tokens with their prediction. Without `whole`, up to the last sentence."""
    lines = enumerate(read_lines(path, encoding), 1)
    for sentence, labels in sentences:
        wanted = dict(zip(sentence.lines, labels, strict=True))
        for number, line in lines:
            separator = "\t" if "\t" in line else " "
            out.write(f"{line.rstrip(' ')}{separator}{wanted[number]}\n" if number in wanted else f"{line}\n")
            if number == sentence.lines[-1]:
                break
    for _, line in lines:  # what follows the last sentence
        if not whole and line.strip():
            break
        out.write(f"{line}\n")


def write_columns(sentences: Iterator[tuple[Sentence, list[str]]], out) -> None:
    for sentence, labels in sentences:
        out.writelines("\t".join([*row, label]) + "\n" for row, label in zip(sentence.rows, labels, strict=True))
        out.write("\n")


if __name__ == "__main__":
    sys.exit(main())
