"""What fairseq-generate calls for `--task search_recognition`: emissions, a decoder over them, hypotheses.

A decoder is a function from emissions to the hypotheses of each utterance, best first. `DECODERS` has them by the names
of `--decoder`: the one place where another is put in.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.emissions import Emissions, emit


class Hypothesis(NamedTuple):
    """What was said, by one way to decode it."""

    units: list[int]
    words: list[str]
    score: float  # natural logarithm
    unit_scores: Tensor  # (units,) the score of the frames from each unit's first to the next one's; they add up to it


def greedy(task, emissions: Emissions) -> list[list[Hypothesis]]:
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


Decoder = Callable[..., list[list[Hypothesis]]]
DECODERS: dict[str, Decoder] = {"greedy": greedy}


class RecognitionGenerator:
    """The models, and the decoder that `--decoder` names."""

    symbols_to_strip_from_output: set[int] = set()  # fairseq-generate asks for it

    def __init__(self, task, decoder: Decoder):
        self.task, self.decoder = task, decoder

    def generate(self, models: Sequence, sample: dict) -> list[list[dict]]:
        """For each utterance its hypotheses, as fairseq-generate prints them."""
        for model in models:
            model.eval()
        found = self.decoder(self.task, emit(models, sample["net_input"]))
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
