"""`searnn`: Leblond, Alayrac, Osokin, Lacoste-Julien 2017 and 2018."""

import math
import time
from dataclasses import dataclass, field

import torch
from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from torch import Tensor

from seqsearch_fairseq.algorithms.searnn.algorithm import PRECISIONS, ROLL_INS, ROLL_OUTS, Settings, searnn
from seqsearch_fairseq.algorithms.searnn.losses import FULL_SOFTMAX, LOSSES
from seqsearch_fairseq.algorithms.searnn.policies import best_suffix_policy, copy_policy, max_f1_policy
from seqsearch_fairseq.algorithms.searnn.roll_in import Space, greedy_tokens
from seqsearch_fairseq.algorithms.searnn.subsampling import SAMPLERS
from seqsearch_fairseq.algorithms.sequence_costs import COSTS_OF_MATCHES, FILL, SEQUENCE_COSTS
from seqsearch_fairseq.criterions.cost_flags import CHUNK_F1, COST_NAMES, chunk_labels
from seqsearch_fairseq.criterions.search_criterion import (
    PER_BATCH,
    PER_SENTENCE,
    Objective,
    SearchBatch,
    SearchCriterion,
    SearchCriterionConfig,
)
from seqsearch_fairseq.errors import UsageError

ALL = "all"
COPY, BEST_SUFFIX, BEST_BY_BLEU_1, MAX_F1 = "copy", "best-suffix", "best-suffix-bleu-1", "max-f1"
PER_CELL = "cell"


