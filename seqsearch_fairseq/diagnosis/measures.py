"""What cross-entropy training leaves undone, measured with a checkpoint on a validation set.

    exposure bias   bits a token of the gold after the model's own greedy output, minus its bits after gold inputs;
                    the model was trained on gold inputs only
    beam gain       quality of beam search of width K, minus that of greedy search
    label bias      quality of beam search that adds up logits, minus that of beam search that adds up log-probs:
                    the probabilities of a step sum to one whatever was chosen before, so a later step cannot make up
                    for an early mistake, and logits can
    oracle gain     quality of the best of the K hypotheses of each sentence, minus that of the first one
    search errors   share of sentences whose gold sequence scores above everything that beam search found

In translation the two sequences of the exposure bias may be shifted against each other, so that it is large for any
model: compare it between models of one task only.
"""

import math
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.adapters import FairseqStep, encode
from seqsearch_fairseq.algorithms.scheduled_sampling import scheduled_sampling
from seqsearch_fairseq.diagnosis.decoding import gold_scores, k_best, text_of
from seqsearch_fairseq.diagnosis.quality import quality_of
from seqsearch_fairseq.generation.scored_ensemble import LOG_PROBS, LOGITS

SAME_SCORE = 1e-4  # scores that differ by less are equal


class Diagnosis(NamedTuple):
    """Qualities are in per cent, as are the gains; bits are per token of the gold."""

    sentences: int
    tokens: int
    quality: str  # its name
    beam: int  # K
    gold_bits: float
    free_running_bits: float
    greedy: float
    beam_log_probs: float
    beam_logits: float
    oracle: float  # of the K hypotheses under log-probabilities
    search_errors: float  # per cent of the sentences, under log-probabilities

    @property
    def exposure_bias(self) -> float:
        return self.free_running_bits - self.gold_bits

    @property
    def beam_gain(self) -> float:
        return self.beam_log_probs - self.greedy

    @property
    def label_bias(self) -> float:
        return self.beam_logits - self.beam_log_probs

    @property
    def oracle_gain(self) -> float:
        return self.oracle - self.beam_log_probs


class _Batch(NamedTuple):
    """What one batch says; lists hold an entry for each sentence."""

    gold: list[str]
    greedy: list[str]
    log_probs: list[list[str]]  # best first
    logits: list[str]
    search_errors: int
    gold_nats: float
    free_running_nats: float
    tokens: int


@torch.no_grad()
def diagnose(task, model, batches: Iterable[dict], beam_size: int) -> Diagnosis:
    """Measure a model on batches of its task.

    Args:
        task: one of our tasks.
        model: in evaluation mode.
        batches: of a validation set, on the model's device.
        beam_size: K, at least 1.

    Raises:
        ValueError: there is no batch.
    """
    quality = quality_of(task)
    found = [_look_at(task, model, sample, beam_size) for sample in batches]
    if not found:
        raise ValueError("`batches` must hold at least one batch")
    gold, greedy, log_probs, logits = (
        list(chain.from_iterable(column)) for column in list(zip(*found, strict=True))[:4]
    )
    oracle = [
        max(hypotheses, key=lambda text: quality.of_sentence(text, right))
        for hypotheses, right in zip(log_probs, gold, strict=True)
    ]
    tokens = sum(batch.tokens for batch in found)
    return Diagnosis(
        sentences=len(gold),
        tokens=tokens,
        quality=quality.name,
        beam=beam_size,
        gold_bits=sum(batch.gold_nats for batch in found) / tokens / math.log(2),
        free_running_bits=sum(batch.free_running_nats for batch in found) / tokens / math.log(2),
        greedy=quality.of_corpus(greedy, gold),
        beam_log_probs=quality.of_corpus([hypotheses[0] for hypotheses in log_probs], gold),
        beam_logits=quality.of_corpus(logits, gold),
        oracle=quality.of_corpus(oracle, gold),
        search_errors=100.0 * sum(batch.search_errors for batch in found) / len(gold),
    )


def _look_at(task, model, sample: dict, beam_size: int) -> _Batch:
    gold, net_input = sample["target"], sample["net_input"]
    encoder_out, lengths = encode(model, net_input), task.search_lengths(sample)
    step = FairseqStep(model, encoder_out, len(gold), LOGITS)
    candidates = task.search_candidates().to(gold.device)
    free_running = scheduled_sampling(step, gold, lengths, "argmax", 1.0, 0.0, candidates).nll
    gold_logits = _teacher_forced(model, encoder_out, net_input)

    greedy, log_probs, logits = (
        k_best(task, model, encoder_out, sample, width, scores)
        for width, scores in ((1, LOG_PROBS), (beam_size, LOG_PROBS), (beam_size, LOGITS))
    )
    of_gold = gold_scores(task, gold_logits, gold, LOG_PROBS)
    errors = [
        score > hypotheses[0].score + SAME_SCORE * max(1.0, abs(score))
        for score, hypotheses in zip(of_gold, log_probs, strict=True)
    ]
    nats = _gold_nats(gold_logits, gold, task.target_dictionary.pad())
    return _Batch(
        gold=[text_of(task, row) for row in gold.tolist()],
        greedy=[text_of(task, hypotheses[0].tokens) for hypotheses in greedy],
        log_probs=[[text_of(task, hypothesis.tokens) for hypothesis in hypotheses] for hypotheses in log_probs],
        logits=[text_of(task, hypotheses[0].tokens) for hypotheses in logits],
        search_errors=sum(errors),
        gold_nats=nats,
        free_running_nats=float(free_running.sum()),
        tokens=int(lengths.sum()),
    )


def _teacher_forced(model, encoder_out, net_input: dict) -> Tensor:
    """(B, T, V) logits after gold inputs, float32 or wider."""
    logits = model.decoder(
        net_input["prev_output_tokens"], encoder_out=encoder_out, src_lengths=net_input["src_lengths"]
    )[0]
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _gold_nats(gold_logits: Tensor, gold: Tensor, padding: int) -> float:
    """Negative log-likelihood of all gold tokens together."""
    nll = torch.nn.functional.cross_entropy(
        gold_logits.flatten(0, 1), gold.flatten(), ignore_index=padding, reduction="sum"
    )
    return float(nll)
