"""`soft_beam_direct` and `soft_beam_hinge`: training through the relaxed beam of Goyal et al. 2018."""

from dataclasses import dataclass, field

import torch
from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum

from seqsearch_fairseq.adapters import LOCAL_SCORES
from seqsearch_fairseq.algorithms.costs import weighted_hamming
from seqsearch_fairseq.algorithms.hard_beam import hard_beam
from seqsearch_fairseq.algorithms.relaxations import TOP_K
from seqsearch_fairseq.algorithms.schedules import annealed
from seqsearch_fairseq.algorithms.soft_beam import beam_distance, direct_objective, hinge_objective, soft_beam
from seqsearch_fairseq.criterions.search_criterion import (
    PER_SENTENCE,
    PER_TOKEN,
    Objective,
    SearchBatch,
    SearchCriterion,
    SearchCriterionConfig,
    check_alpha_flags,
)
from seqsearch_fairseq.errors import UsageError


@dataclass
class SoftBeamConfig(SearchCriterionConfig):
    soft_beam_size: int = field(default=3, metadata={"help": "K, the width of the relaxed beam"})
    soft_beam_alpha: float = field(
        default=1.0,
        metadata={"help": "how peaked the relaxation is in the first epoch; it becomes hard as alpha grows"},
    )
    soft_beam_alpha_growth: float = field(
        default=1.0, metadata={"help": "alpha is multiplied by this after each epoch; 1 keeps it constant"}
    )
    soft_beam_alpha_max: float = field(default=1e4, metadata={"help": "alpha does not grow beyond this"})
    soft_beam_scores: ChoiceEnum(list(LOCAL_SCORES)) = field(
        default="log-probs", metadata={"help": "what a hypothesis adds up for each token"}
    )
    soft_beam_label_cost: str = field(
        default="",
        metadata={"help": "cost of predicting a label wrongly where it is not 1, e.g. 'O=2' or 'O=2,B-PER=0.5'"},
    )
    soft_beam_top_k: ChoiceEnum(list(TOP_K)) = field(
        default="squared-distance",
        metadata={"help": "the relaxed top-k: the paper's, or one that removes what was already taken"},
    )


class SoftBeamCriterion(SearchCriterion):
    """What the direct and the hinge criterion share. Costs are Hamming costs, weighted by --soft-beam-label-cost."""

    cost_augmented = False

    def __init__(self, cfg: SoftBeamConfig, task):
        super().__init__(cfg, task)
        _check_flags(cfg, int(self.candidates.sum()))
        self.local_scores = self.trained_scores = str(cfg.soft_beam_scores)
        self.wrong = parse_label_cost(cfg.soft_beam_label_cost, task.target_dictionary)  # no buffer: stays float32

    @property
    def alpha(self) -> float:
        """This epoch's alpha; the epoch is the one that fairseq counts and restores."""
        cfg = self.cfg
        return annealed(self.task.epoch, cfg.soft_beam_alpha, cfg.soft_beam_alpha_growth, cfg.soft_beam_alpha_max)

    def objective(self, batch: SearchBatch) -> Objective:
        cfg, alpha = self.cfg, self.alpha
        costs = weighted_hamming(batch.gold, self.wrong.to(batch.gold.device))
        result = soft_beam(
            batch.step,
            batch.lengths,
            costs,
            cfg.soft_beam_size,
            alpha,
            batch.candidates,
            str(cfg.soft_beam_top_k),
            self.cost_augmented,
        )
        logs = {}
        if cfg.soft_beam_size > 1:
            logs["beam_distance"] = beam_distance(result, batch.lengths).sum(), PER_SENTENCE
            logs["beam_collapsed"] = result.collapsed.float().sum(), PER_SENTENCE
        if not self.training:  # the relaxation's gap: what the objective stands for, and what plain beam search pays
            step = batch.step.scored_by(self.task.decode_scores)
            found = hard_beam(step, batch.lengths, cfg.soft_beam_size, batch.candidates).tokens[:, :1]
            paid = costs.of(found.clamp(min=0)) * found.ge(0)
            logs["hard_beam_cost"] = paid.sum(), PER_TOKEN
        return Objective(self._losses(result, alpha, batch), batch.gold_nll, logs, {"alpha": alpha})

    def _losses(self, result, alpha, batch):
        raise NotImplementedError


@register_criterion("soft_beam_direct", dataclass=SoftBeamConfig)
class SoftBeamDirectCriterion(SoftBeamCriterion):
    """The expected cost of the softly best beam."""

    def _losses(self, result, alpha, batch):
        return direct_objective(result, alpha)


@register_criterion("soft_beam_hinge", dataclass=SoftBeamConfig)
class SoftBeamHingeCriterion(SoftBeamCriterion):
    """By how much the softly best beam of a cost-augmented search scores above the gold sequence."""

    cost_augmented = True
    needs_gold_gradient = True

    def _losses(self, result, alpha, batch):
        return hinge_objective(result, alpha, self._gold_scores(batch))

    def _gold_scores(self, batch: SearchBatch) -> torch.Tensor:
        """(B,) sum of the gold's local scores, teacher-forced."""
        if self.local_scores == "log-probs":
            return -batch.gold_nll
        scores = LOCAL_SCORES[self.local_scores](batch.gold_logits).gather(2, batch.gold.unsqueeze(2)).squeeze(2)
        return (scores * batch.gold.ne(self.padding_idx)).sum(dim=1)


def parse_label_cost(text: str, dictionary) -> torch.Tensor:
    """(V,) cost of predicting each token wrongly, from `'O=2,B-PER=0.5'`; 1 where nothing is said.

    Raises:
        UsageError: not of that form, an unknown label, or a cost that is negative or no number.
    """
    wrong = torch.ones(len(dictionary))
    for item in filter(None, (part.strip() for part in text.split(","))):
        label, equals, value = item.rpartition("=")
        if not equals:
            raise UsageError(f"--soft-beam-label-cost must look like 'O=2,B-PER=0.5', got {item!r}")
        index = dictionary.index(label)
        if index == dictionary.unk():
            raise UsageError(f"--soft-beam-label-cost: the label {label!r} is not in the target dictionary")
        try:
            cost = float(value)
        except ValueError:
            cost = float("nan")
        if not 0 <= cost < float("inf"):
            raise UsageError(f"--soft-beam-label-cost: the cost of {label!r} must be a number >= 0, got {value!r}")
        wrong[index] = cost
    return wrong


def _check_flags(cfg: SoftBeamConfig, candidates: int) -> None:
    if not 1 <= cfg.soft_beam_size <= candidates:
        raise UsageError(
            f"--soft-beam-size must be in [1, {candidates}], the number of candidate tokens, got {cfg.soft_beam_size}"
        )
    check_alpha_flags("soft-beam", cfg.soft_beam_alpha, cfg.soft_beam_alpha_growth, cfg.soft_beam_alpha_max)
