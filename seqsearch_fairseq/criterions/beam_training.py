"""`global_likelihood`, `beam_search_optimization` and `minimum_risk`: training over what a hard beam finds.

What they share is `BeamTrainingCriterion`. The search is without gradient and without the decoder's dropout. Then what
was found is scored beside the gold, teacher-forced, with dropout. All of that reads one encoder output, whose dropout
is drawn once.
"""

import math
from dataclasses import dataclass, field

from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from torch import Tensor

from seqsearch_fairseq.adapters import LOCAL_SCORES, FairseqStep
from seqsearch_fairseq.algorithms.beam_training.beam_search_optimization import (
    EARLY_STOP,
    RESET,
    beam_search_optimization,
    constant_cost,
)
from seqsearch_fairseq.algorithms.beam_training.candidates import METHODS, Candidates, find_candidates
from seqsearch_fairseq.algorithms.beam_training.global_likelihood import UPDATES, global_likelihood
from seqsearch_fairseq.algorithms.beam_training.minimum_risk import minimum_risk
from seqsearch_fairseq.algorithms.costs import hamming
from seqsearch_fairseq.algorithms.schedules import growing_beam
from seqsearch_fairseq.algorithms.sequence_costs import SequenceCost
from seqsearch_fairseq.criterions.cost_flags import COST_NAMES, sequence_cost
from seqsearch_fairseq.criterions.search_criterion import (
    PER_SENTENCE,
    PER_TOKEN,
    Objective,
    SearchBatch,
    SearchCriterion,
    SearchCriterionConfig,
    gold_token_scores,
    hard_beam_cost,
)
from seqsearch_fairseq.errors import UsageError

CONSTANT = "constant"
BEAM = "beam"
SCORES_HELP = "what a sequence adds up for each token, in training and, with --decode-scores auto, in decoding"


@dataclass
class BeamTrainingConfig(SearchCriterionConfig):
    beam_training_size: int = field(
        default=10,
        metadata={"help": "K, the width of the beam; with --minimum-risk-candidates sample, how many samples"},
    )
    beam_training_scores: ChoiceEnum(list(LOCAL_SCORES)) = field(
        default="logits", metadata={"help": f"{SCORES_HELP}; logits can make up for an early token later on"}
    )


class BeamTrainingCriterion(SearchCriterion):
    """What the three share. In validation, `hard_beam_cost` is the Hamming cost of what beam search finds, a token."""

    needs_gold_gradient = True

    def __init__(self, cfg: BeamTrainingConfig, task):
        super().__init__(cfg, task)
        if cfg.beam_training_size < 1:
            raise UsageError(f"--beam-training-size must be at least 1, got {cfg.beam_training_size}")
        self.local_scores = self.trained_scores = str(cfg.beam_training_scores)

    @property
    def beam_size(self) -> int:
        return self.cfg.beam_training_size

    def objective(self, batch: SearchBatch) -> Objective:
        found = self._searched(batch)
        if not self.training:
            costs = hamming(batch.gold, len(batch.candidates))
            scores = self.task.decode_scores
            found.logs["hard_beam_cost"] = hard_beam_cost(batch, scores, self.cfg.beam_training_size, costs)
        return found

    def _searched(self, batch: SearchBatch) -> Objective:
        """The losses, and what the method logs of its own."""
        raise NotImplementedError

    def _arguments(self, batch: SearchBatch) -> tuple[FairseqStep, Tensor, Tensor, Tensor]:
        """What every algorithm of the room is called with first."""
        return batch.step, batch.gold, batch.lengths, gold_token_scores(batch, self.local_scores)


@dataclass
class GlobalLikelihoodConfig(BeamTrainingConfig):
    global_likelihood_update: ChoiceEnum(list(UPDATES)) = field(
        default="early",
        metadata={
            "help": "where the gold falls out of the beam: pay there and end (early), go on and pay at the end "
            "(full-sequence), or pay and search on from the gold (every-step)"
        },
    )


@register_criterion("global_likelihood", dataclass=GlobalLikelihoodConfig)
class GlobalLikelihoodCriterion(BeamTrainingCriterion):
    """-log of the gold's share among the beam and the gold (Andor et al. 2016)."""

    def _searched(self, batch: SearchBatch) -> Objective:
        update = str(self.cfg.global_likelihood_update)
        found = global_likelihood(*self._arguments(batch), self.beam_size, batch.candidates, update)
        logs = {
            "gold_fell_out": (found.falls.gt(0).float().sum(), PER_SENTENCE),
            "fall_place": (found.fall_places.sum(), "fall"),
        }
        return Objective(found.losses, batch.gold_nll, logs, {}, units={"fall": int(found.falls.sum())})


@dataclass
class BeamSearchOptimizationConfig(BeamTrainingConfig):
    beam_search_optimization_cost: ChoiceEnum([CONSTANT, *COST_NAMES]) = field(
        default=CONSTANT,
        metadata={
            "help": "weight of a violation: 1 (constant), or the cost of the violating prefix against the gold "
            "prefix (hamming counts the positions that differ, normalised-hamming is their share)"
        },
    )
    beam_search_optimization_margin: float = field(
        default=1.0, metadata={"help": "margin by which the gold prefix has to score above the last prefix of the beam"}
    )
    beam_search_optimization_violation: ChoiceEnum([RESET, EARLY_STOP]) = field(
        default=RESET,
        metadata={"help": "after a violation: search on from the gold prefix (reset), or leave the sentence there"},
    )
    beam_search_optimization_start_size: int = field(
        default=0,
        metadata={"help": "width of the beam in the first epoch, if it is to grow; 0: --beam-training-size throughout"},
    )
    beam_search_optimization_growth_epochs: int = field(
        default=2,
        metadata={"help": "number of epochs after which a beam that grows gains one, up to --beam-training-size"},
    )


