"""What fairseq-generate calls for `--task search_recognition`: emissions, a decoder over them, hypotheses.

A decoder is a function from the task, emissions, the models that they are of, and a number n to the n best hypotheses
of each utterance. `DECODERS` has them by the names of `--decoder`: the one place where another is put in.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.emissions import Emissions, emit
from seqsearch_fairseq.errors import UsageError

GREEDY, BEAM = "greedy", "beam"


class Hypothesis(NamedTuple):
    """What was said, by one way to decode it."""

    units: list[int]
    words: list[str]
    score: float  # natural logarithm
    unit_scores: Tensor  # its parts: greedy, the frames from each unit's first to the next one's; beam, the whole


def greedy(task, emissions: Emissions, models: Sequence = (), n_best: int = 1) -> list[list[Hypothesis]]:
    """The most probable unit of each frame; repetitions are one, and blanks none.

    With repetition symbols (ASG) transitions have no part in it.
    """
    candidates = task.emitted_units().to(emissions.log_probs.device)
    scores, best = emissions.log_probs.masked_fill(~candidates, -torch.inf).max(dim=2)  # (B, T)
    found = []
    for row, row_scores, length in zip(best.cpu(), scores.cpu(), emissions.lengths.tolist(), strict=True):
        row, row_scores = row[:length], row_scores[:length]
        begins = row.ne(torch.cat([row.new_tensor([-1]), row[:-1]])) & row.ne(task.blank)  # first frames of units
        piece = (begins.cumsum(dim=0) - 1).clamp(min=0)  # which unit a frame's score is counted for
        units = row[begins].tolist()
        unit_scores = row_scores.new_zeros(max(len(units), 1)).index_add(0, piece, row_scores)
        found.append([Hypothesis(units, task.words_of(units), float(row_scores.sum()), unit_scores)])
    return found


def beam(task, emissions: Emissions, models: Sequence, n_best: int = 1) -> list[list[Hypothesis]]:
    """The best words by emissions, lexicon and language model; their units as the lexicon spells them.

    Where the beam has no complete hypothesis, nothing was said, with the score -inf.

    Raises:
        UsageError: the models of an ensemble were trained with different weights, and no flags say which to take.
    """
    instead = task.given_weights
    values = [model.beam_decoder.values(instead) for model in models]
    if any(other != values[0] for other in values):
        raise UsageError(
            f"the checkpoints were trained with different weights ({values}); choose with --recognition-lm-weight, "
            "--recognition-word-score and --recognition-silence-score"
        )
    found = models[0].beam_decoder.decode(emissions, task.beam_settings, instead, n_best)
    return [[_spelled(task, *best[:2]) for best in hypotheses or [([], -math.inf)]] for hypotheses in found]


def _spelled(task, numbers: list[int], score: float) -> Hypothesis:
    words = [task.word(number) for number in numbers]
    return Hypothesis(task.units_of(words), words, score, torch.tensor([score]))


Decoder = Callable[..., list[list[Hypothesis]]]
DECODERS: dict[str, Decoder] = {GREEDY: greedy, BEAM: beam}


class RecognitionGenerator:
    """The models, and the decoder that `--decoder` names."""

    symbols_to_strip_from_output: set[int] = set()  # fairseq-generate asks for it

    def __init__(self, task, decoder: Decoder, n_best: int = 1):
        self.task, self.decoder, self.n_best = task, decoder, n_best

    def generate(self, models: Sequence, sample: dict) -> list[list[dict]]:
        """For each utterance its hypotheses, as fairseq-generate prints them."""
        for model in models:
            model.eval()
        found = self.decoder(self.task, emit(models, sample["net_input"]), models, self.n_best)
        return [[self._printed(hypothesis) for hypothesis in hypotheses] for hypotheses in found]

    def _printed(self, hypothesis: Hypothesis) -> dict:
        tokens = self.task.target_dictionary.with_words(self.task.written_out(hypothesis.units), hypothesis.words)
        return {
            "tokens": torch.tensor(tokens),
            "score": hypothesis.score,
            "attention": None,
            "alignment": None,
            "positional_scores": hypothesis.unit_scores,
        }
