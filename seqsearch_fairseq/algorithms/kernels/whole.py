"""The choice among all K * V candidates in Triton, and its gradient, for `squared-distance`: see `whole_choice.py`.

The anchor m_j is itself a candidate, so the denominator of P_j holds a term of 1, and `exp(-alpha * (S - m_j)^2)` is
safe without looking for a maximum first. So one read of the logits gives all sums: a program takes a block of the
vocabulary and goes through the K rows of a sentence. It leaves, for each j and not yet divided by the denominator,

    the token weights a_j[v]        the sums of each row i, b_j[i]        the sums of P_j * S and of a_j[v] d_t(v)

The product with the embedding is left to cuBLAS. The backward pass needs `sum P_j * (its gradient)` before anything
else. That is the product of the averages and their gradients, which are K + 2 + E numbers, and takes no read. Then one
read of the logits gives the gradient of the scores, and a second one takes the normalisers' part off it.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from seqsearch_fairseq.algorithms.choice import Beams
from seqsearch_fairseq.algorithms.kernels.types import NOTHING, TYPES
from seqsearch_fairseq.algorithms.scored import Run, costs_at
from seqsearch_fairseq.algorithms.whole_choice import Averages, Back, times

NUMBERS = 2048  # that a program holds of each of its tensors (K, block): with more an H100 runs out of registers
LARGEST = 1024  # tokens of a block


# --------------------------------------------------------------------------------------------------------- the kernels


@triton.jit
def _row_of(row, tokens, inside, logits, shifts, vocabulary, costs, AUGMENTED: tl.constexpr, REAL: tl.constexpr):
    """The scores S of some tokens of a row, and whether they are candidates' (0 where not)."""
    scores = tl.load(logits + row * vocabulary + tokens, mask=inside, other=NOTHING).to(REAL)
    if AUGMENTED:
        scores += costs
    scores += tl.load(shifts + row)
    here = inside & (scores != NOTHING)  # what is no number stays, to be seen in the loss
    return tl.where(here, scores, 0.0), here