@register_criterion("beam_search_optimization", dataclass=BeamSearchOptimizationConfig)
class BeamSearchOptimizationCriterion(BeamTrainingCriterion):
    """The gold prefix has to stay in the beam by a margin (Wiseman & Rush 2016)."""

    def __init__(self, cfg: BeamSearchOptimizationConfig, task):
        super().__init__(cfg, task)
        if not 0 <= cfg.beam_search_optimization_margin < math.inf:
            raise UsageError(
                "--beam-search-optimization-margin must be a number of at least 0, got "
                f"{cfg.beam_search_optimization_margin}"
            )
        if not 0 <= cfg.beam_search_optimization_start_size <= cfg.beam_training_size:
            raise UsageError(
                f"--beam-search-optimization-start-size must be in [0, {cfg.beam_training_size}], from none to "
                f"--beam-training-size, got {cfg.beam_search_optimization_start_size}"
            )
        if cfg.beam_search_optimization_growth_epochs < 1:
            raise UsageError(
                "--beam-search-optimization-growth-epochs must be at least 1, got "
                f"{cfg.beam_search_optimization_growth_epochs}"
            )
        name = str(cfg.beam_search_optimization_cost)
        self.cost: SequenceCost = constant_cost
        if name != CONSTANT:
            self.cost = sequence_cost("--beam-search-optimization-cost", name, task)

    @property
    def beam_size(self) -> int:
        """This epoch's width; the epoch is the one that fairseq counts and restores."""
        cfg = self.cfg
        start = cfg.beam_search_optimization_start_size or cfg.beam_training_size
        every = cfg.beam_search_optimization_growth_epochs
        return growing_beam(self.task.epoch, start, every, cfg.beam_training_size)

    def _searched(self, batch: SearchBatch) -> Objective:
        found = beam_search_optimization(
            *self._arguments(batch),
            self.beam_size,
            batch.candidates,
            self.cost,
            self.cfg.beam_search_optimization_margin,
            str(self.cfg.beam_search_optimization_violation),
        )
        logs = {"violations": (found.violations.sum(), PER_TOKEN)}
        return Objective(found.losses, batch.gold_nll, logs, {"beam_size": float(self.beam_size)})


@dataclass
class MinimumRiskConfig(BeamTrainingConfig):
    beam_training_scores: ChoiceEnum(list(LOCAL_SCORES)) = field(
        default="log-probs",
        metadata={"help": f"{SCORES_HELP}; log-probs make the candidates' weights their probabilities"},
    )
    minimum_risk_candidates: ChoiceEnum(list(METHODS)) = field(
        default=BEAM,
        metadata={
            "help": "where the candidates come from: beam search, or samples of the model, of which equal ones count "
            "once; validation always uses beam search"
        },
    )
    minimum_risk_cost: ChoiceEnum(COST_NAMES) = field(
        default="hamming",
        metadata={"help": "cost of a candidate against the gold: bleu suits translation, chunk-f1 chunks"},
    )
    minimum_risk_sharpness: float = field(
        default=1.0,
        metadata={
            "help": "factor of the scores in the softmax over the candidates; a small one gives bad candidates "
            "more weight (Shen et al. 2016 use 0.005)"
        },
    )
    minimum_risk_gold: bool = field(
        default=False, metadata={"help": "add the gold sequence to the candidates, as Shen et al. 2016 do"}
    )
    minimum_risk_extra_length: int = field(
        default=10, metadata={"help": "in translation: how many tokens a candidate may have beyond the gold's length"}
    )


@register_criterion("minimum_risk", dataclass=MinimumRiskConfig)
class MinimumRiskCriterion(BeamTrainingCriterion):
    """Expected cost among the candidates (Shen et al. 2016; Edunov et al. 2018)."""

    def __init__(self, cfg: MinimumRiskConfig, task):
        super().__init__(cfg, task)
        if not 0 < cfg.minimum_risk_sharpness < math.inf:
            raise UsageError(f"--minimum-risk-sharpness must be a positive number, got {cfg.minimum_risk_sharpness}")
        if cfg.minimum_risk_extra_length < 0:
            raise UsageError(f"--minimum-risk-extra-length must be at least 0, got {cfg.minimum_risk_extra_length}")
        self.eos = None if task.one_label_a_word else task.target_dictionary.eos()
        self.cost = sequence_cost("--minimum-risk-cost", str(cfg.minimum_risk_cost), task)

    def _searched(self, batch: SearchBatch) -> Objective:
        found = minimum_risk(
            *self._arguments(batch),
            self._candidates(batch),
            self.cost,
            self.cfg.minimum_risk_sharpness,
            self.cfg.minimum_risk_gold,
            self.eos,
        )
        logs = {
            "candidates": (found.counts.sum(), PER_SENTENCE),
            "oracle_cost": (found.least_costs.sum(), PER_SENTENCE),
            "best_cost": (found.best_costs.sum(), PER_SENTENCE),
            "expected_risk": (found.losses.detach().sum(), PER_SENTENCE),
        }
        return Objective(found.losses, batch.gold_nll, logs, {})

    def _candidates(self, batch: SearchBatch) -> Candidates:
        limits = batch.lengths
        if self.eos is not None:
            longest = batch.step.decoder.max_positions()
            limits = (limits + self.cfg.minimum_risk_extra_length).clamp(max=longest)
        method = str(self.cfg.minimum_risk_candidates) if self.training else BEAM
        return find_candidates(batch.step, limits, self.beam_size, batch.candidates, self.eos, method)
