"""The K best hypotheses of a batch under either local score, through the decoder that the task decodes with."""

from argparse import Namespace
from typing import NamedTuple

from torch import Tensor

from seqsearch_fairseq.adapters import LOCAL_SCORES, FairseqStep
from seqsearch_fairseq.algorithms.hard_beam import hard_beam

MAX_LEN_A, MAX_LEN_B = 1.5, 10  # a translation has at most 1.5 times the source's tokens, and ten more


class Ranked(NamedTuple):
    tokens: list[int]
    score: float


def k_best(task, model, encoder_out, sample: dict, beam_size: int, scores: str) -> list[list[Ranked]]:
    """The hypotheses of each sentence, best first. In translation a score is divided by its length, as in fairseq."""
    search = _labels if task.one_label_a_word else _translations
    return search(task, model, encoder_out, sample, beam_size, scores)


def gold_scores(task, gold_logits: Tensor, gold: Tensor, scores: str) -> list[float]:
    """The score of each gold sequence, on the scale of `k_best`. Logits are (B, T, V), teacher-forced."""
    local = LOCAL_SCORES[scores](gold_logits).gather(2, gold.unsqueeze(2)).squeeze(2)  # (B, T)
    inside = gold.ne(task.target_dictionary.pad())
    total = (local * inside).sum(dim=1)
    return (total if task.one_label_a_word else total / inside.sum(dim=1)).tolist()


def _labels(task, model, encoder_out, sample, beam_size, scores):
    step = FairseqStep(model, encoder_out, len(sample["target"]), scores)
    candidates = task.search_candidates().to(sample["target"].device)
    lengths = task.search_lengths(sample)
    found = hard_beam(step, lengths, beam_size, candidates)
    rows = zip(found.tokens.tolist(), found.scores.tolist(), found.live.tolist(), lengths.tolist(), strict=True)
    return [
        [Ranked(t[:length], s) for t, s, is_live in zip(tokens, total, live, strict=True) if is_live]
        for tokens, total, live, length in rows
    ]


def _translations(task, model, encoder_out, sample, beam_size, scores):
    options = Namespace(beam=beam_size, nbest=beam_size, max_len_a=MAX_LEN_A, max_len_b=MAX_LEN_B)
    with task.decoding_with(scores):
        generator = task.build_generator([model], options)
        generator.model.encoder_outs = [encoder_out]  # the encoder is run once for all decoders
        found = task.inference_step(generator, [model], sample)
    return [[Ranked(h["tokens"].tolist(), float(h["score"])) for h in hypotheses] for hypotheses in found]


def text_of(task, tokens: list[int]) -> str:
    """Tokens without padding and end of sentence, with spaces between them."""
    symbols, left_out = task.target_dictionary.symbols, {task.target_dictionary.pad(), task.target_dictionary.eos()}
    return " ".join(symbols[token] for token in tokens if token not in left_out)
