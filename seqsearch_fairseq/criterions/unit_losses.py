"""What is lost on units alone, without a lexicon: CTC (Graves et al. 2006) and ASG (Collobert et al. 2016)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.alignments import PAD
from seqsearch_fairseq.algorithms.beam_decoder.language_models import NoLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.lexicon import Lexicon
from seqsearch_fairseq.algorithms.beam_decoder.objective import beam_decoder_objective
from seqsearch_fairseq.algorithms.beam_decoder.scoring import Weights
from seqsearch_fairseq.algorithms.beam_decoder.topologies import asg
from seqsearch_fairseq.emissions import Emissions


def ctc_losses(emissions: Emissions, targets: Tensor, lengths: Tensor, blank: int) -> Tensor:
    """(B,) -log p of the units; 0 where they do not fit the frames.

    Args:
        targets: (B, M) units, padded.
        lengths: (B,) units of each.
    """
    log_probs = emissions.log_probs.transpose(0, 1)  # (T, B, U)
    with torch.backends.cudnn.flags(enabled=False):  # as fairseq's own criterion does
        return F.ctc_loss(log_probs, targets, emissions.lengths, lengths, blank, "none", zero_infinity=True)


class AsgLosses:
    """All paths of units through the frames, less those of the transcription: the beam decoder with units for words."""

    def __init__(self, emitted: Tensor):
        """`emitted` (U,) bool: the units, repetition symbols among them."""
        self.units = emitted.nonzero().flatten().tolist()
        self.graph = asg(Lexicon.build((unit, [unit]) for unit in self.units), len(emitted))
        self.numbers = torch.full((len(emitted),), PAD)
        self.numbers[self.units] = torch.arange(len(self.units))

    def __call__(self, emissions: Emissions, targets: Tensor, transitions: Tensor) -> Tensor:
        """(B,) losses; 0 where the units do not fit the frames. `targets` (B, M), padded with what is no unit."""
        self.graph, self.numbers = self.graph.to(targets.device), self.numbers.to(targets.device)
        weights = Weights(lm=0.0, transitions=transitions.to(emissions.log_probs.dtype))
        words, size = self.numbers[targets], len(self.units)
        return beam_decoder_objective(*emissions, words, self.graph, NoLanguageModel(), weights, size).losses
