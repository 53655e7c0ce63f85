"""A step of the relaxed beam that every one of the K * V candidates takes part in: the choice, and its gradient.

The backward pass makes scores and weights again. With X as in `near_choice.py`, a row for each of the candidates (i, v), neither
`P @ X` nor `(of averages) @ X^T` needs X itself: sums over tokens and over beams stand for it. Where the relaxation allows it,
the K distributions are gone through one by one, so that nothing is larger than the scores.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.choice import Beams
from seqsearch_fairseq.algorithms.output_layer import add_product, next_links
from seqsearch_fairseq.algorithms.scored import Run, candidate_mask, costs_at, set_aside, total_scores
from seqsearch_fairseq.algorithms.shared_gradient import sum_of_later
from seqsearch_fairseq.algorithms.weighing import WEIGHINGS, Candidates


class WholeChoice(torch.autograd.Function):
    """(averages (B, K, K + 2 + E), places (B, K), *next links), see `FusedChoice`."""

    @staticmethod
    def forward(ctx, features, scores, weight_link, bias_link, parcel, table_link, run, beams, total, places, log_z):
        settings = run.settings
        weighing, costs = WEIGHINGS[settings.top_k], costs_at(run, beams)
        given = Candidates(total.flatten(1), candidate_mask(run, beams), places)
        averages, best = [], []
        for chosen in _each(run):
            weights = weighing.weights(given, chosen, settings.alpha)  # (B, k, K * V)
            averages.append(_averages(run, weights, given, costs))
            best.append(weights.argmax(dim=2) if not weighing.one_by_one else places[:, chosen])
        ctx.run, ctx.beams = run, beams._replace(scores=scores.detach())
        ctx.save_for_backward(features, scores, places, *(() if log_z is None else (log_z,)))
        ctx.set_materialize_grads(False)
        found = torch.cat(best, dim=1)
        ctx.mark_non_differentiable(found)
        return torch.cat(averages, dim=1), found, *next_links((weight_link, bias_link, parcel, table_link))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, of_averages, _, of_weight, of_bias, parcel, of_table):
        if of_averages is None:
            return None, None, of_weight, of_bias, parcel, of_table, *[None] * 5
        features, scores, places, *saved = ctx.saved_tensors
        run, output, width = ctx.run, ctx.run.output, ctx.run.settings.width
        log_z = saved[0] if saved else None
        wants_weight, wants_bias, _, wants_table = ctx.needs_input_grad[2:6]
        logits = output.logits(features)
        probs = None if log_z is None else (logits - log_z.unsqueeze(1)).exp_()
        beams = ctx.beams._replace(scores=scores)
        total = set_aside(run, total_scores(run, logits, log_z, beams), beams, 0.0)
        given = Candidates(total.flatten(1), candidate_mask(run, beams), places)
        costs = costs_at(run, beams)
        if wants_table:
            of_table = sum_of_later(of_table, run.table, run.table.dtype)
        of_total = torch.zeros_like(given.scores)  # (B, K * V)
        for chosen in _each(run):
            of_total += _of_totals(run, given, costs, chosen, of_averages[:, chosen], of_table if wants_table else None)
        of_logits = of_total.view_as(logits)
        of_scores = of_logits.sum(dim=1)  # (N,)
        if probs is not None:
            of_logits.addcmul_(probs, of_scores.unsqueeze(1), value=-1)
        if wants_weight:
            of_weight = sum_of_later(of_weight, output.weight, output.accumulated)
            add_product(of_weight, of_logits, features.to(output.weight.dtype))
        if wants_bias:
            of_bias = sum_of_later(of_bias, output.bias, output.accumulated)
            of_bias += of_logits.sum(dim=0)
        of_features = output.times_weight(of_logits).to(features.dtype)
        of_scores = of_scores.view(-1, width)
        return of_features, of_scores, of_weight, of_bias, parcel, of_table, *[None] * 5


def _each(run: Run) -> Iterator[slice]:
    """The K distributions, one by one where that can be."""
    width = run.settings.width
    if not WEIGHINGS[run.settings.top_k].one_by_one:
        return iter([slice(0, width)])
    return (slice(j, j + 1) for j in range(width))


def _averages(run: Run, weights: Tensor, given: Candidates, costs: Tensor) -> Tensor:
    """`P @ X` for some of the P_j (B, k, K * V): (B, k, K + 2 + E)."""
    by_token = weights.unflatten(2, (run.settings.width, -1))  # (B, k, K, V)
    tokens = by_token.sum(dim=2)  # (B, k, V)
    means = torch.bmm(weights, given.scores.unsqueeze(2))
    inputs = tokens.to(run.table.dtype) @ run.table
    return torch.cat([by_token.sum(dim=3), means, torch.bmm(tokens, costs.unsqueeze(2)), inputs.to(means.dtype)], dim=2)


def _of_totals(
    run: Run, given: Candidates, costs: Tensor, chosen: slice, of_averages: Tensor, of_table: Tensor | None
) -> Tensor:
    """What some of the P_j give to the gradient of the scores (B, K * V). The embedding's gradient is added to `of_table`."""
    width, alpha = run.settings.width, run.settings.alpha
    weighing = WEIGHINGS[run.settings.top_k]
    of_beams, of_means, of_costs = of_averages[:, :, :width], of_averages[:, :, width], of_averages[:, :, width + 1]
    of_inputs = of_averages[:, :, width + 2 :].to(run.table.dtype)  # (B, k, E)
    weights = weighing.weights(given, chosen, alpha)
    of_tokens = (of_inputs @ run.table.T).to(weights.dtype)  # (B, k, V)
    of_tokens.addcmul_(of_costs.unsqueeze(2), costs.unsqueeze(1))
    if of_table is not None:
        tokens = weights.unflatten(2, (width, -1)).sum(dim=2)
        add_product(of_table, tokens.flatten(0, 1), of_inputs.flatten(0, 1))
    of_weights = (of_beams.unsqueeze(3) + of_tokens.unsqueeze(2)).flatten(2)  # (B, k, K * V)
    of_weights.addcmul_(of_means.unsqueeze(2), given.scores.unsqueeze(1))
    of_totals = weighing.of_scores(given, chosen, alpha, weights, of_weights)
    return of_totals + torch.bmm(of_means.unsqueeze(1), weights).squeeze(1)
