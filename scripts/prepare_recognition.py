"""Turn a corpus of speech into fairseq's format for it, with a lexicon and a word n-gram.

Writes OUTPUT_DIR/{train,valid,test}.tsv, the manifests; SPLIT.wrd, the words; SPLIT.ltr, their letters, with | after
each word, or with --units phones SPLIT.phn, the first pronunciation of each word, with SIL after it; dict.ltr.txt or
dict.phn.txt; lexicon.txt, in flashlight's format, with | or SIL at the end of each spelling; and ngram.arpa, an
interpolated Kneser-Ney n-gram of the training transcriptions. --task search_recognition reads them. The manifests name
the corpus's own files, which are not copied.
"""

import argparse
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from seqsearch_fairseq.data.files import FormatError, progress, read_lines
from seqsearch_fairseq.data.preparation import (
    Summary,
    add_output_options,
    at_least_one,
    is_input,
    parsed,
    replaced,
    run,
    shortened,
)
from seqsearch_fairseq.data.recognition.corpora import (
    Utterance,
    read_an4,
    read_an4_lexicon,
    read_folder,
    valid_speakers,
)
from seqsearch_fairseq.data.recognition.features import file_length
from seqsearch_fairseq.data.recognition.lexicon import Lexicon, Pronunciation, read_cmu_lexicon, write_lexicon
from seqsearch_fairseq.data.recognition.manifests import Entry, write_manifest
from seqsearch_fairseq.data.recognition.ngrams import kneser_ney, write_arpa
from seqsearch_fairseq.data.recognition.units import LETTER_SEPARATOR, PHONE_SEPARATOR, spelled, write_dictionary
from seqsearch_fairseq.programs import run_program

SPLITS = ("train", "valid", "test")
LABELS = {"letters": "ltr", "phones": "phn"}
SEPARATORS = {"letters": LETTER_SEPARATOR, "phones": PHONE_SEPARATOR}


def main() -> int:
    parser = build_parser()
    args = parsed(parser, {"--lm-text": is_input})
    given = [split for split in SPLITS if getattr(args, split)]
    if (args.an4 is None) == (not given):
        parser.error("the corpus must be given: --an4 FOLDER, or --train FOLDER and --test FOLDER")
    if args.an4 is None and not (args.train and args.test):
        parser.error(f"--train FOLDER and --test FOLDER must both be given, got only {', '.join(given)}")
    if args.valid and args.valid_speakers:
        parser.error("--valid-speakers are split off --train, and --valid is given: leave one of them out")
    if args.units == "phones" and args.an4 is None and args.lexicon is None:
        parser.error("--units phones needs --lexicon FILE, which says how words are pronounced")
    return run(lambda: prepare(args))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="%(prog)s OUTPUT_DIR {--an4 FOLDER | --train FOLDER --test FOLDER} [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_output_options(parser)
    corpus = parser.add_argument_group("corpus")
    corpus.add_argument("--an4", metavar="FOLDER", type=Path, help="AN4 with its cepstra, as published: etc/ and feat/")
    for split in SPLITS:
        corpus.add_argument(
            f"--{split}",
            metavar="FOLDER",
            type=Path,
            help=f"of the {split} split: .wav, .flac, .mfc or .npy files at any depth, each with its words in a .txt "
            "file of the same name, or in a .trans.txt file of its folder (lines of name and words)",
        )
    corpus.add_argument(
        "--valid-speakers",
        metavar="NAMES",
        type=lambda text: text.split(","),
        help="speakers, as in fash,mblb (folders of the corpus), whose training utterances are for validation instead",
    )
    corpus.add_argument(
        "--valid-share",
        metavar="X",
        type=share,
        default=0.1,
        help="without --valid and --valid-speakers: so much of the training utterances, whole speakers, are for "
        "validation; the names decide which (default: %(default)s)",
    )
    words = parser.add_argument_group("words")
    words.add_argument("--units", choices=list(LABELS), default="letters", help="(default: %(default)s)")
    words.add_argument(
        "--lexicon",
        metavar="FILE",
        type=Path,
        help="words and their phones, a line each, WORD(2) for a second way, as in CMU's dictionary; AN4 has its own. "
        "With letters it only adds words",
    )
    words.add_argument(
        "--order", type=at_least_one, default=2, metavar="N", help="of the n-gram (default: %(default)s)"
    )
    words.add_argument(
        "--lm-text",
        metavar="FILE",
        action="append",
        type=Path,
        help="one or more texts, a sentence a line, to estimate the n-gram from instead of the training transcriptions",
    )
    return parser


def share(text: str) -> float:
    if not 0 < float(text) < 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1, got {text}")
    return float(text)


