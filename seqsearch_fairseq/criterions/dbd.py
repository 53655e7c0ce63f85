"""`dbd`, training through the beam search decoder (Collobert, Hannun, Synnaeve 2019), and `asg`, training without it.

The weights of the decoder, the transitions and the language model are parameters of the model (`beam_decoder.py`).
"""

import math
from dataclasses import dataclass, field

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.logging import metrics
from omegaconf import II
from torch import Tensor

from seqsearch_fairseq.adapters import whole_precision
from seqsearch_fairseq.algorithms.beam_decoder.objective import GOLD, IN_BEAM
from seqsearch_fairseq.algorithms.beam_decoder.search import Settings
from seqsearch_fairseq.beam_decoder import DEFAULTS, LM, SILENCE, WORD, BeamDecoder
from seqsearch_fairseq.criterions.search_criterion import PER_SENTENCE, check_finite, log_metrics
from seqsearch_fairseq.criterions.unit_losses import AsgLosses, ctc_losses
from seqsearch_fairseq.emissions import Emissions, emissions_of
from seqsearch_fairseq.errors import UsageError

START = "at the beginning, where the checkpoint that training begins from has none"


@dataclass
class RecognitionCriterionConfig(FairseqDataclass):
    sentence_avg: bool = II("optimization.sentence_avg")
    ddp_backend: str = II("distributed_training.ddp_backend")
    distributed_world_size: int = II("distributed_training.distributed_world_size")


@dataclass
class DbdConfig(RecognitionCriterionConfig):
    dbd_beam_size: int = field(default=50, metadata={"help": "K, hypotheses that the beam keeps of a frame"})
    dbd_beam_threshold: float = field(
        default=math.inf,
        metadata={"help": "and none whose score is so much below that of the best, in natural logarithms"},
    )
    dbd_lm_weight: float = field(
        default=DEFAULTS[LM], metadata={"help": f"weight of the language model's base-10 logarithms {START}"}
    )
    dbd_word_score: float = field(default=DEFAULTS[WORD], metadata={"help": f"added for each word, {START}"})
    dbd_silence_score: float = field(
        default=DEFAULTS[SILENCE], metadata={"help": f"added for each frame of silence, {START}"}
    )
    dbd_fixed_weights: bool = field(
        default=False, metadata={"help": "do not learn these three; the model, transitions and all, is trained"}
    )
    dbd_weights_rate: float = field(
        default=10.0, metadata={"help": "learning rate of these three, as a multiple of the model's"}
    )
    dbd_train_lm: bool = field(
        default=False,
        metadata={"help": "train the language model too: log-probabilities and back-off weights, or the LSTM"},
    )
    dbd_gold: ChoiceEnum(list(GOLD)) = field(
        default=IN_BEAM,
        metadata={
            "help": "whether the states that the gold can be in stay in the beam whatever their rank (in-beam), or "
            "may be lost (free)"
        },
    )
    search_nll_weight: float = field(
        default=0.0,
        metadata={"help": "adds this share of the loss on units alone, CTC or ASG by --recognition-topology"},
    )


class RecognitionCriterion(FairseqCriterion):
    """What both share: the emissions, and what is done with the loss of each utterance. Subclasses define `losses`."""

    def __init__(self, cfg: RecognitionCriterionConfig, task):
        super().__init__(task)
        self.cfg = cfg
        name = cfg._name or type(self).__name__
        if not isinstance(getattr(task, "beam_decoder", None), BeamDecoder):
            raise UsageError(f"the criterion {name} needs --task search_recognition, got {type(task).__name__}")
        if cfg.distributed_world_size > 1 and cfg.ddp_backend not in ("legacy_ddp", "no_c10d"):
            raise UsageError(
                f"the criterion {name} in several processes needs --ddp-backend legacy_ddp: it reads parameters beside "
                f"the model's own forward, whose gradients other back ends may not reduce; got {cfg.ddp_backend}"
            )
        self.asg = None if task.topology == "ctc" else AsgLosses(task.emitted_units())
        if self.asg is not None:
            task.beam_decoder.adopt_transitions()

    @classmethod
    def build_criterion(cls, cfg, task):
        return cls(cfg, task)

    def losses(self, decoder: BeamDecoder, emissions: Emissions, sample) -> tuple[Tensor, dict]:
        """(B,) losses, and further sums to log; see `log_metrics`."""
        raise NotImplementedError

    def unit_losses(self, decoder: BeamDecoder, emissions: Emissions, sample) -> Tensor:
        """(B,) CTC or ASG."""
        if self.asg is None:
            return ctc_losses(emissions, sample["target"], sample["target_lengths"], self.task.blank)
        assert decoder.transitions is not None  # __init__ has seen to it
        return self.asg(emissions, sample["target"], decoder.transitions)

    def forward(self, model, sample, reduce=True):
        """The loss summed over utterances (each one's if not `reduce`), the sample size, and what to log."""
        emissions = emissions_of(model, model(**sample["net_input"]))
        with whole_precision(emissions.log_probs.device):
            losses, logs = self.losses(model.beam_decoder, emissions, sample)
        check_finite(losses, sample["id"])
        count = len(sample["id"])
        sample_size = count if self.cfg.sentence_avg else sample["ntokens"]
        logging_output = {
            "loss": losses.detach().sum(),
            "ntokens": sample["ntokens"],
            "nsentences": count,
            "sample_size": sample_size,
            **logs,
        }
        return (losses.sum() if reduce else losses), sample_size, logging_output

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True


