"""`benchmark.py dbd`: the differentiable beam search decoder against CTC, and decoding. Not a program of its own.

The sizes are those of AN4: 78 inputs, a BiLSTM of 2 layers and 128 units each way, 100 frames, 16 utterances, letters,
a bigram; lexicons and bigrams are random. An update is forward and backward of model and loss. Emissions are the
model's own at random initialisation, which are flat, or the same on top of peaks such as those of a trained model.
Decoding, by maximum and from peaked emissions, is measured by the utterance against flashlight-text where it is
installed, and else in a batch against one by one; it has no bytes.
"""

import random
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from benchmark_measures import Cost, bytes_kept, forward_and_backward, median_ratio, times_of
from torch import Tensor, nn
from torch.nn.functional import ctc_loss, one_hot

from seqsearch_fairseq.algorithms.beam_decoder.arpa import read_arpa
from seqsearch_fairseq.algorithms.beam_decoder.decoding import decode
from seqsearch_fairseq.algorithms.beam_decoder.lexicon import Lexicon
from seqsearch_fairseq.algorithms.beam_decoder.ngrams import NgramLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.objective import beam_decoder_objective
from seqsearch_fairseq.algorithms.beam_decoder.scoring import Weights
from seqsearch_fairseq.algorithms.beam_decoder.search import Settings
from seqsearch_fairseq.algorithms.beam_decoder.topologies import Graph, ctc

BLANK, SILENCE, UNITS = 0, 1, 29  # the rest: 26 letters and the apostrophe
INPUTS, FRAMES, BATCH, WORDS = 78, 100, 16, 6
PEAK = 8.0  # of a trained model's scores: the unit that is heard above the others
SMALL, LARGE = "100 words", "20000 words"
FOLLOWERS = {SMALL: 10, LARGE: 5}  # bigrams of each word
BEAMS = {SMALL: (50, 250), LARGE: (50,)}
DECODING = "decoding, "


class Problem(NamedTuple):
    model: nn.Module
    frames: Tensor  # (B, T, 78)
    peaks: Tensor  # (B, T, U)
    words: Tensor  # (B, M)
    units: Tensor  # (B, L) the transcriptions' units
    unit_counts: Tensor  # (B,)
    graph: Graph
    language_model: NgramLanguageModel
    pairs: list[tuple[str, list[int]]]
    arpa: str


class Recognizer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(INPUTS, 128, 2, batch_first=True, bidirectional=True)
        self.output = nn.Linear(256, UNITS)

    def forward(self, frames: Tensor, peaks: Tensor) -> Tensor:
        return (self.output(self.lstm(frames)[0]) + peaks).log_softmax(2)


def sizes() -> list[str]:
    return [SMALL, LARGE, DECODING + SMALL, DECODING + LARGE]


def measure(size: str, runs: int, seed: int) -> Iterator[Cost]:
    """The rows of one of `sizes()`."""
    torch.manual_seed(seed)
    lexicon_size = size.removeprefix(DECODING)
    given = problem(lexicon_size, 32 if size.startswith(DECODING) else BATCH, random.Random(seed))
    yield from (decoding if size.startswith(DECODING) else updates)(size, given, runs)


