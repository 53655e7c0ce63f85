"""The scores of all candidates of one step of the relaxed beam, made without gradient, to be looked at and dropped."""

from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.choice import Beams, Settings
from seqsearch_fairseq.algorithms.output_layer import SearchedOutput


class Run(NamedTuple):
    """What the steps of one search share."""

    settings: Settings
    output: SearchedOutput
    table: Tensor  # (V, E) the embedding, without gradient, float32 or wider


class Normalisers(NamedTuple):
    """Of each row's logits z."""

    log_z: Tensor  # (N,) logsumexp(z)
    weights: Tensor  # (N, V) exp(z - max z)
    sums: Tensor  # (N, 1) their sums


def normalisers(logits: Tensor) -> Normalisers:
    """One exponential of each logit serves the normaliser and the mean of the output layer's rows."""
    largest = logits.amax(dim=1, keepdim=True)
    weights = (logits - largest).exp_()
    sums = weights.sum(dim=1, keepdim=True)
    return Normalisers((largest + sums.log()).squeeze(1), weights, sums)


def mean_output_rows(run: Run, given: Normalisers) -> Tensor:
    """E_p[W], `p = softmax(z)`: the gradient of the log normaliser with respect to the features, (N, D)."""
    return run.output.times_weight(given.weights) / given.sums


def total_scores(run: Run, logits: Tensor, log_z: Tensor | None, beams: Beams) -> Tensor:
    """S[i, v] from the logits (N, V), in their place: (B, I, V), finite also where nothing is a candidate."""
    shape = beams.scores.shape
    shift = beams.scores if log_z is None else beams.scores - log_z.view(shape)
    total = logits.view(*shape, -1).add_(shift.detach().unsqueeze(2))
    return total.add_(costs_at(run, beams).unsqueeze(1)) if run.settings.cost_augmented else total


def costs_at(run: Run, beams: Beams) -> Tensor:
    """d_t(v): (B, V)."""
    return run.settings.costs.at(beams.t, beams.sentences).to(beams.scores.dtype)


def penalty(run: Run, beams: Beams) -> Tensor:
    """0, or -inf for what is no candidate: (1, I * V), or (B, I * V) while some beams are dead."""
    dtype = beams.scores.dtype
    allowed = run.settings.candidates.expand(1, beams.live.size(1), -1)  # (1, I, V)
    if not bool(beams.live.all()):
        allowed = beams.live.unsqueeze(2) & allowed
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(~allowed, -torch.inf).flatten(1)