@triton.jit
def _weigh(
    logits, candidates, costs, shifts, anchors, alpha,  # (N, V), (V,), (B, V), (N,), (B, K), (1,)
    weights, masses, sums,  # (B, K, V), (B, blocks, K rows, K), (B, blocks, 2, K)
    vocabulary, blocks,
    AUGMENTED: tl.constexpr, BEAMS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """Of one block of the vocabulary. The grid is (B, blocks). WIDE is K, up to a power of two."""
    sentence, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    tokens, j = block * BLOCK + tl.arange(0, BLOCK), tl.arange(0, WIDE)
    inside, is_j = tokens < vocabulary, j < BEAMS
    allowed = inside & (tl.load(candidates + tokens, mask=inside, other=0) != 0)
    cost = tl.load(costs + sentence * vocabulary + tokens, mask=inside, other=0.0).to(REAL)
    anchor = tl.load(anchors + sentence * BEAMS + j, mask=is_j, other=0.0)[:, None]
    sharpness, part = tl.load(alpha), (sentence * blocks + block) * BEAMS
    total, means = tl.zeros([WIDE, BLOCK], dtype=REAL), tl.zeros([WIDE], dtype=REAL)
    for i in range(BEAMS):
        row = sentence * BEAMS + i
        scores, here = _row_of(row, tokens, allowed, logits, shifts, vocabulary, cost, AUGMENTED, REAL)
        gap = scores[None, :] - anchor
        shares = tl.where(here[None, :], tl.exp(-sharpness * gap * gap), 0.0)
        total += shares
        means += tl.sum(shares * scores[None, :], axis=1)
        tl.store(masses + (part + i) * BEAMS + j, tl.sum(shares, axis=1), mask=is_j)
    paid = tl.sum(total * cost[None, :], axis=1)
    tl.store(sums + 2 * part + j, means, mask=is_j)
    tl.store(sums + 2 * part + BEAMS + j, paid, mask=is_j)
    there = (sentence * BEAMS + j)[:, None] * vocabulary + tokens[None, :]
    tl.store(weights + there, total, mask=is_j[:, None] & inside[None, :])


@triton.jit
def _weigh_back(
    logits, candidates, costs, shifts, anchors, alpha,  # as above
    inverses, of_sums, of_means, of_costs, of_beams, of_tokens,  # (B, K) four times, (B, K, K rows), (B, K, V)
    weights, of_total, of_anchors, of_scores,  # (B, K, V), (N, V), (B, blocks, K), (B, blocks, K rows)
    vocabulary, blocks,
    AUGMENTED: tl.constexpr, BEAMS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """The gradient of the scores S, that of the anchors in parts, and the token weights. The grid is (B, blocks)."""
    sentence, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    tokens, j = block * BLOCK + tl.arange(0, BLOCK), tl.arange(0, WIDE)
    inside, is_j, at = tokens < vocabulary, j < BEAMS, sentence * BEAMS + j
    allowed = inside & (tl.load(candidates + tokens, mask=inside, other=0) != 0)
    cost = tl.load(costs + sentence * vocabulary + tokens, mask=inside, other=0.0).to(REAL)
    anchor = tl.load(anchors + at, mask=is_j, other=0.0)[:, None]
    inverse = tl.load(inverses + at, mask=is_j, other=0.0)[:, None]  # 0 gives no weight to what is beyond K
    of_mean = tl.load(of_means + at, mask=is_j, other=0.0)[:, None]
    there, stored = at[:, None] * vocabulary + tokens[None, :], is_j[:, None] & inside[None, :]
    known = tl.load(of_tokens + there, mask=stored, other=0.0)
    known += tl.load(of_costs + at, mask=is_j, other=0.0)[:, None] * cost[None, :]
    known -= tl.load(of_sums + at, mask=is_j, other=0.0)[:, None]
    sharpness, part = tl.load(alpha), (sentence * blocks + block) * BEAMS
    total, of_anchor = tl.zeros([WIDE, BLOCK], dtype=REAL), tl.zeros([WIDE], dtype=REAL)
    for i in range(BEAMS):
        row = sentence * BEAMS + i
        scores, here = _row_of(row, tokens, allowed, logits, shifts, vocabulary, cost, AUGMENTED, REAL)
        gap = scores[None, :] - anchor
        shares = tl.where(here[None, :], tl.exp(-sharpness * gap * gap), 0.0) * inverse
        total += shares
        of_beam = tl.load(of_beams + at * BEAMS + i, mask=is_j, other=0.0)[:, None]
        of_gap = (known + of_beam + of_mean * scores[None, :]) * shares * gap * (-2 * sharpness)
        of_anchor -= tl.sum(of_gap, axis=1)
        of_row = tl.sum(of_gap + of_mean * shares, axis=0)
        tl.store(of_total + row * vocabulary + tokens, of_row, mask=inside)
        tl.store(of_scores + part + i, tl.sum(of_row, axis=0))
    tl.store(of_anchors + part + j, of_anchor, mask=is_j)
    tl.store(weights + there, total, mask=stored)


@triton.jit
def _without_normaliser(of_logits, logits, log_z, of_log_z, vocabulary, BLOCK: tl.constexpr, REAL: tl.constexpr):
    """`of_logits -= exp(z - Z) * of_log_z`, in place. The grid is (N, V / BLOCK)."""
    row, tokens = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    here, inside = row * vocabulary + tokens, tokens < vocabulary
    z = tl.load(logits + here, mask=inside, other=NOTHING).to(REAL)
    share = tl.exp(z - tl.load(log_z + row)) * tl.load(of_log_z + row)
    tl.store(of_logits + here, tl.load(of_logits + here, mask=inside, other=0.0) - share, mask=inside)


KERNELS = _weigh, _weigh_back, _without_normaliser


# ----------------------------------------------------------------------------------------------------- what calls them


class TritonWhole:
    """See `whole_choice.Whole`."""

    def __init__(self, run: Run, beams: Beams, logits: Tensor, shifts: Tensor):
        """From the logits (N, V) in whatever type, and what makes scores of them, -inf where a beam is dead: (N,)."""
        self._run, self._beams, self._logits, self._shifts = run, beams, logits, shifts

    def averages(self, places: Tensor, anchors: Tensor) -> Averages:
        run, shifts = self._run, self._shifts
        batch, width = anchors.shape
        vocabulary, real = self._logits.size(1), shifts.dtype
        sizes, blocks = _sizes(run, vocabulary, real)
        weights = shifts.new_empty(batch, width, vocabulary)
        masses, sums = shifts.new_empty(batch, blocks, width, width), shifts.new_empty(batch, blocks, 2, width)
        read = _read(run, self._beams, self._logits, shifts, anchors)
        _weigh[(batch, blocks)](*read, weights, masses, sums, vocabulary, blocks, **sizes)
        mass = masses.sum(dim=1)  # (B, K rows, K)
        denominators = mass.sum(dim=1).unsqueeze(2)  # (B, K, 1)
        values = [mass.mT, sums.sum(dim=1).mT, times(weights, run.table)]
        averages = torch.cat(values, dim=2) / denominators
        return Averages(averages, places, (averages, denominators, anchors))

    @staticmethod
    def back(
        run: Run, beams: Beams, features: Tensor, log_z: Tensor | None, places: Tensor, kept: tuple, of_averages: Tensor
    ) -> Back:
        averages, denominators, anchors = kept
        batch, width = anchors.shape
        logits = run.output.product(features)
        vocabulary, real = logits.size(1), anchors.dtype
        sizes, blocks = _sizes(run, vocabulary, real)
        shifts = beams.scores if log_z is None else beams.scores - log_z.view(batch, width)
        shifts = shifts.masked_fill(~beams.live, -torch.inf)
        of_beams, of_means, of_costs, of_inputs = of_averages.split([width, 1, 1, run.table.size(1)], dim=2)
        of_sums = (of_averages * averages).sum(dim=2)
        given = denominators.reciprocal(), of_sums, of_means, of_costs, of_beams, times(of_inputs, run.table.T)
        weights, of_logits = shifts.new_empty(batch, width, vocabulary), shifts.new_empty(batch * width, vocabulary)
        of_anchors, of_scores = shifts.new_empty(batch, blocks, width), shifts.new_empty(batch, blocks, width)
        read = _read(run, beams, logits, shifts, anchors)
        made = weights, of_logits, of_anchors, of_scores
        _weigh_back[(batch, blocks)](*read, *(one.contiguous() for one in given), *made, vocabulary, blocks, **sizes)
        of_anchor, of_score = of_anchors.sum(dim=1), of_scores.sum(dim=1)
        of_logits.view(batch, -1).scatter_add_(1, places, of_anchor)
        of_score = of_score.scatter_add(1, places // vocabulary, of_anchor).flatten()
        if log_z is not None:
            grid = len(logits), triton.cdiv(vocabulary, LARGEST)
            _without_normaliser[grid](of_logits, logits, log_z, of_score, vocabulary, BLOCK=LARGEST, REAL=TYPES[real])
        return Back(of_logits, of_score, weights, of_inputs)


def _read(run: Run, beams: Beams, logits: Tensor, shifts: Tensor, anchors: Tensor) -> tuple:
    """What both large kernels read."""
    sharpness = torch.full((1,), run.settings.alpha, dtype=shifts.dtype, device=shifts.device)  # a number is float32
    candidates, costs = run.settings.candidates.view(torch.uint8), costs_at(run, beams).contiguous()
    return logits, candidates, costs, shifts.contiguous(), anchors.contiguous(), sharpness


def _sizes(run: Run, vocabulary: int, real: torch.dtype) -> tuple[dict, int]:
    """What is compiled into a kernel, and how many blocks there are."""
    width = run.settings.width
    wide = triton.next_power_of_2(width)
    block = max(16, min(LARGEST, NUMBERS // wide, triton.next_power_of_2(vocabulary)))
    sizes = {"AUGMENTED": run.settings.cost_augmented, "BEAMS": width, "WIDE": wide, "BLOCK": block}
    return sizes | {"REAL": TYPES[real]}, triton.cdiv(vocabulary, block)
