"""Turn IWSLT'14 German-English into tokenised, lower-cased parallel text, ready for fairseq-preprocess.

Reads the official archive de-en.tgz (--archive), or a folder (--from-dir) with the archive's files or with plain files
{train,valid,test}.{de,en}, which may be compressed; with neither it downloads the archive. Writes
OUTPUT_DIR/{train,valid,test}.{de,en}, in words of which rare ones are <unk>, or in sentencepiece pieces (--bpe), beside
raw.{train,valid,test}.en, the same English words before either: the references for BLEU.

The default is MIXER's recipe; --max-length 175 --bpe 10000 comes near that of fairseq's example.
"""

import argparse
import functools
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from seqsearch_fairseq.data.download import DownloadError, download
from seqsearch_fairseq.data.files import FormatError, progress, read_lines
from seqsearch_fairseq.data.iwslt14 import (
    LANGUAGES,
    MAX_RATIO,
    MIXER_LENGTH,
    VALID_EVERY,
    Corpus,
    Part,
    fault,
    find_corpus,
    most_frequent,
    sha256_of,
    tokenise,
    undocumented,
    unpack,
    words,
)
from seqsearch_fairseq.data.parallel import read_pairs
from seqsearch_fairseq.data.pieces import learn_pieces
from seqsearch_fairseq.data.preparation import (
    UNKNOWN,
    Summary,
    add_output_options,
    at_least,
    at_least_one,
    replaced,
    run,
)
from seqsearch_fairseq.programs import run_program

SPLITS = ("train", "valid", "test")
URL = "https://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz"
CACHE = "~/.cache/seqsearch-fairseq"
SOURCE_WORDS, TARGET_WORDS = 32009, 22822  # MIXER's
BLOCK = 4000  # sentences that are in memory at once


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    if args.archive is not None and args.from_dir is not None:
        parser.error("--archive and --from-dir do not go together")
    if args.sha256 is not None and args.from_dir is not None:
        parser.error("--sha256 is of an archive; it does not go with --from-dir")
    if args.bpe is not None and (args.source_words is not None or args.target_words is not None):
        parser.error(
            "--bpe has one vocabulary for both languages; it does not go with --source-words or --target-words"
        )
    return run(lambda: prepare(args))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_output_options(parser)
    corpus = parser.add_argument_group("corpus")
    corpus.add_argument("--archive", metavar="FILE", type=Path, help="the official de-en.tgz")
    corpus.add_argument("--from-dir", metavar="FOLDER", type=Path, help="its files, unpacked, or plain parallel files")
    corpus.add_argument("--url", default=URL, help="where to download the archive from (default: %(default)s)")
    corpus.add_argument(
        "--cache",
        metavar="FOLDER",
        type=Path,
        default=Path(CACHE),
        help="where the download is kept; one that was cut off goes on (default: %(default)s)",
    )
    corpus.add_argument("--sha256", metavar="HEX", type=str.lower, help="checksum that the archive must have")
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument("--tokenized", action="store_true", help="the text is tokenised already")
    recipe.add_argument("--workers", type=at_least_one, default=1, metavar="N", help="processes that tokenise")
    recipe.add_argument(
        "--max-length",
        type=at_least_one,
        default=MIXER_LENGTH,
        metavar="N",
        help="leave out training pairs with more tokens on a side (default: %(default)s)",
    )
    recipe.add_argument(
        "--max-ratio",
        type=ratio,
        default=MAX_RATIO,
        metavar="R",
        help="leave out training pairs of which a side has more than R times the tokens of the other "
        "(default: %(default)s)",
    )
    recipe.add_argument(
        "--valid-every",
        type=at_least(2),
        default=VALID_EVERY,
        metavar="N",
        help="every N-th pair of the official training text is for validation instead (default: %(default)s)",
    )
    vocabulary = parser.add_argument_group("vocabulary")
    for side, language, size in (("source", "German", SOURCE_WORDS), ("target", "English", TARGET_WORDS)):
        vocabulary.add_argument(
            f"--{side}-words",
            type=at_least_one,
            metavar="N",
            help=f"keep the N most frequent {language} words of train, write {UNKNOWN} for others (default: {size}, "
            "MIXER's)",
        )
    vocabulary.add_argument("--bpe", type=at_least_one, metavar="N", help="N pieces for both languages, and no words")
    return parser


