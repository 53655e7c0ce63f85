"""A step of the relaxed beam whose mass lies on M candidates: the choice among them, and its gradient.

Each candidate (i, v) has a row of values, `X = [one-hot of i | S | d_t(v) | embedding of v]`, so that all averages
are one product, `P @ X`, and their gradients are two, `(of averages) @ X^T` and `P^T @ (of averages)`. Of the K * V
candidates the backward pass needs only the M scores and E_p[W] (see `output_layer.py`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsearch_fairseq.algorithms.nearest import Best
from seqsearch_fairseq.algorithms.output_layer import add_to_parcel, next_links
from seqsearch_fairseq.algorithms.scored import Run, costs_at
from seqsearch_fairseq.algorithms.shared_gradient import sum_of_later
from seqsearch_fairseq.algorithms.weighing import WEIGHINGS, Candidates

ALL = slice(None)  # of the K distributions


class NearChoice(torch.autograd.Function):
    """(averages (B, K, I + 2 + E), places (B, K), *next links), see `FusedChoice`."""

    @staticmethod
    def forward(ctx, features, scores, weight_link, bias_link, parcel, table_link, run, beams, few, log_z, mean_rows):
        settings = run.settings
        tokens = few.places % run.table.size(0)
        costs = costs_at(run, beams).gather(1, tokens)  # (B, M)
        given = _candidates(few, settings.width)
        weights = WEIGHINGS[settings.top_k].weights(given, ALL, settings.alpha)  # (B, K, M)
        ctx.run, ctx.t, ctx.count = run, beams.t, beams.scores.size(1)
        averages = torch.bmm(weights, _values(run, few, given, costs, ctx.count))
        ctx.shapes = None if parcel is None else parcel.shape
        ctx.has_log_z = log_z is not None
        ctx.save_for_backward(features, *few, costs, *((log_z, mean_rows) if ctx.has_log_z else ()))
        ctx.set_materialize_grads(False)
        best = few.places.gather(1, weights.argmax(dim=2))
        ctx.mark_non_differentiable(best)
        return averages, best, *next_links((weight_link, bias_link, parcel, table_link))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, of_averages, _, of_weight, of_bias, parcel, of_table):
        if of_averages is None:
            return None, None, of_weight, of_bias, parcel, of_table, *[None] * 5
        features, scores, places, costs, *of_normaliser = ctx.saved_tensors
        run, few = ctx.run, Best(scores, places)
        settings, output = run.settings, run.output
        count, vocabulary = ctx.count, run.table.size(0)
        tokens = places % vocabulary  # (B, M)
        given = _candidates(few, settings.width)
        weighing = WEIGHINGS[settings.top_k]
        weights = weighing.weights(given, ALL, settings.alpha)
        values = _values(run, few, given, costs, count)
        of_weights = torch.bmm(of_averages, values.mT)
        of_values = torch.bmm(weights.mT, of_averages)  # (B, M, I + 2 + E)
        of_totals = weighing.of_scores(given, ALL, settings.alpha, weights, of_weights) + of_values[:, :, count]

        by_beam = values[:, :, :count] * of_totals.unsqueeze(2)  # (B, M, I)
        of_scores = by_beam.sum(dim=1)  # (B, I)
        rows = features.reshape(*of_scores.shape, -1).to(of_scores.dtype)  # (B, I, D)
        near_rows = F.embedding(tokens, output.weight).to(of_scores.dtype)  # (B, M, D)
        of_features = torch.bmm(by_beam.mT, near_rows)  # (B, I, D)
        wants_weight, wants_bias, wants_parcel, wants_table = ctx.needs_input_grad[2:6]
        if ctx.has_log_z:
            log_z, mean_rows = of_normaliser
            of_features -= of_scores.unsqueeze(2) * mean_rows.view_as(of_features)
            if wants_parcel:
                parcel = add_to_parcel(parcel, ctx.shapes, ctx.t, features, log_z, -of_scores.flatten())
        if wants_weight:
            of_weight = sum_of_later(of_weight, output.weight, output.accumulated)
            of_weight.index_add_(0, tokens.flatten(), torch.bmm(by_beam, rows).flatten(0, 1).to(of_weight.dtype))
        if wants_bias:
            of_bias = sum_of_later(of_bias, output.bias, output.accumulated)
            of_bias.index_add_(0, tokens.flatten(), of_totals.flatten().to(of_bias.dtype))
        if wants_table:
            of_table = sum_of_later(of_table, run.table, run.table.dtype)
            of_table.index_add_(0, tokens.flatten(), of_values[:, :, count + 2 :].flatten(0, 1))
        of_features = of_features.flatten(0, 1).to(features.dtype)
        return of_features, of_scores, of_weight, of_bias, parcel, of_table, *[None] * 5


def _candidates(few: Best, width: int) -> Candidates:
    here = few.scores.isfinite()  # (B, M), best first
    own = torch.arange(width, device=here.device).expand(len(here), -1)
    scores = few.scores.masked_fill(~here, 0.0)
    penalty = torch.zeros_like(scores).masked_fill_(~here, -torch.inf)
    return Candidates(scores, penalty, own.masked_fill(~here[:, :width], 0))


def _values(run: Run, few: Best, given: Candidates, costs: Tensor, count: int) -> Tensor:
    """X of I = `count` beams: (B, M, I + 2 + E)."""
    vocabulary = run.table.size(0)
    beams_of, tokens = few.places // vocabulary, few.places % vocabulary
    is_beam = beams_of.unsqueeze(2) == torch.arange(count, device=tokens.device)
    dtype = given.scores.dtype
    columns = is_beam.to(dtype), given.scores.unsqueeze(2), costs.unsqueeze(2), F.embedding(tokens, run.table).to(dtype)
    return torch.cat(columns, dim=2)