@dataclass
class SearnnConfig(SearchCriterionConfig):
    searnn_roll_in: ChoiceEnum(list(ROLL_INS)) = field(
        default="learned",
        metadata={
            "help": "the sequence whose positions are the cells: the gold (reference), the model's greedy output "
            "(learned), or either one, drawn for each sentence (mixed) or each cell (mixed-cells)"
        },
    )
    searnn_roll_out: ChoiceEnum(list(ROLL_OUTS)) = field(
        default="mixed",
        metadata={
            "help": "which policy finishes a sequence after the tried token: the reference, the model's greedy "
            "search (learned), either one, drawn for each sentence and update (mixed), or the model for "
            "--searnn-focus steps and then the reference (focused)"
        },
    )
    searnn_reference_prob: float = field(
        default=0.5, metadata={"help": "probability of the reference in a mixed roll-in or roll-out"}
    )
    searnn_focus: int = field(
        default=1, metadata={"help": "with focused roll-outs: number of steps that the model takes, in the first epoch"}
    )
    searnn_focus_growth: int = field(
        default=1, metadata={"help": "with focused roll-outs: how many steps are added after each epoch"}
    )
    searnn_reference_policy: ChoiceEnum([COPY, BEST_SUFFIX, BEST_BY_BLEU_1, MAX_F1]) = field(
        default=COPY,
        metadata={
            "help": "how the reference finishes a sequence: with the gold from that position on (copy), with the "
            "suffix of the gold that costs least (best-suffix) or has the best BLEU-1 "
            "(best-suffix-bleu-1, as the authors do for translation), or by finishing right chunks and "
            "ending wrong ones (max-f1; tagging with cost chunk-f1)"
        },
    )
    searnn_cost: ChoiceEnum(COST_NAMES) = field(
        default="hamming",
        metadata={
            "help": "cost of a finished sequence against the gold one: positions that differ (hamming; "
            "normalised-hamming divides by the gold length), Levenshtein distance by gold length (edit), "
            "1 - smoothed sentence BLEU (bleu; bleu-1 of unigrams), 1 - GLEU (gleu), or 1 - F1 of BIO "
            "labels (chunk-f1)"
        },
    )
    searnn_cost_scale: float = field(
        default=1.0,
        metadata={
            "help": "factor of the costs in every loss but ll. The target of kl is softmax(-scale * cost): with "
            "costs of at most 1 and scale 1 it is nearly uniform. An edit or a wrong label should weigh "
            "about 10; for BLEU the authors take 200"
        },
    )
    searnn_loss: ChoiceEnum(list(LOSSES)) = field(
        default="ll",
        metadata={
            "help": "function of a cell's scores and costs; ties between tokens of least cost are broken at "
            "random in ll, llcas and shl"
        },
    )
    searnn_sampled_softmax: bool = field(
        default=False,
        metadata={
            "help": "where only some tokens are tried: normalise the scores over these (sLL, sLLCAS, sKL). "
            "Otherwise ll and kl normalise over the whole vocabulary, and llcas and inverse-kl are "
            "refused; shl and l2 do not normalise"
        },
    )
    searnn_sampling: str = field(
        default=ALL,
        metadata={
            "help": f"which tokens are tried: {ALL}, one sampler ({', '.join(SAMPLERS)}), or several with a count "
            "each, as in 'top-k=15,policy=5'; the gold token is always tried, and in translation the end "
            "of sentence"
        },
    )
    searnn_tokens: int = field(
        default=5, metadata={"help": "with --searnn-sampling: number of tokens that a sampler without a count chooses"}
    )
    searnn_neighbors: int = field(
        default=0, metadata={"help": "number of gold tokens of the positions around the cell that are tried too"}
    )
    searnn_cells: int = field(
        default=0,
        metadata={
            "help": "number of cells of a sentence, drawn at random; in translation the last two are added. 0 is all"
        },
    )
    searnn_sum_cells: bool = field(
        default=False,
        metadata={
            "help": "add up the cells' losses. Otherwise a sentence's loss is their mean times the gold length, "
            "which is as large as cross entropy"
        },
    )
    searnn_extra_length: int = field(
        default=2,
        metadata={"help": "in translation: how many tokens a roll-in or roll-out may have beyond the gold's length"},
    )
    searnn_roll_out_batch: int = field(
        default=8192,
        metadata={"help": "number of roll-outs that the decoder runs at once; lower it if memory runs out"},
    )
    searnn_roll_out_precision: ChoiceEnum(list(PRECISIONS)) = field(
        default="model",
        metadata={
            "help": "type that roll-outs multiply in: the model's own (model), or bfloat16, which is faster on "
            "processors and GPUs with instructions for it (and slower on others), and changes which token some "
            "roll-outs choose. A model trained with --fp16, --bf16 or --amp keeps its own"
        },
    )


