"""`python -m seqsearch_fairseq tag`: words in, labels out, as a stream."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from seqsearch_fairseq.data import preparation
from seqsearch_fairseq.data.columns import Sentence, pick
from seqsearch_fairseq.data.encodings import AUTO, encoding_of
from seqsearch_fairseq.data.files import FormatError, decoded, progress
from seqsearch_fairseq.data.layouts import LAYOUTS, Reading, column, encoding, resolve_columns
from seqsearch_fairseq.data.preparation import at_least_one
from seqsearch_fairseq.data.rewriting import KeptLines, write_back
from seqsearch_fairseq.data.schemes import OUTSIDE
from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.tagging.options import BEAM, BUFFER, DECODERS, MAX_TOKENS, SCORES, TagOptions
from seqsearch_fairseq.tagging.text import (
    APPEND,
    FORMS,
    LINES,
    OUTPUTS,
    TOKENIZERS,
    Source,
    opened_input,
    opened_output,
)

NAME = "tag"
ABOUT = "tag words with a checkpoint of --task search_tagging; they are prepared as the training words were"


def add_parser(commands) -> None:
    parser = commands.add_parser(NAME, help=ABOUT, description=ABOUT)
    parser.add_argument("file", nargs="?", metavar="FILE", type=Path, help="what to tag (default: standard input)")
    parser.add_argument("--path", required=True, metavar="CHECKPOINT", help="several, separated by :, are averaged")
    parser.add_argument("--data", metavar="DATA", help="folder of the dictionaries, if not the checkpoint's own")
    _add_text_options(parser.add_argument_group("text"))
    _add_search_options(parser.add_argument_group("search"))


def _add_text_options(group) -> None:
    about = "; ".join(f"{name}: {layout.about}" for name, layout in LAYOUTS.items())
    group.add_argument(
        "--layout",
        choices=[LINES, *LAYOUTS],
        default=LINES,
        help=f"of FILE: {LINES}: a sentence a line; {about} (default: %(default)s)",
    )
    group.add_argument(
        "--tokenize",
        choices=list(TOKENIZERS),
        default="none",
        help="of lines: split at white space, or by Moses's rules (default: %(default)s)",
    )
    group.add_argument("--language", default="en", metavar="CODE", help="of --tokenize moses (default: %(default)s)")
    group.add_argument(
        "--encoding",
        type=encoding,
        default=AUTO,
        help="of FILE; auto: UTF-8 if it is UTF-8 as a whole, else Latin-1; a pipe is UTF-8 (default: %(default)s)",
    )
    group.add_argument(
        "--word-column", type=column, metavar="N", help="from 0, if not that of the layout or of training"
    )
    group.add_argument(
        "--factor", action="append", metavar="NAME=N", help="column of a factor, if not that of training; repeatable"
    )
    group.add_argument(
        "--output",
        choices=OUTPUTS,
        default="columns",
        help="columns: word, tab, label; jsonl: an object a sentence, with tokens and labels; labels: a "
        "sentence a line; append: FILE byte for byte, with one column more (default: %(default)s)",
    )
    group.add_argument("--out", metavar="FILE", type=Path, help="write here, whole or not at all")


def _add_search_options(group) -> None:
    plain = TagOptions()
    group.add_argument("--decoder", choices=DECODERS, default=plain.decoder, help="(default: %(default)s)")
    group.add_argument("--beam", type=at_least_one, metavar="K", help=f"(default: {BEAM}, or the number of labels)")
    group.add_argument(
        "--soft-beam-decode-alpha", type=float, default=plain.alpha, metavar="X", help="(default: %(default)s)"
    )
    group.add_argument(
        "--decode-scores", choices=SCORES, default=plain.scores, help="auto is as trained (default: %(default)s)"
    )
    group.add_argument("--batch-size", type=at_least_one, metavar="N", help="at most N sentences a batch")
    group.add_argument(
        "--max-tokens", type=at_least_one, metavar="N", help=f"at most N words a batch (default: {MAX_TOKENS})"
    )
    group.add_argument(
        "--buffer-size",
        type=at_least_one,
        metavar="N",
        help=f"sentences read before the first is written (default: {BUFFER}; 1 where a terminal is read)",
    )
    group.add_argument("--cpu", action="store_true", help="the same as --device cpu")
    group.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)")


def run(args: argparse.Namespace) -> int:
    """Tag; return the exit status."""
    stopped = "the output is not whole" if args.out is None else "nothing was written"
    return preparation.run(lambda: _tag(args), stopped)


def _tag(args: argparse.Namespace) -> Iterable[str]:
    if args.output == APPEND and args.layout == LINES:
        raise UsageError(f"--output append needs a --layout with room for a label, and {LINES} has none")
    if args.tokenize != "none" and args.layout != LINES:
        raise UsageError(f"--tokenize {args.tokenize} is for --layout {LINES}; the words of {args.layout} are given")
    with opened_input(args.file) as (raw, name), opened_output(args.out, args.file) as out:
        tagger, device = _tagger(args)
        if tagger.preparation is None:
            print("note: the checkpoint does not say how its words were prepared: taken as they are", file=sys.stderr)
        source = _source(args, tagger)
        encoding = _encoding(args)
        kept = KeptLines(raw, name, encoding) if args.output == APPEND else None
        lines = kept or (decoded(line, number, name, encoding) for number, line in enumerate(raw, 1))
        sentences = progress(source.sentences(lines, name), "tag", "sentences")
        buffer = args.buffer_size or (1 if raw.isatty() else BUFFER)
        tagged = tagger.tag(_items(sentences, name, source), _options(args), device, buffer)
        _write(tagged, kept, out, args, source, flush_every=buffer)
    return ()  # nothing more to be printed


def _encoding(args: argparse.Namespace) -> str:
    found = encoding_of(args.file or Path("-"), args.encoding)
    if found.note is not None:
        print(found.note, file=sys.stderr)
    return found.name


def _tagger(args: argparse.Namespace):
    """The model, and where it is. torch and fairseq are imported here."""
    import logging

    import torch

    from seqsearch_fairseq.tagging.loading import load
    from seqsearch_fairseq.tagging.tagger import Tagger

    if args.cpu and args.device not in (None, "cpu"):
        raise UsageError(f"--cpu and --device {args.device} cannot both be")
    name = "cpu" if args.cpu else args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise UsageError(f"--device {name}: {str(error).splitlines()[0]}") from error
    logger = logging.getLogger("fairseq")
    level = logger.level
    logger.setLevel(logging.WARNING)  # it tells the sizes of the dictionaries
    try:
        tagger = Tagger(load(args.path.split(":"), args.data))
    finally:
        logger.setLevel(level)
    for model in tagger.models:
        model.to(device)
    return tagger, device


def _options(args: argparse.Namespace) -> TagOptions:
    limit = args.max_tokens if args.max_tokens or args.batch_size else MAX_TOKENS
    return TagOptions(args.decoder, args.beam, args.soft_beam_decode_alpha, args.decode_scores, limit, args.batch_size)


def _source(args: argparse.Namespace, tagger) -> Source:
    """How the input is read: as the options say, else as training's corpus was, if it is of the same layout."""
    record = tagger.preparation if tagger.preparation and tagger.preparation.layout == args.layout else None
    known = tagger.task.factor_dictionaries
    given = dict(map(_factor, args.factor or ()))
    for factor in given:
        if factor not in known:
            raise UsageError(f"--factor {factor}: the model has no such factor ({', '.join(known) or 'it has none'})")
    if args.layout == LINES:
        if given or args.word_column is not None:
            raise UsageError(f"--factor and --word-column name columns, and --layout {LINES} has none")
        return Source(None, TOKENIZERS[args.tokenize](args.language), {})
    factors = {**(record.factors if record else {}), **given}
    word = args.word_column if args.word_column is not None or record is None else record.word_column
    columns = argparse.Namespace(
        layout=args.layout,
        word_column=word,
        label_column=None,
        label_names=None,
        factor=[(name, place) for name, place in factors.items() if name in known],
    )
    resolve_columns(columns)
    return Source(Reading(columns), str.split, dict(columns.factor))


