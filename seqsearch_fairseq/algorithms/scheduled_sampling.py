"""Scheduled sampling: Bengio et al. 2015 (arXiv 1506.03099), and the differentiable form of Goyal, Dyer,
Berg-Kirkpatrick 2017 (arXiv 1704.06970), in one loop.

At each step the decoder reads, with probability `gold_probability`, the embedding of the gold token, and else what the
scores s of the step before say (`feedback.py` has the four ways of saying it):

    soft argmax   softmax(alpha * s) @ embedding                 argmax   embedding[argmax s]
    soft sample   softmax(alpha * (s + G)) @ embedding           sample   embedding[argmax (s + G)], G Gumbel noise

The loss is the cross entropy of the gold token at every step. Through the two soft feedbacks its gradient reaches the
steps that made the choice; argmax and sample pass none through the choice.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.feedback import Table, emit
from seqsearch_fairseq.algorithms.hard_beam import check_lengths
from seqsearch_fairseq.algorithms.step import Step


class ScheduledSampling(NamedTuple):
    """What the loop paid for each sentence."""

    losses: Tensor  # (B,) cross entropy of the gold, label-smoothed where that is asked for
    nll: Tensor  # (B,) the same without smoothing; no gradient


def scheduled_sampling(
    step: Step,
    gold: Tensor,
    lengths: Tensor,
    feedback: str,
    alpha: float,
    gold_probability: float,
    candidates: Tensor,
    label_smoothing: float = 0.0,
) -> ScheduledSampling:
    """Run the decoder over the gold sequences, feeding back its own output where a draw per token says so.

    Draws come from torch's default generator (the CPU's, whatever the device).

    Args:
        step: the decoder; its local scores may be normalised or not.
        gold: (B, T) gold tokens, padded with any token.
        lengths: (B,) integer, how many of them count; at least 1 each.
        feedback: a name of `feedback.FEEDBACKS`.
        alpha: > 0, how peaked the soft feedbacks are; the others do not use it.
        gold_probability: epsilon, in [0, 1]; 1 is teacher forcing, 0 never shows the gold.
        candidates: (V,) bool, the tokens that may be fed back. The cross entropy is over the whole vocabulary.
        label_smoothing: in [0, 1), the mass that fairseq's `label_smoothed_cross_entropy` spreads.

    Raises:
        ValueError: an argument breaks its rule.
    """
    check_lengths(lengths)
    if not 0 <= gold_probability <= 1:
        raise ValueError(f"`gold_probability` must be in [0, 1], got {gold_probability}")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"`label_smoothing` must be in [0, 1), got {label_smoothing}")
    shortest, longest = int(lengths.min()), int(lengths.max())
    own = torch.rand(gold.shape) >= gold_probability  # (B, T): the input after step t is the decoder's own
    own &= torch.arange(1, gold.size(1) + 1) < lengths.cpu().unsqueeze(1)  # after the last step nothing is read
    previous = torch.cat([torch.full_like(gold[:, :1], step.bos), gold[:, :-1]], dim=1)
    gold_inputs = torch.nn.functional.embedding(previous, step.embedding).unbind(dim=1)  # T of (B, E)
    state, inputs, table = step.start(1), gold_inputs[0], Table(step.embedding, candidates)
    losses, nll = [], []
    for t in range(longest):
        scores, state = step(inputs, state)
        if t >= shortest:  # what a sentence's decoder says after its end is never looked at, finite or not
            scores = scores.masked_fill((t >= lengths).unsqueeze(1), 0.0)
        rows = own[:, t].nonzero().squeeze(1).to(gold.device)
        emission = emit(scores, gold[:, t], table, rows, feedback, alpha, label_smoothing)
        if t + 1 < longest:
            inputs = gold_inputs[t + 1]
        if rows.size(0) > 0:
            inputs = inputs.index_copy(0, rows, emission.inputs.to(inputs.dtype))
        losses.append(emission.losses)
        nll.append(emission.nll)
    inside = torch.arange(longest, device=gold.device) < lengths.unsqueeze(1)  # (B, T)
    return ScheduledSampling(*((torch.stack(column, dim=1) * inside).sum(dim=1) for column in (losses, nll)))