@register_criterion("searnn", dataclass=SearnnConfig)
class SearnnCriterion(SearchCriterion):
    """Learning to search: tokens are compared by what the sequences cost that they lead to.

    In validation the loss is the cross entropy of the gold in nats, and `greedy_cost` is what the model's greedy output
    costs a sentence (cut where it is twice as long as the gold and ten tokens more), which is what SEARNN lowers.
    """

    local_scores = "logits"

    def __init__(self, cfg: SearnnConfig, task):
        super().__init__(cfg, task)
        self.open_ended = not task.one_label_a_word
        self.mixture = parse_sampling(cfg)
        self.register_buffer("tried", task.occurring_candidates(), persistent=False)
        _check_flags(cfg, self.mixture, self.open_ended, int(self.tried.sum()))
        self.eos = task.target_dictionary.eos() if self.open_ended else None
        self.cost, self.reference = _cost_and_reference(cfg, task)
        counts = torch.tensor(task.target_dictionary.count)  # integers, which --fp16 leaves alone
        self.register_buffer("frequencies", counts, persistent=False)
        self._last_update: tuple[float, float] | None = None  # when it began, and its seconds in roll-outs

    @property
    def needs_teacher_forcing(self) -> bool:  # type: ignore[override]  # other criterions always need it or never do
        return not self.training

    @property
    def focus(self) -> int:
        """This epoch's steps of the model in a focused roll-out; the epoch is the one that fairseq restores."""
        return self.cfg.searnn_focus + self.cfg.searnn_focus_growth * (self.task.epoch - 1)

    def objective(self, batch: SearchBatch) -> Objective:
        gold = batch.gold.masked_fill(batch.gold.eq(self.padding_idx), FILL)
        if self.eos is not None:
            gold = gold.masked_fill(gold.eq(self.eos), FILL)
        limits = batch.lengths
        if self.open_ended:
            limits = limits + self.cfg.searnn_extra_length if self.training else 2 * limits + 10
            limits = limits.clamp(max=batch.step.decoder.max_positions())
        space = Space(batch.candidates, self.eos, limits, self.tried)
        if self.training:
            return self._train(batch, gold, space)
        self._last_update = None
        assert batch.gold_nll is not None  # as `needs_teacher_forcing` asks
        return Objective(batch.gold_nll, batch.gold_nll, {"greedy_cost": self._greedy_cost(batch, gold, space)}, {})

    def _train(self, batch: SearchBatch, gold: Tensor, space: Space) -> Objective:
        begin = time.perf_counter()
        settings = Settings(
            roll_in=str(self.cfg.searnn_roll_in),
            roll_out=str(self.cfg.searnn_roll_out),
            reference_probability=self.cfg.searnn_reference_prob,
            focus=self.focus,
            loss=str(self.cfg.searnn_loss),
            scale=self.cfg.searnn_cost_scale,
            sampled_softmax=self.cfg.searnn_sampled_softmax,
            cells=self.cfg.searnn_cells or None,
            mixture=self.mixture,
            roll_out_batch=self.cfg.searnn_roll_out_batch,
            roll_out_precision=str(self.cfg.searnn_roll_out_precision),
            per_cell=not self.cfg.searnn_sum_cells,
        )
        try:
            found = searnn(
                batch.step, gold, batch.lengths, space, self.cost, self.reference, settings, self.frequencies
            )
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise UsageError(
                    f"roll-outs ran out of memory; lower --searnn-roll-out-batch (it is {settings.roll_out_batch}), or "
                    f"--max-tokens, or try fewer tokens and cells (--searnn-sampling, --searnn-cells): {error}"
                ) from error
            raise
        logs = {
            "roll_outs": (found.best_costs.new_tensor(found.rolled_out), PER_BATCH),
            "decoder_steps": (found.best_costs.new_tensor(found.decoder_steps), PER_BATCH),
            "best_cost": (found.best_costs.sum(), PER_CELL),
            "gold_not_best": ((~found.best_is_gold).float().sum(), PER_CELL),
        }
        if self._last_update is not None:
            share = self._last_update[1] / (begin - self._last_update[0])
            logs["roll_out_time_share"] = found.best_costs.new_tensor(share * len(gold)), PER_SENTENCE
        self._last_update = begin, found.seconds
        settings_of_epoch = {"focus": float(self.focus)} if settings.roll_out == "focused" else {}
        return Objective(found.losses, batch.gold_nll, logs, settings_of_epoch, units={PER_CELL: len(found.best_costs)})

    @torch.no_grad()
    def _greedy_cost(self, batch: SearchBatch, gold: Tensor, space: Space) -> tuple[Tensor, str]:
        found = greedy_tokens(batch.step, space)
        if self.eos is not None:
            found = found.masked_fill(found == self.eos, FILL)
        return self.cost(found, gold).sum(), PER_SENTENCE