def prepare(args: argparse.Namespace) -> Iterator[str]:
    """Write everything; yield the summary of each split, and what else was made."""
    named = (args.an4, args.train, args.valid, args.test, args.lexicon, *(args.lm_text or ()))
    inputs = [path for path in named if path is not None]
    with replaced(args.output_dir, *inputs, overwrite=args.overwrite) as folder:
        splits, note = split_up(args)
        lexicon = build_lexicon(args, splits)
        summaries = [write(args, split, splits[split], lexicon, folder) for split in SPLITS]
        write_lexicon(folder / "lexicon.txt", lexicon, SEPARATORS[args.units])
        write_dictionary(folder / f"dict.{LABELS[args.units]}.txt", unit_counts(args, splits["train"], lexicon))
        model = kneser_ney(texts(args, splits["train"]), args.order, lexicon.of_word)
        write_arpa(folder / "ngram.arpa", model)
    yield from map(str, summaries)
    yield note
    yield f"lexicon: {len(lexicon.of_word)} words in {len(lexicon)} spellings"
    yield f"n-gram: {', '.join(f'{len(probs)} of order {n}' for n, probs in enumerate(model.log_probs, 1))}"
    for split in SPLITS[1:]:
        said = model.perplexity([utterance.words for utterance in splits[split]])
        yield f"{split}: perplexity {said:.2f} a word, the end of sentence counted"


def split_up(args: argparse.Namespace) -> tuple[dict[str, list[Utterance]], str]:
    """The utterances of each split, and a line about the validation split."""
    if args.an4 is not None:
        found = {split: list(read_an4(args.an4, split)) for split in ("train", "test")}
    else:
        found = {split: list(read_folder(getattr(args, split))) for split in SPLITS if getattr(args, split)}
    if "valid" in found:
        note = f"valid: {args.valid}"
    else:
        names = args.valid_speakers or valid_speakers(found["train"], args.valid_share)
        there = {utterance.speaker for utterance in found["train"]}
        wrong = next((name for name in names if name not in there), None)
        if wrong is not None:
            raise FormatError(
                f"--valid-speakers {wrong}: no such speaker in the training split; there are {shortened(there)}"
            )
        found["valid"] = [utterance for utterance in found["train"] if utterance.speaker in names]
        found["train"] = [utterance for utterance in found["train"] if utterance.speaker not in names]
        note = f"valid: speakers {', '.join(sorted(set(names)))}"
    for split, utterances in found.items():
        found[split] = utterances[: args.limit]
        if not utterances:
            raise FormatError(f"there is no utterance for the {split} split")
    return found, note


def build_lexicon(args: argparse.Namespace, splits: dict[str, list[Utterance]]) -> Lexicon:
    """The words of the lexicon and of the training and validation transcriptions, in alphabetical order."""
    given = None
    if args.lexicon is not None:
        given = read_cmu_lexicon(args.lexicon)
    elif args.an4 is not None:
        given = read_an4_lexicon(args.an4)
    if args.units == "phones":
        assert given is not None  # `main` sees to it
        return Lexicon(sorted(given.pronunciations, key=lambda one: one.word))  # the first way of a word stays first
    words = set(given.of_word if given else ())
    words.update(word for split in ("train", "valid") for utterance in splits[split] for word in utterance.words)
    return Lexicon(Pronunciation(word, tuple(word)) for word in sorted(words))


def write(args: argparse.Namespace, split: str, utterances: list[Utterance], lexicon: Lexicon, folder: Path) -> Summary:
    """The manifest of a split, its words and its units."""
    summary, separator = Summary(split, "utterances", "words"), SEPARATORS[args.units]
    root = (args.an4 or getattr(args, split) or args.train).absolute()
    entries = []
    with (
        (folder / f"{split}.wrd").open("w", encoding="utf-8") as words,
        (folder / f"{split}.{LABELS[args.units]}").open("w", encoding="utf-8") as units,
    ):
        for utterance in progress(utterances, split, "utterances", len(utterances)):
            entries.append(Entry(utterance.path.absolute(), file_length(utterance.path)))
            spellings = [spelling(word, utterance, args.units, lexicon, separator) for word in utterance.words]
            words.write(" ".join(utterance.words) + "\n")
            units.write(" ".join(spelled(spellings, tuple, separator)) + "\n")
            summary.add(utterance.words)
            summary.notes["frames or samples"] += entries[-1].length
    write_manifest(folder / f"{split}.tsv", root, entries)
    unknown = {word for utterance in utterances for word in utterance.words if word not in lexicon}
    summary.notes[f"words that are not in the lexicon ({shortened(unknown)})"] = len(unknown)
    return summary


def spelling(word: str, utterance: Utterance, units: str, lexicon: Lexicon, separator: str) -> tuple[str, ...]:
    """The first spelling of a word."""
    if units == "phones" and word not in lexicon:
        raise FormatError(f"{utterance.where}: the word {word!r} is not in the lexicon, so its phones are unknown")
    found = lexicon.of_word[word][0] if word in lexicon else tuple(word)
    if separator in found:
        raise FormatError(f"{utterance.where}: the word {word!r} holds {separator!r}, which separates words")
    return found


def unit_counts(args: argparse.Namespace, train: list[Utterance], lexicon: Lexicon) -> Counter[str]:
    """How often each unit occurs in the training split; those that only the lexicon has too."""
    separator = SEPARATORS[args.units]
    counts = Counter({unit: 0 for _, units in lexicon.pronunciations for unit in units})
    counts[separator] += 0
    for utterance in train:
        counts.update(spelled(utterance.words, lambda word: lexicon.of_word[word][0], separator))
    return counts


def texts(args: argparse.Namespace, train: list[Utterance]) -> Iterator[list[str]]:
    """The sentences that the n-gram is estimated from."""
    if args.lm_text is None:
        return (utterance.words for utterance in train)
    return (line.split() for line in itertools.chain(*map(read_lines, args.lm_text)) if line.strip())


if __name__ == "__main__":
    run_program(main)
