"""The scores of what a search found, with gradient, in one teacher-forced batch.

The gold has gone through the decoder already. What a found sequence shares with it, up to and with the first token that
differs, is read off the gold's scores, dropout included. Only the sequences with more tokens than that go through the
decoder again, and only these tokens' positions through the output layer.
"""

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.sequence_costs import FILL
from seqsearch_fairseq.algorithms.step import Step


def prefix_scores(step: Step, gold: Tensor, gold_scores: Tensor, sentences: Tensor, tokens: Tensor) -> Tensor:
    """Sum of the local scores of each sequence: (R,), float32 or wider.

    Args:
        step: the decoder.
        gold: (B, T) gold tokens.
        gold_scores: (B, T, V) local scores of all tokens after each gold prefix, teacher-forced.
        sentences: (R,) integer, the sentence of each sequence.
        tokens: (R, L) the sequences, FILL after their end.
    """
    inside = tokens.ne(FILL)
    same = torch.zeros_like(inside)
    width = min(gold.size(1), tokens.size(1))
    same[:, :width] = tokens[:, :width] == gold[sentences, :width]
    shared = same.long().cumprod(dim=1).sum(dim=1, keepdim=True)  # (R, 1) tokens before the first that differs
    places = torch.arange(tokens.size(1), device=tokens.device)
    of_gold = inside & (places <= shared) & (places < gold.size(1))
    row, place = of_gold.nonzero(as_tuple=True)
    read = gold_scores[sentences[row], place, tokens[row, place]]
    local = read.new_zeros(tokens.shape).masked_scatter(of_gold, read)
    own = inside & ~of_gold
    rows = own.any(dim=1).nonzero().squeeze(1)
    if len(rows) > 0:
        local = local.masked_scatter(own, _own_scores(step, sentences[rows], tokens[rows], own[rows]).to(local.dtype))
    return local.sum(dim=1)


def gold_prefix_scores(gold: Tensor, gold_scores: Tensor) -> Tensor:
    """The score of each gold prefix of 1, ..., T tokens: (B, T), from the arguments of `prefix_scores`."""
    return gold_scores.gather(2, gold.unsqueeze(2)).squeeze(2).cumsum(dim=1)


def _own_scores(step: Step, sentences: Tensor, tokens: Tensor, own: Tensor) -> Tensor:
    """Local scores of the tokens at the positions `own` (R, L): as many as there are, row by row."""
    width = int(own.any(dim=0).nonzero().max()) + 1
    tokens, own = tokens[:, :width], own[:, :width]
    features = step.teacher_forced_features(sentences, tokens)  # (R, L, D)
    return step.scores(features[own]).gather(1, tokens[own].unsqueeze(1)).squeeze(1)