def ratio(text: str) -> float:
    if not float(text) >= 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return float(text)


def prepare(args: argparse.Namespace) -> Iterator[str]:
    """Write all splits; yield what was read, the summary of each split, and the vocabulary."""
    cached = args.cache.expanduser() / (Path(urlsplit(args.url).path).name or "de-en.tgz")
    source = args.from_dir or args.archive or cached
    notes = []
    with replaced(args.output_dir, source, overwrite=args.overwrite) as folder:
        with ExitStack() as stack:
            text = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
            stack.enter_context(named_as_in(source, text))
            if args.from_dir is None:
                notes.append(f"{source}: sha256 {fetch(args, source, text)}")
            corpus = find_corpus(args.from_dir or text)
            summaries = write_words(corpus, text, args, ordered_map(args.workers, stack))
            write = write_known_words if args.bpe is None else write_pieces
            vocabulary = write(text, folder, summaries, args)
            for split in SPLITS:
                (text / f"{split}.en").replace(folder / f"raw.{split}.en")
    if corpus.official and args.limit is None and (args.max_ratio, args.valid_every) == (MAX_RATIO, VALID_EVERY):
        for difference in undocumented({split: summaries[split].sentences for split in SPLITS}, args.max_length):
            print(f"warning: {difference}", file=sys.stderr)
    yield from notes + corpus.notes
    yield from map(str, summaries.values())
    yield f"vocabulary: {vocabulary}; written to {args.output_dir}"


@contextmanager
def named_as_in(archive: Path, unpacked: Path) -> Iterator[None]:
    """Errors name the files of the archive as it does, and not where they were for a while."""
    try:
        yield
    except FormatError as error:
        raise FormatError(str(error).replace(f"{unpacked}/", f"{archive}: de-en/")) from error


def fetch(args: argparse.Namespace, archive: Path, folder: Path) -> str:
    """Download the archive, if it is to be, and unpack it; return its checksum."""
    downloaded = args.archive is None
    if downloaded:
        try:
            download(args.url, archive)
        except DownloadError as error:
            raise FormatError(f"{error}; --archive and --from-dir read what is here already") from error
    try:
        checksum = sha256_of(archive)
        if args.sha256 not in (None, checksum):
            raise FormatError(f"{archive} must have the sha256 {args.sha256}, and has {checksum}")
        unpack(archive, folder)
    except FormatError as error:
        if downloaded:
            raise FormatError(f"{error}; remove it to have it downloaded again") from error
        raise
    return checksum


# --------------------------------------------------------------------------------------------------- text into words


