"""What every search-aware criterion shares: its checks, the gold's cross entropy, and what is logged."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from fairseq.criterions import FairseqCriterion
from fairseq.dataclass import FairseqDataclass
from fairseq.distributed import LegacyDistributedDataParallel
from fairseq.logging import metrics
from omegaconf import II
from torch import Tensor

from seqsearch_fairseq.adapters import LOCAL_SCORES, FairseqStep, check_decoder, encode, whole_precision
from seqsearch_fairseq.algorithms.costs import TokenCosts
from seqsearch_fairseq.algorithms.hard_beam import hard_beam
from seqsearch_fairseq.errors import UsageError

PER_TOKEN = "token"  # a logged sum that is divided by the number of target tokens
PER_SENTENCE = "sentence"  # ... by the number of sentences
PER_BATCH = "batch"  # ... by the number of batches


@dataclass
class SearchCriterionConfig(FairseqDataclass):
    search_nll_weight: float = field(
        default=0.0,
        metadata={
            "help": "adds this share of the gold sequence's teacher-forced cross entropy to the search objective"
        },
    )
    sentence_avg: bool = II("optimization.sentence_avg")
    ddp_backend: str = II("distributed_training.ddp_backend")
    distributed_world_size: int = II("distributed_training.distributed_world_size")


class SearchBatch(NamedTuple):
    """A batch as an algorithm wants it."""

    step: FairseqStep
    lengths: Tensor  # (B,) output tokens of each gold sequence
    gold: Tensor  # (B, T) gold tokens, padded
    candidates: Tensor  # (V,) bool
    gold_logits: Tensor | None  # (B, T, V) teacher-forced; None where the criterion does without
    gold_nll: Tensor | None  # (B,) negative log-likelihood of the gold sequence under them


class Objective(NamedTuple):
    """What a criterion's algorithm returns."""

    losses: Tensor  # (B,) the search objective of each sentence
    nll: Tensor | None  # (B,) the gold's negative log-likelihood, to log
    logs: dict[str, tuple[Tensor, str]]  # name -> (sum over the batch, PER_... or one of `units`)
    settings: dict[str, float]  # name -> value that this epoch uses, alpha for instance
    units: Mapping[str, int] = {}  # further things that a logged sum can be divided by -> how many there are


class SearchCriterion(FairseqCriterion):
    """Base of the criterions that unroll the decoder themselves. Subclasses define `objective`."""

    local_scores = "log-probs"  # of the step that the objective gets
    trained_scores = (
        "log-probs"  # what a hypothesis is trained to add up: decoding with `--decode-scores auto` does too
    )
    needs_teacher_forcing = True  # whether the batch has `gold_logits`; with --search-nll-weight it always has
    needs_gold_gradient = False  # whether they are part of the objective
    in_bits = False  # whether the objective is a cross entropy, which fairseq logs in bits

    def __init__(self, cfg: SearchCriterionConfig, task):
        super().__init__(task)
        self.cfg = cfg
        if not hasattr(task, "search_candidates"):
            raise UsageError(
                f"the criterion {cfg._name or type(self).__name__} needs --task search_translation or search_tagging, "
                f"got {type(task).__name__}"
            )
        if cfg.distributed_world_size > 1 and cfg.ddp_backend not in ("legacy_ddp", "no_c10d"):
            raise UsageError(
                "search-aware training in several processes needs --ddp-backend legacy_ddp: it unrolls the decoder "
                f"itself, and other back ends would not reduce its gradients; got {cfg.ddp_backend}"
            )
        if not 0 <= cfg.search_nll_weight < math.inf:
            raise UsageError(f"--search-nll-weight must be a number of at least 0, got {cfg.search_nll_weight}")
        self.register_buffer("candidates", task.search_candidates(), persistent=False)

    @classmethod
    def build_criterion(cls, cfg, task):
        return cls(cfg, task)

    def objective(self, batch: SearchBatch) -> Objective:
        """The search objective of a batch."""
        raise NotImplementedError

    def forward(self, model, sample, reduce=True):
        """The loss summed over sentences (each sentence's loss if not `reduce`), the sample size, and what to log."""
        check_distributed(model)
        check_decoder(model.decoder)
        encoder_out = encode(model, sample["net_input"])
        gold_logits, gold_nll = self._teacher_forcing(model, encoder_out, sample)
        gold = sample["target"]
        step = FairseqStep(model, encoder_out, len(gold), self.local_scores)
        batch = SearchBatch(step, self.task.search_lengths(sample), gold, self.candidates, gold_logits, gold_nll)
        with whole_precision(gold.device):
            found = self.objective(batch)
        losses = found.losses
        if gold_nll is not None and self.cfg.search_nll_weight > 0 and (self.training or losses is not gold_nll):
            losses = losses + self.cfg.search_nll_weight * gold_nll  # a validation loss may be cross entropy already
        check_finite(losses, sample["id"])

        sample_size = len(gold) if self.cfg.sentence_avg else sample["ntokens"]
        logging_output = {
            "loss": losses.detach().sum(),
            "objective": found.losses.detach().sum(),
            "ntokens": sample["ntokens"],
            "nsentences": len(gold),
            "sample_size": sample_size,
            "_units_batch": 1,
        }
        if found.nll is not None:
            logging_output["nll_loss"] = found.nll.detach().sum()
        for unit, count in found.units.items():
            logging_output[f"_units_{unit}"] = count
        for name, (total, unit) in found.logs.items():
            logging_output[f"_{unit}_{name}"] = total.detach()
        for name, value in found.settings.items():
            logging_output[f"_setting_{name}"] = value * len(gold)
        return (losses.sum() if reduce else losses), sample_size, logging_output

    def _teacher_forcing(self, model, encoder_out, sample) -> tuple[Tensor | None, Tensor | None]:
        """`gold_logits` and `gold_nll` of a `SearchBatch`, float32 or wider."""
        in_loss = self.cfg.search_nll_weight > 0
        if not (in_loss or self.needs_teacher_forcing):
            return None, None
        with torch.set_grad_enabled((in_loss or self.needs_gold_gradient) and torch.is_grad_enabled()):
            logits = model.decoder(
                sample["net_input"]["prev_output_tokens"],
                encoder_out=encoder_out,
                src_lengths=sample["net_input"]["src_lengths"],
            )[0]
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            log_probs = F.log_softmax(logits, dim=-1).gather(2, sample["target"].unsqueeze(2)).squeeze(2)
            return logits, -(log_probs * sample["target"].ne(self.padding_idx)).sum(dim=1)

    @classmethod
    def reduce_metrics(cls, logging_outputs) -> None:
        """Aggregate over workers."""
        log_metrics(logging_outputs, cls.in_bits)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True


