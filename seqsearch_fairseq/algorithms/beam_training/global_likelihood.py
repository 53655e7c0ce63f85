"""Global likelihood over a beam: Andor et al. 2016, sections 2 and 3; with `every-step`, LaSO (Daumé & Marcu 2005).

With s(y) the sum of local scores, B the beam after step t and g_t the gold prefix of t tokens, the loss of a step is

    L_t = -s(g_t) + log sum over y in B and g_t of exp s(y)

and the gold counts once. Which steps pay is the variant, one of `UPDATES`.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_training.prefix_scores import gold_prefix_scores, prefix_scores
from seqsearch_fairseq.algorithms.beam_training.watched_search import Events, Ranking, Verdict, watched_search
from seqsearch_fairseq.algorithms.masking import masked_logsumexp
from seqsearch_fairseq.algorithms.step import Step


class Update(NamedTuple):
    """What happens at a step at which the gold falls out of the beam; the last step always pays."""

    pays: bool
    to_gold: bool  # the search goes on from the gold prefix alone
    stops: bool


UPDATES = {
    "early": Update(pays=True, to_gold=False, stops=True),
    "full-sequence": Update(pays=False, to_gold=False, stops=False),
    "every-step": Update(pays=True, to_gold=True, stops=False),
}


class GlobalLikelihood(NamedTuple):
    losses: Tensor  # (B,)
    falls: Tensor  # (B,) how often the gold fell out of the beam
    fall_places: Tensor  # (B,) sum over these of step / length


def global_likelihood(
    step: Step,
    gold: Tensor,
    lengths: Tensor,
    gold_scores: Tensor,
    beam_size: int,
    candidates: Tensor,
    update: str = "early",
) -> GlobalLikelihood:
    """The loss of each sentence, over a beam of width `beam_size`.

    Args:
        step: the decoder.
        gold: (B, T) gold tokens.
        lengths: (B,) integer, number of output tokens of each sentence.
        gold_scores: (B, T, V) local scores after each gold prefix, teacher-forced, with gradient.
        beam_size: K, at least 1.
        candidates: (V,) bool, the tokens that may be output.
        update: a name of `UPDATES`. `early`: the first step at which the gold falls out, or the last. `full-sequence`:
            the last. `every-step`: each step at which the gold falls out, from which on the search starts again at the
            gold prefix, and the last.

    Raises:
        ValueError: an argument breaks its rule.
    """
    if update not in UPDATES:
        raise ValueError(f"`update` must be one of {', '.join(UPDATES)}, got {update}")
    falls, places = (torch.zeros(len(lengths), device=lengths.device) for _ in range(2))
    judge = _judge(UPDATES[update], falls, places)
    events = watched_search(step, gold, lengths, beam_size, candidates, judge)
    paid = _losses_of(events, step, gold, gold_scores)
    return GlobalLikelihood(paid.new_zeros(len(gold)).index_add(0, events.sentences, paid), falls, places)


def _judge(update: Update, falls: Tensor, places: Tensor) -> Callable[[Ranking], Verdict]:
    """The variant's verdicts; falls are counted in the two tensors."""

    def judge(ranking: Ranking) -> Verdict:
        searched = ranking.lengths > ranking.t
        fell = searched & ranking.had_gold & ~ranking.has_gold  # once a sentence has stopped it has no gold to lose
        falls.add_(fell)
        places.add_(fell * (ranking.t + 1) / ranking.lengths)
        return Verdict(
            pays=ranking.is_last | (fell & update.pays),
            members=ranking.live & ~ranking.is_gold,
            to_gold=fell & update.to_gold,
            stops=fell & update.stops,
        )

    return judge


def _losses_of(events: Events, step: Step, gold: Tensor, gold_scores: Tensor) -> Tensor:
    """(N,) L_t of each event."""
    own = gold_prefix_scores(gold, gold_scores)[events.sentences, events.lengths - 1]  # (N,)
    event, place = events.members.nonzero(as_tuple=True)
    found = prefix_scores(step, gold, gold_scores, events.sentences[event], events.tokens[event, place])
    rivals = found.new_zeros(events.members.shape).masked_scatter(events.members, found)
    scores = torch.cat([own.unsqueeze(1), rivals], dim=1)
    return masked_logsumexp(scores, torch.nn.functional.pad(events.members, (1, 0), value=True)) - own
