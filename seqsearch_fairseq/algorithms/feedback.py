"""One step of scheduled sampling: the cross entropy of the gold token, and the next input of the decoder.

Both are functions of the same scores, so one `autograd.Function` makes both and keeps one (N, V) tensor, the
log-probabilities, which is what cross entropy keeps too. The weights of a soft feedback are made again in the backward
pass, with the same noise from the same seed. On a large vocabulary a row keeps its M best tokens alone where the others
weigh less than the precision of their type: with m the best score and S_M the M-th, at most
`(V - M) * exp(alpha * (S_M - m))`. That spares three products with the whole embedding. On a GPU, where they are cheap,
every row takes all tokens.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.relaxations import check_alpha, gumbel_noise
from seqsearch_fairseq.algorithms.shared_gradient import first_link, next_link, sum_of_later


class Feedback(NamedTuple):
    soft: bool  # a mean of embeddings under softmax(alpha * s); else the embedding of the best token
    noisy: bool  # s has Gumbel noise added


FEEDBACKS = {
    "soft-argmax": Feedback(soft=True, noisy=False),
    "soft-sample": Feedback(soft=True, noisy=True),
    "argmax": Feedback(soft=False, noisy=False),
    "sample": Feedback(soft=False, noisy=True),
}
FEW = 128  # M: how many tokens a sharp row keeps
LARGE = 16 * FEW  # a vocabulary of at most this size is always taken whole


class Emission(NamedTuple):
    losses: Tensor  # (N,) cross entropy of the gold, smoothed
    nll: Tensor  # (N,) without smoothing; no gradient
    inputs: Tensor  # (n, E) what each of the n rows that asked for it feeds itself


class Table:
    """What one run of a decoder feeds back from: an embedding (V, E), and candidates (V,) bool, the tokens to feed.

    Each step takes the table's link and leaves the next one: see `shared_gradient.py`.
    """

    def __init__(self, embedding: Tensor, candidates: Tensor):
        dtype = torch.promote_types(embedding.dtype, torch.float32)
        self.excluded = (~candidates).nonzero().squeeze(1)  # (number of tokens that are never fed,)
        self.rows = embedding.detach().to(dtype)
        self.link = first_link(embedding, dtype)


def emit(
    scores: Tensor,
    gold: Tensor,
    table: Table,
    rows: Tensor,
    feedback: str,
    alpha: float,
    label_smoothing: float = 0.0,
) -> Emission:
    """The cross entropy of one step, and the input that some rows feed themselves.

    Args:
        scores: (N, V) logits or log-probabilities.
        gold: (N,) integer.
        table: what may be fed back.
        rows: (n,) integer, the rows whose next input is their own.
        feedback: a name of `FEEDBACKS`.
        alpha: > 0.
        label_smoothing: in [0, 1).

    Raises:
        ValueError: `feedback` does not exist, or `alpha` is out of range.
    """
    check_feedback(feedback, alpha)
    kind = FEEDBACKS[feedback]
    seed = int(torch.randint(2**62, ())) if kind.noisy else None
    settings = _Settings(table.rows, table.excluded, kind, alpha, seed, label_smoothing)
    with torch.autocast(scores.device.type, enabled=False):
        losses, nll, inputs, table.link = _Emission.apply(scores, table.link, gold, rows, settings)
    return Emission(losses, nll, inputs)


def smoothed_cross_entropy(scores: Tensor, gold: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross entropy of `gold` (...) under `scores` (..., V), smoothed as fairseq does it: (...)."""
    log_probs = torch.log_softmax(scores, dim=-1)
    on_gold, on_each = _smoothed(label_smoothing, scores.size(-1))
    losses = -on_gold * log_probs.gather(-1, gold.unsqueeze(-1)).squeeze(-1)
    return losses - on_each * log_probs.sum(dim=-1) if label_smoothing > 0 else losses


def check_feedback(feedback: str, alpha: float) -> None:
    """Raise a `ValueError` for a feedback that does not exist or an alpha out of range."""
    if feedback not in FEEDBACKS:
        raise ValueError(f"`feedback` must be one of {', '.join(FEEDBACKS)}, got {feedback}")
    check_alpha(alpha)


class _Settings(NamedTuple):
    table: Tensor  # (V, E) float32 or wider
    excluded: Tensor  # tokens that are never fed
    kind: Feedback
    alpha: float
    seed: int | None  # of the noise
    label_smoothing: float