def parse_sampling(cfg: SearnnConfig) -> dict[str, int]:
    """Sampler -> count, from `--searnn-sampling`, `--searnn-tokens` and `--searnn-neighbors`; empty for all tokens.

    Raises:
        UsageError: an unknown sampler, one that is named twice, or a count that is no number.
    """
    mixture: dict[str, int] = {}
    text = cfg.searnn_sampling.strip()
    for item in [] if text == ALL else text.split(","):
        name, equals, count = (part.strip() for part in item.partition("="))
        if name not in SAMPLERS:
            raise UsageError(f"--searnn-sampling must be {ALL} or name {', '.join(SAMPLERS)}, got {name!r}")
        if name in mixture:
            raise UsageError(f"--searnn-sampling names {name} twice: {text!r}")
        if equals and not count.isdecimal():
            raise UsageError(f"--searnn-sampling: the count of {name} must be a whole number, got {count!r}")
        mixture[name] = int(count) if equals else cfg.searnn_tokens
    if cfg.searnn_neighbors != 0:
        if text == ALL or "neighbors" in mixture:
            raise UsageError("--searnn-neighbors adds to samplers that --searnn-sampling names, once")
        mixture["neighbors"] = cfg.searnn_neighbors
    return mixture


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch or Python could not get memory."""
    text = str(error).lower()
    kinds = (torch.OutOfMemoryError, MemoryError)
    return isinstance(error, kinds) or "out of memory" in text or "can't allocate memory" in text


def _check_flags(cfg: SearnnConfig, mixture: dict[str, int], open_ended: bool, candidates: int) -> None:
    at_least = {"focus": 0, "focus_growth": 0, "neighbors": 0, "cells": 0, "extra_length": 0, "roll_out_batch": 1}
    for name, least in at_least.items():
        value = getattr(cfg, f"searnn_{name}")
        if value < least:
            raise UsageError(f"--searnn-{name.replace('_', '-')} must be at least {least}, got {value}")
    for name, count in mixture.items():
        if not 1 <= count <= candidates:
            raise UsageError(
                f"--searnn-sampling: {name} must choose 1 to {candidates} tokens, which is all there are, got {count}"
            )
    if not 0 <= cfg.searnn_reference_prob <= 1:
        raise UsageError(f"--searnn-reference-prob must be in [0, 1], got {cfg.searnn_reference_prob}")
    if not 0 < cfg.searnn_cost_scale < math.inf:
        raise UsageError(f"--searnn-cost-scale must be a positive number, got {cfg.searnn_cost_scale}")
    cost, policy, loss = (str(getattr(cfg, f"searnn_{name}")) for name in ("cost", "reference_policy", "loss"))
    if mixture and loss in ("llcas", "inverse-kl") and not cfg.searnn_sampled_softmax:
        raise UsageError(
            f"--searnn-loss {loss} of some of the tokens needs --searnn-sampled-softmax: a token that was not tried "
            f"has no cost. Over the whole vocabulary {' and '.join(FULL_SOFTMAX)} can normalise"
        )
    if policy in (BEST_SUFFIX, BEST_BY_BLEU_1) and not open_ended:
        raise UsageError(
            f"--searnn-reference-policy {policy} is for search_translation: a tagger's output has one length"
        )
    if policy == BEST_BY_BLEU_1 and cost not in COSTS_OF_MATCHES:
        raise UsageError(
            f"--searnn-reference-policy {policy} goes with --searnn-cost {', '.join(COSTS_OF_MATCHES)}, got {cost}"
        )
    if policy == MAX_F1 and cost != CHUNK_F1:
        raise UsageError(f"--searnn-reference-policy max-f1 goes with --searnn-cost chunk-f1, got {cost}")


def _cost_and_reference(cfg: SearnnConfig, task):
    name, policy = str(cfg.searnn_cost), str(cfg.searnn_reference_policy)
    if name != CHUNK_F1:
        cost = SEQUENCE_COSTS[name]
        policies = {
            COPY: lambda: copy_policy(cost),
            BEST_SUFFIX: lambda: best_suffix_policy(name),
            BEST_BY_BLEU_1: lambda: best_suffix_policy(name, "bleu-1"),
        }
        return cost, policies[policy]()
    labels = chunk_labels("--searnn-cost", task)
    return labels.one_minus_f1, (max_f1_policy(labels) if policy == MAX_F1 else copy_policy(labels.one_minus_f1))