def problem(size: str, batch: int, draw: random.Random) -> Problem:
    count = int(size.split()[0])
    spellings: set[tuple[int, ...]] = set()
    while len(spellings) < count:
        spellings.add((*(draw.randrange(2, UNITS) for _ in range(draw.randrange(2, 10))), SILENCE))
    pairs = [(f"w{number}", list(units)) for number, units in enumerate(sorted(spellings))]
    lexicon = Lexicon.build(pairs)
    arpa = bigram([word for word, _ in pairs], FOLLOWERS[size], draw)
    said = [draw.choices(range(count), k=WORDS) for _ in range(batch)]
    heard = [[unit for word in words for unit in pairs[word][1]][: FRAMES // 2] for words in said]
    return Problem(
        Recognizer(),
        torch.randn(batch, FRAMES, INPUTS),
        PEAK * one_hot(torch.tensor([alignment(units, draw) for units in heard]), UNITS),
        torch.tensor(said),
        torch.tensor([units + [SILENCE] * (FRAMES // 2 - len(units)) for units in heard]),
        torch.tensor([len(units) for units in heard]),
        ctc(lexicon, UNITS, BLANK, SILENCE),
        NgramLanguageModel(read_arpa(arpa.splitlines(), "bigram"), [str(word) for word in lexicon.words]),
        pairs,
        arpa,
    )


def alignment(units: list[int], draw: random.Random) -> list[int]:
    """A unit for each frame: each unit of the transcription once, blanks elsewhere."""
    frames = [BLANK] * FRAMES
    for place, unit in zip(sorted(draw.sample(range(0, FRAMES, 2), len(units))), units, strict=True):
        frames[place] = unit
    return frames


def bigram(words: list[str], followers: int, draw: random.Random) -> str:
    """An ARPA file with some bigrams of each word. Its probabilities do not sum to one, which no cost depends on."""
    first = [
        "-99\t<unk>",
        "-99\t<s>\t-0.5",
        "-2.0\t</s>",
        *(f"{-draw.uniform(1, 4):.4f}\t{word}\t-0.5" for word in words),
    ]
    second = [
        f"{-draw.uniform(0.1, 2):.4f}\t{word} {after}"
        for word in ("<s>", *words)
        for after in sorted({*draw.choices(words, k=followers), "</s>"})
    ]
    counts = [f"ngram 1={len(first)}", f"ngram 2={len(second)}"]
    return "\n".join(["\\data\\", *counts, "", "\\1-grams:", *first, "", "\\2-grams:", *second, "", "\\end\\", ""])


# ------------------------------------------------------------------------------------------------------------- updates


def by_ctc(given: Problem, peaks: Tensor) -> Tensor:
    emissions = given.model(given.frames, peaks).transpose(0, 1)
    lengths = torch.full_like(given.unit_counts, FRAMES)
    return ctc_loss(emissions, given.units, lengths, given.unit_counts, reduction="sum")


def by_beam(given: Problem, peaks: Tensor, beam_size: int) -> Tensor:
    emissions = given.model(given.frames, peaks)
    lengths = torch.full_like(given.unit_counts, FRAMES)
    weights = Weights(*(torch.tensor(value, requires_grad=True) for value in (1.0, 0.0, 0.0)))
    return beam_decoder_objective(
        emissions, lengths, given.words, given.graph, given.language_model, weights, beam_size
    ).losses.sum()


def updates(size: str, given: Problem, runs: int) -> Iterator[Cost]:
    for name, peaks in (("peaked", given.peaks), ("flat", torch.zeros_like(given.peaks))):
        baseline = partial(by_ctc, given, peaks)
        variants = {f"K {k}, {name}": partial(by_beam, given, peaks, k) for k in BEAMS[size]}
        every = {"": baseline} | variants
        kept = {label: bytes_kept(update, given.model) for label, update in every.items()}
        calls = {label: forward_and_backward(update, given.model) for label, update in every.items()}
        times = times_of(calls, runs)
        for label in variants:
            yield Cost(size, label, "ctc", median_ratio(times[label], times[""]), kept[label] / kept[""])


# ------------------------------------------------------------------------------------------------------------ decoding


def decoding(size: str, given: Problem, runs: int) -> Iterator[Cost]:
    with torch.no_grad():
        emissions = given.model(given.frames, given.peaks)
    settings = Settings(50, merge="max")

    def by_batches(batch: int) -> None:
        for part in emissions.split(batch):
            lengths = torch.full((len(part),), FRAMES)
            decode(part, lengths, given.graph, given.language_model, Weights(), settings)

    ours = {f"K 50, batch {batch}": partial(by_batches, batch) for batch in (1, 32)}
    with tempfile.TemporaryDirectory() as folder:
        theirs = flashlight(given, emissions, Path(folder) / "bigram.arpa")
    against = "one by one" if theirs is None else "flashlight-text"
    times = times_of({"": theirs or ours["K 50, batch 1"]} | ours, runs)
    for label in ours:
        yield Cost(size, label, against, median_ratio(times[label], times[""]), None)


def flashlight(given: Problem, emissions: Tensor, file: Path) -> Callable[[], None] | None:
    """The same utterances by flashlight's `LexiconDecoder`, with the greatest word score as its trie's look-ahead."""
    try:
        from flashlight.lib.text import decoder as text
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary
    except ImportError:
        return None
    file.write_text(given.arpa)
    words = Dictionary([*(word for word, _ in given.pairs), "<unk>"])
    language_model = KenLM(str(file), words)
    trie, start = text.Trie(UNITS, SILENCE), language_model.start(False)
    for number, (_, units) in enumerate(given.pairs):
        trie.insert(units, number, language_model.score(start, number)[1])
    trie.smear(text.SmearingMode.MAX)
    options = text.LexiconDecoderOptions(
        beam_size=50,
        beam_size_token=UNITS,
        beam_threshold=1e9,
        lm_weight=1.0,
        word_score=0.0,
        unk_score=-float("inf"),
        sil_score=0.0,
        log_add=False,
        criterion_type=text.CriterionType.CTC,
    )
    decoder = text.LexiconDecoder(options, trie, language_model, SILENCE, BLANK, len(given.pairs), [], False)
    rows = [row.contiguous() for row in emissions]

    def call() -> None:
        for row in rows:
            decoder.decode(row.data_ptr(), *row.shape)

    return call
