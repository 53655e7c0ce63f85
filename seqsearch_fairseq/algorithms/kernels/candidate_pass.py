"""The candidate pass in Triton: one read of the logits, in the type that the output layer's product has.

The vocabulary of each row is cut into tiles of neighbouring tokens. One program reads a block of tiles of one row, and
leaves of it

    the largest z + d_t(v) among the candidates of each tile        (d_t only where the search is cost-augmented)
    the largest z of the block, and the logsumexp of z

A second, small kernel merges the blocks of a row into its log normaliser `Z`, and shifts the maxima of its tiles by
`s - Z`, so that they are scores S. These tiles are the groups of a `GroupedRanking`: the K best candidates lie in the K
tiles whose maxima are largest, and whatever scores more than a bound lies in tiles whose maxima do. A third kernel
reads the candidates of these few tiles. So the large read needs no top-K of its own, which would take K turns through
each block, and the number of near candidates need not be known before it.

S is `(z + d) + (s - Z)` in every kernel, in this order: adding the same number keeps an order, so a tile's maximum is
exactly its best candidate's score.

E_p[W] is left to cuBLAS, whose product runs at the rate of the hardware. Another kernel writes the weights
exp(z - max z) for it in the product's own type, and only for the steps that need them. Numbers are float32 in the
kernels, float64 where the logits are.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from seqsearch_fairseq.algorithms.choice import Beams
from seqsearch_fairseq.algorithms.kernels.types import NOTHING, TYPES
from seqsearch_fairseq.algorithms.kernels.whole import TritonWhole
from seqsearch_fairseq.algorithms.nearest import Best, GroupedRanking
from seqsearch_fairseq.algorithms.scored import Run, costs_at, total_scores
from seqsearch_fairseq.algorithms.whole_choice import TorchWhole, Whole

BLOCK = 2048  # tokens of a row that a program of the large kernel reads
AT_ONCE = 512  # candidates that a program of the kernel of few tiles reads
SMALLEST, LARGEST = 16, 128  # tokens of a tile
SHARE = 16  # the more tiles, the more maxima to go through; the fewer, the more candidates that are sorted


# --------------------------------------------------------------------------------------------------------- the kernels


@triton.jit
def _scores_of(
    row, tokens, inside, logits, candidates, costs, vocabulary, width, AUGMENTED: tl.constexpr, REAL: tl.constexpr
):
    """The logits z of some tokens of a row, -inf outside; and z + d_t(v), -inf for what is no candidate."""
    z = tl.load(logits + row * vocabulary + tokens, mask=inside, other=NOTHING).to(REAL)
    allowed = tl.load(candidates + tokens, mask=inside, other=0) != 0
    scores = z
    if AUGMENTED:
        scores += tl.load(costs + (row // width) * vocabulary + tokens, mask=inside, other=0.0).to(REAL)
    return z, tl.where(allowed, scores, NOTHING)


@triton.jit
def _survey(
    logits, candidates, costs,  # (N, V), (V,), (B, V)
    maxima, largest, sums,  # (N, tiles), (N, blocks), (N, blocks)
    vocabulary, width, tiles, blocks,
    NORMALIZED: tl.constexpr, AUGMENTED: tl.constexpr, TILES: tl.constexpr, TILE: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """Of one block of one row. The grid is (N, blocks)."""
    row, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    tile = block * TILES + tl.arange(0, TILES)
    tokens = tile[:, None] * TILE + tl.arange(0, TILE)[None, :]
    inside = tokens < vocabulary
    z, scores = _scores_of(row, tokens, inside, logits, candidates, costs, vocabulary, width, AUGMENTED, REAL)
    if NORMALIZED:
        top = tl.max(tl.max(z, axis=1), axis=0)
        finite = tl.where(top == NOTHING, 0.0, top)
        total = tl.sum(tl.sum(tl.exp(z - finite), axis=1), axis=0)
        tl.store(largest + row * blocks + block, top)
        tl.store(sums + row * blocks + block, finite + tl.log(total))
    not_a_number = tl.max((scores != scores).to(tl.int32), axis=1) > 0  # a maximum of Triton's passes over it
    best = tl.where(not_a_number, float("nan"), tl.max(scores, axis=1))
    tl.store(maxima + row * tiles + tile, best, mask=tile < tiles)


@triton.jit
def _merge(
    largest, sums, maxima, scores, live,  # (N, blocks), (N, blocks), (N, tiles), (N,), (N,)
    log_z, tops, shifts,  # (N,) each
    tiles, blocks,
    NORMALIZED: tl.constexpr, BLOCKS: tl.constexpr, TILES: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """Of all blocks of one row. The grid is (N,)."""
    row = tl.program_id(0).to(tl.int64)
    shift = tl.load(scores + row).to(REAL)
    if NORMALIZED:
        block = tl.arange(0, BLOCKS)
        here = row * blocks + block
        top = tl.max(tl.load(largest + here, mask=block < blocks, other=NOTHING), axis=0)
        parts = tl.load(sums + here, mask=block < blocks, other=NOTHING)
        most = tl.max(parts, axis=0)
        normaliser = most + tl.log(tl.sum(tl.exp(parts - most), axis=0))
        tl.store(log_z + row, normaliser)
        tl.store(tops + row, top)
        shift -= normaliser
    shift = tl.where(tl.load(live + row) != 0, shift, NOTHING)  # a dead beam has no candidates
    tl.store(shifts + row, shift)
    for begin in range(0, tiles, TILES):
        tile = begin + tl.arange(0, TILES)
        there = maxima + row * tiles + tile
        tl.store(there, tl.load(there, mask=tile < tiles, other=NOTHING) + shift, mask=tile < tiles)


@triton.jit
def _members(
    groups, logits, candidates, costs, shifts,  # (B, G), (N, V), (V,), (B, V), (N,)
    found, places,  # (B, G * TILE)
    vocabulary, width, tiles, count,
    AUGMENTED: tl.constexpr, TILES: tl.constexpr, TILE: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """All candidates of some of the G tiles of a sentence. The grid is (B, G / TILES)."""
    sentence, at = tl.program_id(0).to(tl.int64), tl.program_id(1) * TILES + tl.arange(0, TILES)
    slot, here = sentence * count + at, at < count
    group = tl.load(groups + slot, mask=here, other=0)
    lane, row = tl.arange(0, TILE)[None, :], sentence * width + group // tiles
    tokens = (group % tiles)[:, None] * TILE + lane
    inside = here[:, None] & (tokens < vocabulary)
    z, scores = _scores_of(row[:, None], tokens, inside, logits, candidates, costs, vocabulary, width, AUGMENTED, REAL)
    scores += tl.load(shifts + row, mask=here, other=0.0)[:, None]
    there = slot[:, None] * TILE + lane
    tl.store(found + there, scores, mask=here[:, None])
    place = (group // tiles)[:, None] * vocabulary + tl.minimum(tokens, vocabulary - 1)
    tl.store(places + there, place, mask=here[:, None])


@triton.jit
def _exponentials(logits, tops, exponentials, vocabulary, BLOCK: tl.constexpr, REAL: tl.constexpr):
    """`exp(z - max z)`. The grid is (N, V / BLOCK)."""
    row, tokens = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    here, inside = row * vocabulary + tokens, tokens < vocabulary
    z = tl.load(logits + here, mask=inside, other=NOTHING).to(REAL)
    weights = tl.exp(z - tl.load(tops + row))
    tl.store(exponentials + here, weights.to(exponentials.dtype.element_ty), mask=inside)


KERNELS = _survey, _merge, _members, _exponentials

# ----------------------------------------------------------------------------------------------------- what calls them


class TritonPass:
    """See `CandidatePass`."""

    def __init__(self, run: Run, features: Tensor, beams: Beams):
        self._run, self._beams = run, beams
        logits = run.output.product(features)
        self._costs = costs_at(run, beams).contiguous() if run.settings.cost_augmented else None
        self._real = torch.promote_types(run.output.accumulated, beams.scores.dtype)
        rows, vocabulary = logits.shape
        tile = tile_size(run.settings.width * vocabulary)
        tiles = triton.cdiv(vocabulary, tile)
        in_block = triton.next_power_of_2(min(tiles, BLOCK // tile))
        blocks = triton.cdiv(tiles, in_block)
        flags = {"NORMALIZED": run.output.normalized, "REAL": TYPES[self._real]}

        maxima = self._empty(logits, rows, tiles)
        largest, sums = self._empty(logits, rows, blocks), self._empty(logits, rows, blocks)
        read = logits, run.settings.candidates.view(torch.uint8), logits if self._costs is None else self._costs
        _survey[(rows, blocks)](
            *read, maxima, largest, sums, vocabulary, run.settings.width, tiles, blocks,
            **flags, AUGMENTED=self._costs is not None, TILES=in_block, TILE=tile,
        )  # fmt: skip
        log_z, tops, shifts = (self._empty(logits, rows) for _ in range(3))
        scores, live = beams.scores.detach().contiguous(), beams.live.contiguous().view(torch.uint8)
        _merge[(rows,)](
            largest, sums, maxima, scores, live, log_z, tops, shifts, tiles, blocks,
            **flags, BLOCKS=triton.next_power_of_2(blocks), TILES=min(1024, triton.next_power_of_2(tiles)),
        )  # fmt: skip
        self._logits, self._tops, self._shifts = logits, tops, shifts
        self.log_z = log_z if run.output.normalized else None
        self.ranking = _Tiles(maxima.view(len(beams.scores), -1), read, shifts, tiles, tile, self._costs is not None)

    def _empty(self, like: Tensor, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=self._real, device=like.device)

    def mean_output_rows(self) -> Tensor:
        assert self.log_z is not None
        rows, vocabulary = self._logits.shape
        weights = torch.empty_like(self._logits)
        block = min(BLOCK, triton.next_power_of_2(vocabulary))
        grid = rows, triton.cdiv(vocabulary, block)
        _exponentials[grid](self._logits, self._tops, weights, vocabulary, BLOCK=block, REAL=TYPES[self._real])
        return self._run.output.times_weight(weights).to(self._real) / (self.log_z - self._tops).exp_().unsqueeze(1)

    def whole(self) -> Whole:
        if self._run.settings.top_k == "squared-distance":
            return TritonWhole(self._run, self._beams, self._logits, self._shifts)
        total = total_scores(self._run, self._logits.to(self._real), self.log_z, self._beams)
        return TorchWhole(self._run, self._beams, total.flatten(1))


class _Tiles(GroupedRanking):
    """The groups are the tiles of all rows of a sentence: group `i * tiles + t` is tile t of row i."""

    def __init__(self, maxima: Tensor, read: tuple, shifts: Tensor, tiles: int, tile: int, augmented: bool):
        super().__init__(maxima)  # (B, K * tiles)
        self._read, self._shifts = read, shifts
        self._tiles, self._tile, self._augmented = tiles, tile, augmented

    def _members(self, groups: Tensor) -> Best:
        batch, count = groups.shape
        scores = self._shifts.new_empty(batch, count * self._tile)
        places = torch.empty_like(scores, dtype=torch.int64)
        width, vocabulary = self._maxima.size(1) // self._tiles, self._read[0].size(1)
        at_once = AT_ONCE // self._tile
        _members[(batch, triton.cdiv(count, at_once))](
            groups.contiguous(), *self._read, self._shifts, scores, places, vocabulary, width, self._tiles, count,
            AUGMENTED=self._augmented, TILES=at_once, TILE=self._tile, REAL=TYPES[scores.dtype],
        )  # fmt: skip
        return Best(scores, places)


def tile_size(n: int) -> int:
    """How many tokens a tile has, of n candidates: tiles are about `SHARE` times as many, up to a power of two."""
    return min(LARGEST, max(SMALLEST, triton.next_power_of_2(math.isqrt(n // SHARE))))