def ordered_map(workers: int, stack: ExitStack) -> Callable[[Callable[[str], str], list[str]], Iterable[str]]:
    """`map`, in several processes."""
    if workers == 1:
        return map
    pool = stack.enter_context(ProcessPoolExecutor(workers))
    return functools.partial(pool.map, chunksize=BLOCK // (4 * workers) + 1)


def write_words(corpus: Corpus, folder: Path, args: argparse.Namespace, ordered: Callable) -> dict[str, Summary]:
    """Write FOLDER/{train,valid,test}.{de,en} in words, as a stream."""
    summaries = {split: Summary(split, "sentence pairs", "English words") for split in SPLITS}
    with ExitStack() as stack:
        out = {
            (split, language): stack.enter_context((folder / f"{split}.{language}").open("w", encoding="utf-8"))
            for split in SPLITS
            for language in LANGUAGES
        }
        shared = ("train", "valid") if corpus.official else ("train",)
        for splits, pairs in (
            (shared, training_pairs(corpus, args, ordered, summaries["train"])),
            (("valid",), (("valid", *pair) for pair in word_pairs(corpus.valid, args, ordered))),
            (("test",), (("test", *pair) for pair in word_pairs(corpus.test, args, ordered))),
        ):
            for split, source, target in pairs:
                if summaries[split].sentences != args.limit:
                    out[split, "de"].write(source + "\n")
                    out[split, "en"].write(target + "\n")
                    summaries[split].add(target.split())
                if all(summaries[split].sentences == args.limit for split in splits):
                    break
    for split, parts in zip(SPLITS, (corpus.train, corpus.valid or corpus.train, corpus.test), strict=True):
        if summaries[split].sentences == 0:
            raise FormatError(f"{parts[0].paths[0]} holds too little for the {split} split: no sentence pair")
    return summaries


def training_pairs(
    corpus: Corpus, args: argparse.Namespace, ordered: Callable, summary: Summary
) -> Iterator[tuple[str, str, str]]:
    """The pairs that may be trained on, each with its split; `summary` counts the others."""
    number = 0
    for source, target in word_pairs(corpus.train, args, ordered):
        if reason := fault(source, target, args.max_length, args.max_ratio):
            summary.notes[reason] += 1
            continue
        number += 1
        yield "valid" if corpus.official and number % args.valid_every == 0 else "train", source, target


def word_pairs(parts: list[Part], args: argparse.Namespace, ordered: Callable) -> Iterator[tuple[str, str]]:
    """The sentence pairs of these files, in words, a block at a time."""
    for part in parts:
        pairs = read_pairs(*map(part.read, part.paths), part.paths)
        pairs = iter(progress(pairs, part.paths[0].name, "pairs"))
        while block := list(itertools.islice(pairs, BLOCK)):
            sides = zip(LANGUAGES, zip(*block, strict=True), strict=True)
            yield from zip(*(ordered(in_words(language, args), side) for language, side in sides), strict=True)


def in_words(language: str, args: argparse.Namespace) -> Callable[[str], str]:
    return words if args.tokenized else functools.partial(tokenise, language=language)


# ---------------------------------------------------------------------------------------------- words for fairseq


def write_known_words(text: Path, folder: Path, summaries: dict[str, Summary], args: argparse.Namespace) -> str:
    """Write the words, rare ones as <unk>; return what the vocabularies are."""
    sizes = []
    for language, size in zip(
        LANGUAGES, (args.source_words or SOURCE_WORDS, args.target_words or TARGET_WORDS), strict=True
    ):
        known = most_frequent(read_lines(text / f"train.{language}"), size)
        sizes.append(f"{len(known)} {language} words")

        def encode(line: str, known=known) -> list[str]:
            return [word if word in known else UNKNOWN for word in line.split()]

        for split, encoded in write_encoded(text, folder, language, encode):
            summaries[split].notes[f"{language} words written as {UNKNOWN}"] += encoded.count(UNKNOWN)
    return ", ".join(sizes)


def write_pieces(text: Path, folder: Path, summaries: dict[str, Summary], args: argparse.Namespace) -> str:
    """Write the words in pieces; return what the vocabulary is."""
    training = itertools.chain.from_iterable(read_lines(text / f"train.{language}") for language in LANGUAGES)
    model = learn_pieces(training, folder, args.bpe, "--bpe")
    for language in LANGUAGES:
        for split, pieces in write_encoded(text, folder, language, functools.partial(model.encode, out_type=str)):
            summaries[split].notes[f"{language} pieces"] += len(pieces)
    return f"{model.get_piece_size()} pieces"


def write_encoded(
    text: Path, folder: Path, language: str, encode: Callable[[str], list[str]]
) -> Iterator[tuple[str, list[str]]]:
    """Write one language of all splits; yield each sentence as it was written, with its split."""
    for split in SPLITS:
        name = f"{split}.{language}"
        with (folder / name).open("w", encoding="utf-8") as out:
            for line in progress(read_lines(text / name), f"writing {name}", "sentences"):
                encoded = encode(line)
                out.write(" ".join(encoded) + "\n")
                yield split, encoded


if __name__ == "__main__":
    run_program(main)
