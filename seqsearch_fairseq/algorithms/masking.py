"""Softmax, log-sum-exp and top-k over rows in which some entries are no candidates.

Masked entries are set aside *before* the exponential, by a finite floor: -inf would give NaN gradients behind a finite
forward. A row without any candidate has a rule of its own: no mass, a log-sum-exp of -inf, no gradient.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class MaskedTopK(NamedTuple):
    values: Tensor  # (..., k), -inf where there are fewer than k candidates
    indices: Tensor  # (..., k)
    live: Tensor  # (..., k) bool, False where there are fewer than k candidates


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last dimension among the entries where `mask` is True; zeros elsewhere.

    Args:
        logits: (..., M), finite where `mask` is True.
        mask: bool, broadcastable to `logits`.
    """
    return torch.softmax(_floor(logits, mask), dim=-1) * mask


def masked_logsumexp(logits: Tensor, mask: Tensor) -> Tensor:
    """Log-sum-exp over the last dimension among the entries where `mask` is True: (...); -inf for an empty row."""
    total = torch.logsumexp(_floor(logits, mask), dim=-1)
    return torch.where(mask.expand_as(logits).any(dim=-1), total, -torch.inf)


def masked_topk(scores: Tensor, mask: Tensor, k: int) -> MaskedTopK:
    """The k largest entries of the last dimension among those where `mask` is True, best first.

    `k` may be larger than the row: the surplus is dead, with value -inf and index 0.
    """
    width = min(k, scores.size(-1))
    top = torch.topk(_floor(scores, mask), width, dim=-1)
    live = mask.expand_as(scores).gather(-1, top.indices)
    values = torch.where(live, top.values, -torch.inf)
    missing = k - width
    if missing == 0:
        return MaskedTopK(values, top.indices, live)
    pad = torch.nn.functional.pad
    return MaskedTopK(
        pad(values, (0, missing), value=-torch.inf),
        pad(top.indices, (0, missing)),
        pad(live, (0, missing), value=False),
    )


def _floor(logits: Tensor, mask: Tensor) -> Tensor:
    return logits.masked_fill(~mask, torch.finfo(logits.dtype).min)
