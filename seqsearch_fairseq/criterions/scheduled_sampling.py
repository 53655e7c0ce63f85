"""`differentiable_scheduled_sampling`: Goyal, Dyer, Berg-Kirkpatrick 2017, and the baselines of Bengio et al. 2015."""

import math
from dataclasses import dataclass, field

from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from torch import Tensor

from seqsearch_fairseq.algorithms.feedback import FEEDBACKS, smoothed_cross_entropy
from seqsearch_fairseq.algorithms.scheduled_sampling import scheduled_sampling
from seqsearch_fairseq.algorithms.schedules import ALWAYS, NONE, gold_probability
from seqsearch_fairseq.criterions.annealed_criterion import (
    AnnealedCriterion,
    alpha_field,
    growth_field,
    maximum_field,
)
from seqsearch_fairseq.criterions.search_criterion import (
    PER_TOKEN,
    Objective,
    SearchBatch,
    SearchCriterionConfig,
)
from seqsearch_fairseq.errors import UsageError


@dataclass
class ScheduledSamplingConfig(SearchCriterionConfig):
    dss_feedback: ChoiceEnum(list(FEEDBACKS)) = field(
        default="soft-argmax",
        metadata={
            "help": "what a step reads where it does not read the gold token: the mean embedding under the "
            "model's softmax (soft-argmax; soft-sample adds Gumbel noise), or the embedding of the best "
            "token (argmax) or of a sampled one (sample), which pass no gradient through the choice"
        },
    )
    dss_alpha: float = alpha_field(
        "how peaked the soft feedbacks are in the first epoch; as alpha grows they become argmax and sample"
    )
    dss_alpha_growth: float = growth_field()
    dss_alpha_max: float = maximum_field()
    dss_decay: str = field(
        default="10",
        metadata={
            "help": "how the probability of the gold token falls: a number k for 1 in the first epoch and then k "
            "/ (k + exp(epoch / k)); 'always' for 0, the model's own output throughout; 'none' for 1, "
            "which is cross entropy"
        },
    )
    label_smoothing: float = field(
        default=0.0, metadata={"help": "as in label_smoothed_cross_entropy; 0 is cross entropy"}
    )


@register_criterion("differentiable_scheduled_sampling", dataclass=ScheduledSamplingConfig)
class ScheduledSamplingCriterion(AnnealedCriterion):
    """Cross entropy on inputs that are partly the model's own.

    In validation the loss is that of teacher forcing, so that epochs compare; `free_running_nll_loss` is what the gold
    costs when every input is the model's own greedy choice, and `exposure_bias` the difference, in bits per token.
    """

    prefix = "dss"
    local_scores = "logits"  # the algorithm normalises them itself
    in_bits = True

    def __init__(self, cfg: ScheduledSamplingConfig, task):
        super().__init__(cfg, task)
        if not 0 <= cfg.label_smoothing < 1:
            raise UsageError(f"--label-smoothing must be in [0, 1), got {cfg.label_smoothing}")
        self.decay = parse_decay(cfg.dss_decay)

    @property
    def gold_probability(self) -> float:
        """This epoch's probability of feeding the gold token."""
        return gold_probability(self.task.epoch, self.decay)

    @property
    def teacher_forced(self) -> bool:
        """Whether every input is gold, so that one pass over all positions does."""
        return not self.training or self.gold_probability == 1.0

    needs_teacher_forcing = needs_gold_gradient = teacher_forced

    def objective(self, batch: SearchBatch) -> Objective:
        settings = {"alpha": self.alpha, "gold_probability": self.gold_probability}
        logs = {}
        if not self.training:
            assert batch.gold_nll is not None  # as `needs_teacher_forcing` asks
            greedy = scheduled_sampling(batch.step, batch.gold, batch.lengths, "argmax", 1.0, 0.0, batch.candidates)
            logs["free_running_nll_loss"] = greedy.nll.sum() / math.log(2), PER_TOKEN
            logs["exposure_bias"] = (greedy.nll - batch.gold_nll).sum() / math.log(2), PER_TOKEN
        if self.teacher_forced:
            return Objective(self._teacher_forced_losses(batch), batch.gold_nll, logs, settings)
        paid = scheduled_sampling(
            batch.step,
            batch.gold,
            batch.lengths,
            str(self.cfg.dss_feedback),
            self.alpha,
            self.gold_probability,
            batch.candidates,
            self.cfg.label_smoothing,
        )
        return Objective(paid.losses, paid.nll, logs, settings)

    def _teacher_forced_losses(self, batch: SearchBatch) -> Tensor:
        assert batch.gold_nll is not None and batch.gold_logits is not None  # as `needs_teacher_forcing` asks
        if self.cfg.label_smoothing == 0:
            return batch.gold_nll
        losses = smoothed_cross_entropy(batch.gold_logits, batch.gold, self.cfg.label_smoothing)
        return (losses * batch.gold.ne(self.padding_idx)).sum(dim=1)


def parse_decay(text: str) -> float | str:
    """k, or one of the two words.

    Raises:
        UsageError: neither a positive number nor one of the words.
    """
    if text in (ALWAYS, NONE):
        return text
    try:
        decay = float(text)
    except ValueError:
        decay = math.nan
    if not 0 < decay < math.inf:
        raise UsageError(f"--dss-decay must be a positive number, '{ALWAYS}' or '{NONE}', got {text!r}")
    return decay
