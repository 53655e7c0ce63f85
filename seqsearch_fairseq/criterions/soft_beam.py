"""`soft_beam_direct` and `soft_beam_hinge`: training through the relaxed beam of Goyal et al. 2018."""

from dataclasses import dataclass, field

import torch
from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum

from seqsearch_fairseq.adapters import LOCAL_SCORES
from seqsearch_fairseq.algorithms.candidate_pass import KERNELS, why_not
from seqsearch_fairseq.algorithms.costs import weighted_hamming
from seqsearch_fairseq.algorithms.relaxations import TOP_K
from seqsearch_fairseq.algorithms.soft_beam import beam_distance, direct_objective, hinge_objective, soft_beam
from seqsearch_fairseq.criterions.annealed_criterion import (
    AnnealedCriterion,
    alpha_field,
    growth_field,
    maximum_field,
)
from seqsearch_fairseq.criterions.search_criterion import (
    PER_SENTENCE,
    Objective,
    SearchBatch,
    SearchCriterionConfig,
    gold_token_scores,
    hard_beam_cost,
)
from seqsearch_fairseq.errors import UsageError


@dataclass
class SoftBeamConfig(SearchCriterionConfig):
    soft_beam_size: int = field(default=3, metadata={"help": "K, the width of the relaxed beam"})
    soft_beam_alpha: float = alpha_field(
        "how peaked the relaxation is in the first epoch; as alpha grows it becomes plain beam search"
    )
    soft_beam_alpha_growth: float = growth_field()
    soft_beam_alpha_max: float = maximum_field()
    soft_beam_scores: ChoiceEnum(list(LOCAL_SCORES)) = field(
        default="log-probs",
        metadata={
            "help": "what a hypothesis adds up for each token: log-probs, as fairseq-generate does by default, or "
            "logits; decoding with --decode-scores auto adds up the same"
        },
    )
    soft_beam_label_cost: str = field(
        default="",
        metadata={
            "help": "cost of predicting a label wrongly where it is not 1: 'O=2' as the paper has it for NER, or "
            "several, 'O=2,B-PER=0.5'"
        },
    )
    soft_beam_top_k: ChoiceEnum(list(TOP_K)) = field(
        default="squared-distance",
        metadata={
            "help": "the relaxed top-k: squared-distance is the paper's; successive removes what was already "
            "taken, so that beams stay apart at low alpha"
        },
    )
    soft_beam_kernel: ChoiceEnum(list(KERNELS)) = field(
        default="torch",
        metadata={
            "help": "what reads the scores of all candidates of a step in training: torch's operations, or kernels in "
            "Triton, which need a GPU and the extra [gpu]; their speed has not been measured"
        },
    )


class SoftBeamCriterion(AnnealedCriterion):
    """What the direct and the hinge criterion share. Costs are Hamming costs, weighted by --soft-beam-label-cost."""

    prefix = "soft_beam"
    cost_augmented = False

    def __init__(self, cfg: SoftBeamConfig, task):
        super().__init__(cfg, task)
        candidates = int(self.candidates.sum())
        if not 1 <= cfg.soft_beam_size <= candidates:
            raise UsageError(
                f"--soft-beam-size must be in [1, {candidates}], the number of candidate tokens, "
                f"got {cfg.soft_beam_size}"
            )
        self._check_kernel(None)
        self.local_scores = self.trained_scores = str(cfg.soft_beam_scores)
        self.wrong = parse_label_cost(cfg.soft_beam_label_cost, task.target_dictionary)  # no buffer: stays float32

    def objective(self, batch: SearchBatch) -> Objective:
        cfg, alpha = self.cfg, self.alpha
        if torch.is_grad_enabled():  # a validation on a CPU does without
            self._check_kernel(batch.gold.device)
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
            kernel=str(cfg.soft_beam_kernel),
        )
        logs = {}
        if cfg.soft_beam_size > 1:
            logs["beam_distance"] = beam_distance(result, batch.lengths).sum(), PER_SENTENCE
            logs["beam_collapsed"] = result.collapsed.float().sum(), PER_SENTENCE
        if not self.training:  # the relaxation's gap: what the objective stands for, and what plain beam search pays
            logs["hard_beam_cost"] = hard_beam_cost(batch, self.task.decode_scores, cfg.soft_beam_size, costs)
        return Objective(self._losses(result, alpha, batch), batch.gold_nll, logs, {"alpha": alpha})

    def _check_kernel(self, device: torch.device | None) -> None:
        kernel = str(self.cfg.soft_beam_kernel)
        reason = why_not(kernel, device)
        if reason is not None:
            raise UsageError(f"--soft-beam-kernel {kernel} {reason}")

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
            assert batch.gold_nll is not None  # as `needs_teacher_forcing` asks
            return -batch.gold_nll
        scores = gold_token_scores(batch, self.local_scores).gather(2, batch.gold.unsqueeze(2)).squeeze(2)
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
