"""A step of the relaxed beam that every one of the I * V candidates takes part in: the choice, and its gradient.

The backward pass makes scores and weights again. With X as in `near_choice.py`, a row for each of the candidates (i,
v), neither `P @ X` nor `(of averages) @ X^T` needs X itself: sums over tokens and over beams stand for it. Where the
relaxation allows it, the K distributions are gone through one by one, so that nothing is larger than the scores.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.choice import Beams
from seqsearch_fairseq.algorithms.output_layer import add_product, next_links
from seqsearch_fairseq.algorithms.scored import Run, costs_at, penalty, total_scores
from seqsearch_fairseq.algorithms.shared_gradient import sum_of_later
from seqsearch_fairseq.algorithms.weighing import WEIGHINGS, Candidates


class Averages(NamedTuple):
    """Under P_1 ... P_K."""

    values: Tensor  # (B, K, I + 2 + E)
    best: Tensor  # (B, K) the places of the largest weights
    kept: tuple[Tensor, ...]  # for the way back; may hold `values`


class Back(NamedTuple):
    """The way back."""

    of_logits: Tensor  # (N, V) the gradient of the logits
    of_scores: Tensor  # (N,) and of what each beam had scored before
    tokens: Tensor  # (B, K, V) the token weights a_j[v]
    of_inputs: Tensor  # (B, K, E) the gradient of what the next step reads


class Whole(Protocol):
    """The K distributions over all candidates of one step."""

    def averages(self, places: Tensor, anchors: Tensor) -> Averages:
        """From m_1 ... m_K (B, K) and their places, those of m_1 where there are fewer."""

    @staticmethod
    def back(
        run: Run, beams: Beams, features: Tensor, log_z: Tensor | None, places: Tensor, kept: tuple, of_averages: Tensor
    ) -> Back:
        """From the gradient of the averages (B, K, I + 2 + E). The logits are made again from features (N, D)."""


class WholeChoice(torch.autograd.Function):
    """(averages (B, K, I + 2 + E), places (B, K), *next links), see `FusedChoice`."""

    @staticmethod
    def forward(ctx, features, scores, weight_link, bias_link, parcel, table_link, run, beams, whole, top, log_z):
        made = whole.averages(top.places, top.scores)
        ctx.run, ctx.beams, ctx.back = run, beams._replace(scores=scores.detach()), type(whole).back
        ctx.has_log_z = log_z is not None
        ctx.save_for_backward(features, scores, top.places, *((log_z,) if ctx.has_log_z else ()), *made.kept)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(made.best)
        return made.values, made.best, *next_links((weight_link, bias_link, parcel, table_link))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, of_averages, _, of_weight, of_bias, parcel, of_table):
        if of_averages is None:
            return None, None, of_weight, of_bias, parcel, of_table, *[None] * 5
        features, scores, places, *kept = ctx.saved_tensors
        run, output = ctx.run, ctx.run.output
        log_z = kept.pop(0) if ctx.has_log_z else None
        wants_weight, wants_bias, _, wants_table = ctx.needs_input_grad[2:6]
        beams = ctx.beams._replace(scores=scores)
        made = ctx.back(run, beams, features, log_z, places, tuple(kept), of_averages)
        if wants_table:
            of_table = sum_of_later(of_table, run.table, run.table.dtype)
            add_product(of_table, made.tokens.flatten(0, 1), made.of_inputs.flatten(0, 1))
        if wants_weight:
            of_weight = sum_of_later(of_weight, output.weight, output.accumulated)
            add_product(of_weight, made.of_logits, features.to(output.weight.dtype))
        if wants_bias:
            of_bias = sum_of_later(of_bias, output.bias, output.accumulated)
            of_bias += made.of_logits.sum(dim=0)
        of_features = output.times_weight(made.of_logits).to(features.dtype)
        of_scores = made.of_scores.view_as(scores)
        return of_features, of_scores, of_weight, of_bias, parcel, of_table, *[None] * 5


class TorchWhole:
    """See `Whole`."""

    def __init__(self, run: Run, beams: Beams, total: Tensor):
        """From S: (B, I * V), finite also where nothing is a candidate."""
        self._run, self._beams, self._total = run, beams, total

    def averages(self, places: Tensor, anchors: Tensor) -> Averages:
        run, total, settings = self._run, self._total, self._run.settings
        weighing, costs = WEIGHINGS[settings.top_k], costs_at(run, self._beams)
        given = Candidates(total, penalty(run, self._beams), places)
        tokens = total.new_empty(*places.shape, costs.size(1))  # (B, K, V)
        averages, best = [], []
        for chosen in _each(run):
            weights = weighing.weights(given, chosen, settings.alpha)  # (B, k, I * V)
            by_beam = weights.unflatten(2, (-1, costs.size(1)))  # (B, k, I, V)
            torch.sum(by_beam, dim=2, out=tokens[:, chosen])
            means = (weights * given.scores.unsqueeze(1)).sum(dim=2, keepdim=True)  # a `bmm` of vectors is slow
            averages.append(torch.cat([by_beam.sum(dim=3), means], dim=2))
            best.append(weights.argmax(dim=2) if not weighing.one_by_one else places[:, chosen])
        paid = (tokens * costs.unsqueeze(1)).sum(dim=2, keepdim=True)
        values = torch.cat([torch.cat(averages, dim=1), paid, times(tokens, run.table)], dim=2)
        return Averages(values, torch.cat(best, dim=1), ())

    @staticmethod
    def back(
        run: Run, beams: Beams, features: Tensor, log_z: Tensor | None, places: Tensor, kept: tuple, of_averages: Tensor
    ) -> Back:
        logits = run.output.logits(features)
        probs = None if log_z is None else (logits - log_z.unsqueeze(1)).exp_()
        given = Candidates(total_scores(run, logits, log_z, beams).flatten(1), penalty(run, beams), places)
        of_total, tokens, of_inputs = _back_to_scores(run, given, costs_at(run, beams), of_averages)
        of_logits = of_total.view_as(logits)
        of_scores = of_logits.sum(dim=1)
        if probs is not None:
            of_logits.addcmul_(probs, of_scores.unsqueeze(1), value=-1)
        return Back(of_logits, of_scores, tokens, of_inputs)


def _back_to_scores(run: Run, given: Candidates, costs: Tensor, of_averages: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of the scores (B, I * V), the token weights (B, K, V), the gradient of the inputs (B, K, E)."""
    vocabulary, size = run.table.shape
    count, alpha, weighing = given.scores.size(1) // vocabulary, run.settings.alpha, WEIGHINGS[run.settings.top_k]
    of_beams, of_means, of_costs, of_inputs = of_averages.split([count, 1, 1, size], dim=2)
    of_tokens = times(of_inputs, run.table.T).addcmul_(of_costs, costs.unsqueeze(1))  # (B, K, V)
    tokens, of_total = torch.empty_like(of_tokens), torch.zeros_like(given.scores)
    for chosen in _each(run):
        weights = weighing.weights(given, chosen, alpha)  # (B, k, I * V)
        torch.sum(weights.unflatten(2, (count, vocabulary)), dim=2, out=tokens[:, chosen])
        of_weights = (of_beams[:, chosen].unsqueeze(3) + of_tokens[:, chosen].unsqueeze(2)).flatten(2)
        of_weights.addcmul_(of_means[:, chosen], given.scores.unsqueeze(1))
        of_total += weighing.of_scores(given, chosen, alpha, weights, of_weights)
        of_total += (of_means[:, chosen] * weights).sum(dim=1)
    return of_total, tokens, of_inputs


def _each(run: Run) -> Iterator[slice]:
    """The K distributions, one by one where that can be."""
    width = run.settings.width
    if not WEIGHINGS[run.settings.top_k].one_by_one:
        return iter([slice(0, width)])
    return (slice(j, j + 1) for j in range(width))


def times(rows: Tensor, matrix: Tensor) -> Tensor:
    """`rows @ matrix` of rows (B, K, n) as one product, in the type of the rows."""
    return (rows.flatten(0, 1).to(matrix.dtype) @ matrix).unflatten(0, rows.shape[:2]).to(rows.dtype)