def _factor(text: str) -> tuple[str, int | str]:
    name, _, place = text.partition("=")
    if not place:
        raise UsageError(f"--factor must be a name, = and a column, as in pos=1, got {text!r}")
    return name, column(place)


def _items(sentences: Iterable[Sentence], name: str, source: Source) -> Iterator:
    from seqsearch_fairseq.tagging.tagger import Item

    for sentence in sentences:
        if source.is_mark(sentence) or not sentence.rows:
            yield Item([], {}, name, sentence)
            continue
        factors = {factor: pick(sentence, column, name) for factor, column in source.factors.items()}
        yield Item(source.words(sentence, name), factors, sentence.where(name, 0), sentence)


def _write(tagged, kept: KeptLines | None, out: BinaryIO, args, source: Source, flush_every: int) -> None:
    if kept is not None:
        pairs = ((item.source, [OUTSIDE] if source.is_mark(item.source) else labels) for item, labels in tagged)
        write_back(kept, pairs, out, LAYOUTS[args.layout].rewrite)
        return
    form = FORMS[args.output]
    for number, (item, labels) in enumerate(tagged, 1):
        if not source.is_mark(item.source):
            out.write(_encoded(form(item.source, labels, source), item.where))
        if number % flush_every == 0:
            out.flush()


def _encoded(text: str, where: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # half of a character, which JSON can write
        raise FormatError(f"{where}: {error.object[error.start]!r} is no character that text can hold") from error
