"""Lexicon and ARPA file of `search_recognition` as the beam decoder has them: words and units by their numbers."""

from pathlib import Path

from fairseq.data import Dictionary

from seqsearch_fairseq.algorithms.beam_decoder import lexicon as trees
from seqsearch_fairseq.algorithms.beam_decoder import topologies
from seqsearch_fairseq.algorithms.beam_decoder.arpa import Arpa, read_arpa
from seqsearch_fairseq.algorithms.beam_decoder.ngrams import NgramLanguageModel
from seqsearch_fairseq.beam_decoder import DecoderFiles
from seqsearch_fairseq.data.files import FormatError, read_lines
from seqsearch_fairseq.data.recognition.lexicon import Lexicon
from seqsearch_fairseq.data.recognition.units import with_repetitions


def build(
    lexicon: Lexicon, arpa_path: Path | None, dictionary: Dictionary, silence: str | None, repetitions: int | None
) -> DecoderFiles:
    """The prefix tree in its topology, and the n-gram.

    Args:
        repetitions: in ASG, the largest repetition that has a symbol; None in CTC, whose blank is the dictionary's
            start symbol.

    Raises:
        FormatError: a spelling cannot be written in ASG; the ARPA file has a fault, or lacks words.
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
    return DecoderFiles(words, graph, None if arpa_path is None else _read_arpa(arpa_path, words))


def _read_arpa(path: Path, words: list[str]) -> Arpa:
    try:
        arpa = read_arpa(read_lines(path), str(path))
        NgramLanguageModel(arpa, words)  # histories, back-off weights and words are looked at here
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(str(error)) from error
    return arpa