@register_criterion("dbd", dataclass=DbdConfig)
class DbdCriterion(RecognitionCriterion):
    """log-add over what the beam finds, less log-add over all alignments of the transcription."""

    def __init__(self, cfg: DbdConfig, task):
        super().__init__(cfg, task)
        _check(cfg, task)
        self.settings = Settings(cfg.dbd_beam_size, cfg.dbd_beam_threshold)
        start = {LM: cfg.dbd_lm_weight, WORD: cfg.dbd_word_score, SILENCE: cfg.dbd_silence_score}
        task.beam_decoder.adopt_weights(start, not cfg.dbd_fixed_weights, cfg.dbd_weights_rate)
        if cfg.dbd_train_lm:
            task.beam_decoder.adopt_language_model()

    def losses(self, decoder: BeamDecoder, emissions: Emissions, sample) -> tuple[Tensor, dict]:
        words = self.task.word_numbers(sample["words"]).to(emissions.log_probs.device)
        found = decoder.objective(emissions, words, self.settings, str(self.cfg.dbd_gold))
        losses = found.losses
        logs: dict = {
            "objective": losses.detach().sum(),
            "_skipped": found.skipped.sum(),
            f"_{PER_SENTENCE}_gold_outside": found.gold_outside.sum(),
            f"_{PER_SENTENCE}_gold_lost": found.gold_lost.sum(),
        }
        logs |= {f"_setting_{name}": value * len(losses) for name, value in decoder.values().items()}
        weight = self.cfg.search_nll_weight
        if weight > 0 or not self.training:
            with torch.set_grad_enabled(weight > 0 and torch.is_grad_enabled()):
                of_units = self.unit_losses(decoder, emissions, sample)
            logs["nll_loss"] = of_units.detach().sum()
            losses = losses + weight * of_units
        return losses, logs

    @classmethod
    def reduce_metrics(cls, logging_outputs) -> None:
        """Aggregate over workers. `gold_outside` and `gold_lost` are shares of utterances, `skipped` counts them."""
        log_metrics(logging_outputs)
        metrics.log_scalar_sum("skipped", int(sum(log.get("_skipped", 0) for log in logging_outputs)))


def _check(cfg: DbdConfig, task) -> None:
    if task.lexicon is None:
        raise UsageError("--criterion dbd needs words to find: say --recognition-lexicon")
    if cfg.dbd_beam_size < 1:
        raise UsageError(f"--dbd-beam-size must be at least 1, got {cfg.dbd_beam_size}")
    if not cfg.dbd_beam_threshold >= 0:
        raise UsageError(f"--dbd-beam-threshold must be at least 0, got {cfg.dbd_beam_threshold}")
    for name in ("dbd_lm_weight", "dbd_word_score", "dbd_silence_score"):
        if not math.isfinite(getattr(cfg, name)):
            raise UsageError(f"--{name.replace('_', '-')} must be a number, got {getattr(cfg, name)}")
    if not 0 < cfg.dbd_weights_rate < math.inf:
        raise UsageError(f"--dbd-weights-rate must be a positive number, got {cfg.dbd_weights_rate}")
    if not 0 <= cfg.search_nll_weight < math.inf:
        raise UsageError(f"--search-nll-weight must be a number of at least 0, got {cfg.search_nll_weight}")
    if cfg.dbd_train_lm and not task.has_language_model:
        raise UsageError("--dbd-train-lm needs a language model: say --recognition-lm")


@register_criterion("asg", dataclass=RecognitionCriterionConfig)
class AsgCriterion(RecognitionCriterion):
    """Units alone, with transitions: log-add over all paths, less log-add over those of the transcription."""

    def __init__(self, cfg: RecognitionCriterionConfig, task):
        super().__init__(cfg, task)
        if self.asg is None:
            raise UsageError("--criterion asg has no blank: say --recognition-topology asg, got ctc")

    def losses(self, decoder: BeamDecoder, emissions: Emissions, sample) -> tuple[Tensor, dict]:
        losses = self.unit_losses(decoder, emissions, sample)
        return losses, {"objective": losses.detach().sum(), "nll_loss": losses.detach().sum()}

    @classmethod
    def reduce_metrics(cls, logging_outputs) -> None:
        """Aggregate over workers."""
        log_metrics(logging_outputs)
