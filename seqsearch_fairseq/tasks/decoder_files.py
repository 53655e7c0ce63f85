"""Lexicon and language model of `search_recognition` as the beam decoder has them: words and units by their numbers."""

import zlib
from pathlib import Path

from fairseq.data import Dictionary

from seqsearch_fairseq.algorithms.beam_decoder import lexicon as trees
from seqsearch_fairseq.algorithms.beam_decoder import topologies
from seqsearch_fairseq.algorithms.beam_decoder.arpa import read_arpa
from seqsearch_fairseq.algorithms.beam_decoder.ngrams import NgramLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.recurrent_files import is_recurrent, read_recurrent
from seqsearch_fairseq.beam_decoder import DecoderFiles, LanguageModelFile
from seqsearch_fairseq.data.files import FormatError, read_lines
from seqsearch_fairseq.data.recognition.lexicon import Lexicon
from seqsearch_fairseq.data.recognition.units import with_repetitions


def build(
    lexicon: Lexicon, lm_path: Path | None, dictionary: Dictionary, silence: str | None, repetitions: int | None
) -> DecoderFiles:
    """The prefix tree in its topology, and the language model.

    Args:
        lm_path: of an n-gram in ARPA, or of what scripts/train_recognition_lm.py wrote.
        repetitions: in ASG, the largest repetition that has a symbol; None in CTC, whose blank is the dictionary's
            start symbol.

    Raises:
        FormatError: a spelling cannot be written in ASG; the language model's file has a fault, or lacks words.
    """
    pairs = []
    for word, units in lexicon.pronunciations:
        try:
            written = units if repetitions is None else with_repetitions(units, repetitions)
        except ValueError as error:
            raise FormatError(
                f"--recognition-lexicon: the spelling of {word!r}: {error}; --recognition-repetitions is `most`"
            ) from error
        pairs.append((word, [dictionary.index(unit) for unit in written]))
    tree = trees.Lexicon.build(pairs)
    size, pause = len(dictionary), None if silence is None else dictionary.index(silence)
    if repetitions is None:
        graph = topologies.ctc(tree, size, dictionary.bos(), pause)
    else:
        graph = topologies.asg(tree, size, pause)
    words = list(map(str, tree.words))
    return DecoderFiles(words, graph, None if lm_path is None else language_model(lm_path, words))


def language_model(path: Path, words: list[str]) -> LanguageModelFile:
    """A file of either kind, told apart by its first bytes.

    Args:
        words: the lexicon's, in the order of their numbers.

    Raises:
        FormatError: the file has a fault, or lacks words and `<unk>`.
    """
    with path.open("rb") as file:
        head = file.read(4)
    try:
        return _recurrent(path, words) if is_recurrent(head) else _ngrams(path, words)
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(str(error)) from error


def _ngrams(path: Path, words: list[str]) -> LanguageModelFile:
    arpa = read_arpa(read_lines(path), str(path))
    NgramLanguageModel(arpa, words)  # histories, back-off weights and words are looked at here
    contents = zlib.crc32("\n".join(arpa.vocabulary).encode())
    for section in arpa.sections:
        contents = zlib.crc32(section.words.numpy().tobytes(), contents)
    return LanguageModelFile(
        str(path), "n-grams", contents, lambda trainable: NgramLanguageModel(arpa, words, trainable)
    )


def _recurrent(path: Path, words: list[str]) -> LanguageModelFile:
    saved = read_recurrent(path)
    contents = zlib.crc32("\n".join(saved.words).encode())
    return LanguageModelFile(str(path), "words", contents, lambda trainable: saved.model(words))
