"""Which cells (positions of the roll-in) and which tokens SEARNN tries.

To try all of them is exact and slow: T * V roll-outs a sentence. Otherwise some are drawn. The gold token is always
added, and where sentences end by themselves the end-of-sentence token and the two cells around the end.

Tokens come from one sampler or from several, each with its count (ICLR 2018, section 5; workshop text, section 4):

    uniform          any candidate is as likely as any other
    corpus           by how often a token is in the training data
    policy           by the model's own probabilities
    biased-policy    half by these, half evenly, so that tokens are tried that the model thinks unlikely
    top-k            the best-scoring tokens
    neighbors        the gold tokens next to this position, the nearest first

Draws are without replacement. A token that two samplers choose is tried once.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.sequence_costs import FILL


class Places(NamedTuple):
    """C cells, those of a sentence side by side and in order."""

    sentence: Tensor  # (C,)
    position: Tensor  # (C,)


class Tokens(NamedTuple):
    """The tokens to try in each of C cells."""

    tokens: Tensor  # (C, A) ascending; any token where `tried` is False
    tried: Tensor  # (C, A) bool


class Choice(NamedTuple):
    """What a sampler may look at."""

    scores: Tensor  # (C, V) the model's, no gradient
    candidates: Tensor  # (V,) bool
    gold: Tensor  # (C, S) the gold sequence of each cell's sentence, filled with FILL
    position: Tensor  # (C,)
    eos: int | None  # None: the length is known, so no token ends a sentence
    frequencies: Tensor | None  # (V,) counts in the training data


def sample_cells(lengths: Tensor, count: int | None, ends: bool) -> Places:
    """`count` cells of each sentence, drawn evenly; all of them where `count` is None or there are no more.

    Args:
        lengths: (B,) cells of each sentence.
        count: at least 1, or None.
        ends: whether the last two cells are added: before and after the last word.
    """
    inside = torch.arange(int(lengths.max()), device=lengths.device) < lengths.unsqueeze(1)  # (B, L)
    chosen = inside
    if count is not None and count < inside.size(1):
        keys = torch.rand(inside.shape).to(lengths.device).masked_fill(~inside, -1.0)
        chosen = torch.zeros_like(inside).scatter_(1, keys.topk(count, dim=1).indices, True)
        if ends:
            chosen |= torch.arange(inside.size(1), device=lengths.device) >= lengths.unsqueeze(1) - 2
        chosen &= inside
    return Places(*chosen.nonzero(as_tuple=True))


def sample_tokens(mixture: Mapping[str, int], choice: Choice) -> Tokens:
    """The union of what each sampler chooses, the gold token, and the end of sentence where there is one.

    Args:
        mixture: sampler -> how many tokens; empty for all candidates.

    Raises:
        ValueError: an unknown sampler, a count below 1 or above the number of candidates, or no `frequencies` for
            `corpus`.
    """
    cells = torch.arange(len(choice.position), device=choice.scores.device)
    if not mixture:
        chosen = choice.candidates.expand(choice.scores.shape).clone()
    else:
        chosen = torch.zeros(choice.scores.shape, dtype=torch.bool, device=choice.scores.device)
    for name, count in mixture.items():
        if name not in SAMPLERS:
            raise ValueError(f"`mixture` must name samplers of {', '.join(SAMPLERS)}, got {name}")
        if not 1 <= count <= int(choice.candidates.sum()):
            raise ValueError(f"the count of {name} must be in [1, {int(choice.candidates.sum())}], got {count}")
        chosen |= SAMPLERS[name](choice, count)
    gold = gold_tokens(choice)
    chosen[cells[gold != FILL], gold[gold != FILL]] = True
    if choice.eos is not None:
        chosen[:, choice.eos] = True
    return compact(chosen)


def compact(chosen: Tensor) -> Tokens:
    """From a mask (C, V) to the tokens of each cell, as narrow as can be."""
    cell, token = chosen.nonzero(as_tuple=True)
    counts = chosen.sum(dim=1)
    column = torch.arange(len(cell), device=cell.device) - (counts.cumsum(0) - counts)[cell]
    tokens = torch.zeros(len(chosen), int(counts.max()), dtype=torch.long, device=cell.device)
    tokens[cell, column] = token
    return Tokens(tokens, torch.arange(tokens.size(1), device=cell.device) < counts.unsqueeze(1))


def gold_tokens(choice: Choice, offset: int = 0) -> Tensor:
    """(C,) the gold token `offset` places from the cell: after the last one the end of sentence, FILL where none is."""
    place = choice.position + offset
    wide = torch.nn.functional.pad(choice.gold, (0, 1), value=FILL)
    token = wide.gather(1, place.clamp(0, wide.size(1) - 1).unsqueeze(1)).squeeze(1)
    if choice.eos is not None:
        token = torch.where(token == FILL, choice.eos, token)
    return torch.where((place >= 0) & (place < wide.size(1)) | (offset == 0), token, FILL)


def _uniform(choice: Choice, count: int) -> Tensor:
    return _draw(torch.zeros_like(choice.scores), choice, count)


def _corpus(choice: Choice, count: int) -> Tensor:
    if choice.frequencies is None:
        raise ValueError("`corpus` needs the tokens' frequencies in the training data")
    return _draw(choice.frequencies.to(choice.scores).clamp(min=1e-6).log().expand_as(choice.scores), choice, count)


def _policy(choice: Choice, count: int) -> Tensor:
    return _draw(choice.scores, choice, count)


def _biased_policy(choice: Choice, count: int) -> Tensor:
    allowed = choice.scores.masked_fill(~choice.candidates, torch.finfo(choice.scores.dtype).min)
    evenly = 1 / choice.candidates.sum()
    return _draw((0.5 * torch.softmax(allowed, dim=1) + 0.5 * evenly).log(), choice, count)


def _top_k(choice: Choice, count: int) -> Tensor:
    return _largest(choice.scores, choice, count)


def _neighbors(choice: Choice, count: int) -> Tensor:
    chosen = torch.zeros(choice.scores.shape, dtype=torch.bool, device=choice.scores.device)
    for i in range(count):
        token = gold_tokens(choice, offset=(i // 2 + 1) * (-1 if i % 2 else 1))  # 1, -1, 2, -2, ...
        rows = (token != FILL).nonzero().squeeze(1)
        chosen[rows, token[rows]] = True
    return chosen


SAMPLERS: dict[str, Callable[[Choice, int], Tensor]] = {
    "uniform": _uniform,
    "corpus": _corpus,
    "policy": _policy,
    "biased-policy": _biased_policy,
    "top-k": _top_k,
    "neighbors": _neighbors,
}


def _draw(log_weights: Tensor, choice: Choice, count: int) -> Tensor:
    """A mask of `count` candidates a cell, drawn without replacement: the largest after adding Gumbel noise."""
    noise = -torch.log(-torch.log(torch.rand(log_weights.shape).clamp(1e-20, 1 - 1e-7)))
    return _largest(log_weights + noise.to(log_weights), choice, count)


def _largest(keys: Tensor, choice: Choice, count: int) -> Tensor:
    keys = keys.masked_fill(~choice.candidates, -torch.inf)
    chosen = torch.zeros(keys.shape, dtype=torch.bool, device=keys.device)
    return chosen.scatter_(1, keys.topk(count, dim=1).indices, True)