class _Emission(torch.autograd.Function):
    """(losses, nll, inputs) of `Emission`, and the next link.

    A `kind` that is not soft passes no gradient to the scores it chose by.
    """

    @staticmethod
    def forward(ctx, scores, link, gold, rows, settings):
        table, excluded, kind, alpha, seed, smoothing = settings
        log_probs = torch.log_softmax(scores, dim=1, dtype=torch.promote_types(scores.dtype, torch.float32))
        nll = -log_probs.gather(1, gold.unsqueeze(1)).squeeze(1)
        on_gold, on_each = _smoothed(smoothing, scores.size(1))
        losses = on_gold * nll - on_each * log_probs.sum(dim=1) if smoothing > 0 else nll.clone()

        perturbed = _perturbed(log_probs, rows, excluded, seed)
        choice = _choose(perturbed, kind, alpha)
        if choice.tokens is None or choice.weights is None:
            inputs = torch.softmax(alpha * perturbed, dim=1) @ table
        else:
            chosen = torch.nn.functional.embedding(choice.tokens, table)  # (n', M, E)
            inputs = torch.bmm(choice.weights.unsqueeze(1), chosen).squeeze(1)
        if choice.flat is not None:
            of_flat = torch.softmax(alpha * perturbed[choice.flat], dim=1) @ table
            few, inputs = inputs, table.new_empty(rows.size(0), table.size(1))
            inputs.index_copy_(0, choice.sharp, few).index_copy_(0, choice.flat, of_flat)

        ctx.save_for_backward(log_probs, gold, rows, *choice)
        ctx.settings, ctx.dtype = settings, scores.dtype
        ctx.mark_non_differentiable(nll)
        ctx.set_materialize_grads(False)
        return losses, nll, inputs, next_link(link)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, of_losses, _, of_inputs, of_table):
        log_probs, gold, rows, *choice = ctx.saved_tensors
        table, excluded, kind, alpha, seed, smoothing = ctx.settings
        of_scores = _of_cross_entropy(log_probs, gold, smoothing, of_losses)
        if of_inputs is None or rows.size(0) == 0:
            return of_scores.to(ctx.dtype), of_table, *[None] * 3
        of_table = sum_of_later(of_table, table, table.dtype) if ctx.needs_input_grad[1] else None
        sharp, tokens, few, flat = choice
        if tokens is not None:
            of_sharp = _pick(of_inputs, sharp)
            if of_table is not None:
                shares = few.unsqueeze(2) * of_sharp.unsqueeze(1)  # (n', M, E)
                of_table.index_add_(0, tokens.flatten(), shares.flatten(0, 1))
            if kind.soft:
                chosen = torch.nn.functional.embedding(tokens, table)
                of_weights = torch.bmm(chosen, of_sharp.unsqueeze(2)).squeeze(2)  # (n', M)
                of_few = _softmax_backward(of_weights, few).mul_(alpha)
                of_scores.index_put_((_pick(rows, sharp).unsqueeze(1), tokens), of_few, accumulate=True)
        if tokens is None or flat is not None:
            of_flat = _pick(of_inputs, flat)
            weights = torch.softmax(alpha * _pick(_perturbed(log_probs, rows, excluded, seed), flat), dim=1)
            if of_table is not None:
                of_table.addmm_(weights.T, of_flat)
            of_all = _softmax_backward(of_flat @ table.T, weights)  # (n'', V)
            of_scores.index_add_(0, _pick(rows, flat), of_all, alpha=alpha)
        return of_scores.to(ctx.dtype), of_table, *[None] * 3


class _Choice(NamedTuple):
    """Which of the n rows keep few tokens (sharp), and which take all of them (flat)."""

    sharp: Tensor | None  # (n',) places of the sharp rows; None where all rows are of one kind
    tokens: Tensor | None  # (n', M) the tokens that each sharp row keeps; None where all rows are flat
    weights: Tensor | None  # (n', M) and what they weigh
    flat: Tensor | None  # (n'',) places of the flat rows; None where all rows are of one kind


def _choose(perturbed: Tensor, kind: Feedback, alpha: float) -> _Choice:
    rows, vocabulary = perturbed.shape
    if not kind.soft:
        tokens = perturbed.argmax(dim=1, keepdim=True)
        return _Choice(None, tokens, torch.ones_like(tokens, dtype=perturbed.dtype), None)
    all_flat = _Choice(None, None, None, None)
    if vocabulary <= LARGE or rows == 0 or perturbed.is_cuda:  # on a GPU the test below would wait for the values
        return all_flat
    kept, tokens = torch.topk(perturbed, FEW, dim=1)
    outside = math.log(vocabulary - FEW) + alpha * (kept[:, -1] - kept[:, 0])
    is_sharp = outside < math.log(torch.finfo(perturbed.dtype).eps)
    sharp, flat = is_sharp.nonzero().squeeze(1), (~is_sharp).nonzero().squeeze(1)
    if sharp.size(0) == 0:
        return all_flat
    choice = _Choice(sharp, tokens[sharp], torch.softmax(alpha * kept[sharp], dim=1), flat)
    return choice if flat.size(0) > 0 else choice._replace(sharp=None, flat=None)


def _pick(values: Tensor, places: Tensor | None) -> Tensor:
    """The rows at `places`; None: all."""
    return values if places is None else values.index_select(0, places)


def _softmax_backward(of_weights: Tensor, weights: Tensor) -> Tensor:
    """The gradient of logits (..., M), from that of their softmax `weights`."""
    return torch._softmax_backward_data(of_weights, weights, 1, weights.dtype)


def _of_cross_entropy(log_probs: Tensor, gold: Tensor, smoothing: float, of_losses: Tensor | None) -> Tensor:
    """The gradient of the losses with respect to the scores: (N, V), a new tensor."""
    if of_losses is None:
        return torch.zeros_like(log_probs)
    on_gold, on_each = _smoothed(smoothing, log_probs.size(1))
    of_losses = of_losses.unsqueeze(1)
    of_scores = log_probs.exp().mul_(of_losses)  # a target's mass is one
    if smoothing > 0:
        of_scores.sub_(on_each * of_losses)
    return of_scores.scatter_add_(1, gold.unsqueeze(1), -on_gold * of_losses)


def _smoothed(smoothing: float, vocabulary: int) -> tuple[float, float]:
    """What of a target's mass each token gets, and the gold token on top of that, as fairseq spreads it."""
    on_each = smoothing / (vocabulary - 1) if smoothing > 0 else 0.0
    return 1.0 - smoothing - on_each, on_each


def _perturbed(log_probs: Tensor, rows: Tensor, excluded: Tensor, seed: int | None) -> Tensor:
    """What the feedback ranks: (n, V), -inf for what is never fed, noise added where there is a seed."""
    scores = log_probs.clone() if rows.size(0) == log_probs.size(0) else log_probs.index_select(0, rows)
    if excluded.size(0) > 0:
        scores.index_fill_(1, excluded, -torch.inf)
    return scores if seed is None else scores.add_(gumbel_noise(scores, seed))
