"""Put what fairseq-generate predicted into the corpus file, and score it.

Writes OUTPUT: CORPUS byte for byte, with the predicted label as one more column (conlleval reads that), in CoNLL-U as
Predicted=LABEL in MISC, in JSON lines as the key predicted. From the layouts auto and pipes it becomes columns: word,
part of speech, supertag, predicted supertag. Prints the score: chunk_f1 where the labels are of chunks, else
tag_accuracy. Any length of file is read as a stream.
"""

import argparse
import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from seqsearch_fairseq.data.columns import Sentence, is_document_mark
from seqsearch_fairseq.data.encodings import encoding_of
from seqsearch_fairseq.data.files import FormatError, opened
from seqsearch_fairseq.data.hypotheses import hypotheses
from seqsearch_fairseq.data.layouts import Reading, add_layout_options, resolve_columns
from seqsearch_fairseq.data.preparation import at_least_one, escaped, parsed, replaced_file, run
from seqsearch_fairseq.data.rewriting import KeptLines, write_back
from seqsearch_fairseq.data.schemes import OUTSIDE, SCHEMES, SchemeDetector, convert
from seqsearch_fairseq.programs import run_program
from seqsearch_fairseq.tag_scores import SCORES, ChunkF1, TagAccuracy


def main() -> int:
    args = parsed(build_parser(), {"--scoring": lambda name: name in SCORES})
    return run(lambda: score(args))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", metavar="CORPUS", type=Path, help="the file that was the test split")
    parser.add_argument("generated", metavar="GENERATED", type=Path, help="what fairseq-generate printed")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="file to write; replaced if it exists")
    parser.add_argument(
        "--scoring",
        choices=list(SCORES),
        action="append",
        help="may be repeated (default: chunk_f1 where all labels of CORPUS are of chunks, else tag_accuracy)",
    )
    parser.add_argument("--scheme", choices=SCHEMES, help="write and compare chunk labels in this scheme")
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="use only the first N sentences")
    add_layout_options(parser)
    return parser


class Scores:
    """What is counted of the labels: the scores that are asked for, or both if none is; and their schemes."""

    def __init__(self, wanted: list[str] | None):
        self.counts = [SCORES[name]() for name in dict.fromkeys(wanted)] if wanted else [ChunkF1(), TagAccuracy()]
        self.choose = not wanted
        self.detectors = SchemeDetector(), SchemeDetector()

    def add(self, gold: list[str], predicted: list[str]) -> None:
        for counts in self.counts:
            counts.add(gold, predicted)
        for detector, row in zip(self.detectors, (gold, predicted), strict=True):
            detector.add(row, str)
        if self.choose and len(self.counts) > 1 and self.counts[0].others:
            del self.counts[0]  # they are not of chunks

    def said(self) -> Iterator[str]:
        """The scores, and what is to be said of the schemes. Raises `UsageError` if chunk_f1 is asked for in vain."""
        chosen = self.counts
        if self.choose and len(chosen) > 1:
            chosen = chosen[:1] if chosen[0].are_chunks else chosen[1:]
        yield from [counts.result_string() for counts in chosen]
        gold, predicted = map(likely_scheme, self.detectors)
        if gold is not None and predicted is not None and gold != predicted:
            yield f"note: labels are {gold}, predictions {predicted}; --scheme {gold} writes and compares both so"


def likely_scheme(detector: SchemeDetector) -> str | None:
    """What the labels keep to; None if they are not of chunks, or to none or several."""
    return detector.candidates[0] if len(detector.candidates) == 1 else None


def score(args: argparse.Namespace) -> Iterator[str]:
    """Write the file; yield the scores."""
    resolve_columns(args)
    if args.output.resolve() in (args.corpus.resolve(), args.generated.resolve()):
        raise FormatError(f"OUTPUT would replace what is read: {args.output}")
    encoding = encoding_of(args.corpus, args.encoding)
    if encoding.note:
        yield encoding.note
    reading, scores = Reading(args), Scores(args.scoring)
    with (
        replaced_file(args.output) as out,
        hypotheses(args.generated) as predictions,
        opened(args.corpus) as raw,
    ):
        lines = KeptLines(raw, str(args.corpus), encoding.name)
        sentences = add_predictions(args, lines, reading, predictions, scores)
        write_back(lines, sentences, out, reading.layout.rewrite, whole=args.limit is None)
        if next(predictions, None) is not None:
            raise FormatError(f"{args.generated} holds more sentences than {args.corpus}; is it of this file?")
        said = list(scores.said())
    yield from said


def add_predictions(
    args: argparse.Namespace, lines: KeptLines, reading: Reading, predictions: Iterator[list[str]], scores: Scores
) -> Iterator[tuple[Sentence, list[str]]]:
    """Each sentence of the corpus with its predicted labels, which are scored."""
    count = itertools.count()
    for sentence in reading.sentences(lines, lines.name):
        if is_document_mark(sentence):
            yield sentence, [OUTSIDE]
            continue
        if args.limit is not None and next(count) >= args.limit:
            return
        where = sentence.where(lines.name, 0)
        labels = next(predictions, None)
        if labels is None:
            raise FormatError(f"{where}: {args.generated} holds no more predictions")
        if len(labels) != len(sentence.rows):
            raise FormatError(f"{where}: {len(sentence.rows)} words, but {len(labels)} predicted labels")
        gold = [escaped(label) for label in reading.labels(sentence, lines.name)]  # as it was prepared
        if args.scheme is not None:
            at = partial(sentence.where, lines.name)
            labels, gold = convert(labels, args.scheme, at), convert(gold, args.scheme, at)
        scores.add(gold, labels)
        yield sentence, labels


if __name__ == "__main__":
    run_program(main)
