"""`benchmark.py decode`: decoding, against fairseq's own beam search of the same width. Not a program of its own.

Same model, same batch, the encoder included. Every hypothesis has exactly T tokens, so that all decoders take the same
number of steps; where the size says `open end`, hypotheses end where the model ends them, at 2 T at the latest.
"""

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace

import torch
from benchmark_measures import Cost, median_ratio, times_of
from benchmark_problems import Problem, lstm, sharpen, tagger
from fairseq.sequence_generator import SequenceGenerator

from seqsearch_fairseq.generation.soft_beam_generator import SoftBeamGenerator
from seqsearch_fairseq.models.tagger import TaggerModel
from seqsearch_fairseq.tasks.search_tagging import OneLabelAWord

BEAM, ALPHAS = 5, (1.0, 10.0, 100.0)
FAIRSEQS = "fairseq's beam search"
OPEN_END = "open end"
SIZES: dict[str, Callable[[str], Problem]] = {
    "tagger, V 508, B 32, T 20": lambda device: tagger(508, 256, 64, 32, 20, device),
    "lstm, V 4000, B 32, T 20": lambda device: lstm(4000, 256, 32, 20, device),
    "lstm, V 4000, B 1, T 20": lambda device: lstm(4000, 256, 1, 20, device),
    "lstm, V 32000, B 16, T 12": lambda device: lstm(32000, 256, 16, 12, device),
    f"lstm, V 4000, B 32, T 20, {OPEN_END}": lambda device: lstm(4000, 256, 32, 20, device),
}


def sizes() -> list[str]:
    return list(SIZES)


def measure(size: str, runs: int, seed: int, sharpness: float, device: str) -> Iterator[Cost]:
    """The rows of one of `sizes()`."""
    torch.manual_seed(seed)
    given = SIZES[size](device)
    given.model.eval()
    sharpen(given, sharpness)
    open_end = size.endswith(OPEN_END)
    if open_end:
        end_now_and_then(given)
    sample = {"net_input": {"src_tokens": given.source, "src_lengths": given.lengths}}
    decoders = {FAIRSEQS: fairseqs(given, BEAM, open_end), "greedy": fairseqs(given, 1, open_end)}
    for alpha in ALPHAS:
        decoders[f"soft-beam, K {BEAM}, alpha {alpha:g}"] = soft_beam(given, alpha, open_end)
    calls = {label: partial(decoder.generate, [given.model], sample) for label, decoder in decoders.items()}
    for call in calls.values():
        call()  # warms up
    times = times_of(calls, runs, device)
    for label in list(calls)[1:]:
        yield Cost(size, label, FAIRSEQS, median_ratio(times[label], times[FAIRSEQS]), None)


def end_now_and_then(given: Problem) -> None:
    """Let the end of sentence be as probable, on average, as the token of rank K in a step."""
    decoder = given.model.decoder
    with torch.no_grad():
        logits = decoder(given.previous, encoder_out=given.encode(), src_lengths=given.lengths)[0]
        eos = decoder.dictionary.eos()
        decoder.fc_out.bias[eos] += (logits.topk(BEAM, dim=2).values[:, :, -1] - logits[:, :, eos]).mean()


def fairseqs(given: Problem, beam_size: int, open_end: bool) -> SequenceGenerator:
    """As `--decoder beam` and `--decoder greedy` have it."""
    length, dictionary = given.gold.size(1), given.model.decoder.dictionary
    if not isinstance(given.model, TaggerModel):
        options = {"max_len_b": 2 * length, "min_len": 1} if open_end else {"max_len_b": length, "min_len": length}
        return SequenceGenerator([given.model], dictionary, beam_size=beam_size, **options)
    one_label_a_word = OneLabelAWord(dictionary, given.candidates)
    options = {"max_len_a": 1, "max_len_b": 0, "min_len": 0, "search_strategy": one_label_a_word}
    generator = SequenceGenerator([given.model], dictionary, beam_size=beam_size, **options)
    generator.should_set_src_lengths = True
    return generator


def soft_beam(given: Problem, alpha: float, open_end: bool) -> SoftBeamGenerator:
    length, is_tagger = given.gold.size(1), isinstance(given.model, TaggerModel)
    task = SimpleNamespace(
        target_dictionary=given.model.decoder.dictionary,
        search_candidates=lambda: given.candidates,
        decode_scores=given.scores,
        one_label_a_word=is_tagger,
    )
    shortest, longest = (1, 2 * length) if open_end else (length, length)
    return SoftBeamGenerator(given.model, task, BEAM, alpha, max_len_b=longest, min_len=shortest)