def log_metrics(logging_outputs, in_bits: bool = False) -> None:
    """What the logging outputs of all workers say, per what each is counted in.

    Losses are per `sample_size`: bits, or their own unit; nll_loss is bits per token. `_UNIT_NAME` is a sum, logged as
    NAME per UNIT (PER_..., or one that `_units_UNIT` counts); `_setting_NAME` is a value for each sentence.
    """

    def total(key):
        return float(sum(log.get(key, 0) for log in logging_outputs))

    sample_size, ntokens, nsentences = total("sample_size"), total("ntokens"), total("nsentences")
    unit = math.log(2) if in_bits else 1.0
    for name in ("loss", "objective"):
        metrics.log_scalar(name, total(name) / sample_size / unit, sample_size, round=4)
    if any("nll_loss" in log for log in logging_outputs):
        metrics.log_scalar("nll_loss", total("nll_loss") / ntokens / math.log(2), ntokens, round=3)
        metrics.log_derived("ppl", lambda meters: 2 ** min(meters["nll_loss"].avg, 100))
    keys = sorted({key for log in logging_outputs for key in log if key.startswith("_")})
    weights = {PER_TOKEN: ntokens, PER_SENTENCE: nsentences, "setting": nsentences}
    weights |= {key.removeprefix("_units_"): total(key) for key in keys if key.startswith("_units_")}
    for key in keys:
        unit, _, name = key[1:].partition("_")
        if weights.get(unit, 0) > 0:
            metrics.log_scalar(name, total(key) / weights[unit], weights[unit], round=4)


def check_distributed(model) -> None:
    """Refuse a data-parallel wrapper that would not reduce the gradients of a decoder that we unroll ourselves.

    Raises:
        UsageError: several processes, and not `--ddp-backend legacy_ddp`.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    if torch.distributed.get_world_size() == 1:
        return
    wrapper = model
    while wrapper is not None:
        if isinstance(wrapper, LegacyDistributedDataParallel):
            return
        wrapper = wrapper._modules.get("module")
    raise UsageError(
        "search-aware training in several processes needs --ddp-backend legacy_ddp: it unrolls the decoder itself, and "
        f"other back ends would not reduce its gradients; got a model wrapped in {type(model).__name__}"
    )


def gold_token_scores(batch: SearchBatch, scores: str) -> Tensor:
    """(B, T, V) local scores under teacher forcing, with the gradient of `gold_logits`; see `adapters.LOCAL_SCORES`."""
    return LOCAL_SCORES[scores](batch.gold_logits)


def hard_beam_cost(batch: SearchBatch, scores: str, beam_size: int, costs: TokenCosts) -> tuple[Tensor, str]:
    """What plain beam search pays, to log: the token costs of its best hypothesis, and their unit."""
    found = hard_beam(batch.step.scored_by(scores), batch.lengths, beam_size, batch.candidates).tokens[:, :1]
    return (costs.of(found.clamp(min=0)) * found.ge(0)).sum(), PER_TOKEN


def check_finite(losses: Tensor, ids: Tensor) -> None:
    """Raise a `FloatingPointError` that names the sentences whose loss is NaN or infinite."""
    wrong = ~torch.isfinite(losses.detach())
    if bool(wrong.any()):
        raise FloatingPointError(
            f"the loss is {losses.detach()[wrong].tolist()} for the sentences with ids {ids[wrong].tolist()}; "
            "lower the learning rate or alpha, or look at these sentences (ids count from 0 in the data's order)"
        )
