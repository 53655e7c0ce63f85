"""What a finished sequence costs against a gold one: the costs of SEARNN, over many roll-outs at once.

A sequence is a row of tokens (T,) that is filled with `FILL` after its end; the end-of-sentence symbol is not part of
it. R roll-outs, each with the gold sequence of its sentence, give R costs. A new cost is one more function and one
entry in `SEQUENCE_COSTS`.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.edit_distance import edit_table
from seqsearch_fairseq.algorithms.sequences import FILL, sequence_lengths

MAX_ORDER = 4  # n-grams of BLEU-4 and of GLEU

SequenceCost = Callable[[Tensor, Tensor], Tensor]  # found (R, T), gold (R, S) -> (R,) float64


def hamming_distance(found: Tensor, gold: Tensor) -> Tensor:
    """Positions that differ: (R,). After a sequence's end each position holds the end of sentence."""
    found, gold = _same_width(found, gold)
    return found.ne(gold).sum(dim=1).double()


def normalised_hamming(found: Tensor, gold: Tensor) -> Tensor:
    """Positions that differ, divided by the gold length: (R,)."""
    return hamming_distance(found, gold) / sequence_lengths(gold).clamp(min=1)


def edit_distance(found: Tensor, gold: Tensor) -> Tensor:
    """Levenshtein distance divided by the gold length: (R,); not bounded by 1."""
    gold_lengths = sequence_lengths(gold)
    distance = edit_table(found, gold).gather(1, gold_lengths.unsqueeze(1)).squeeze(1)
    return distance.double() / gold_lengths.clamp(min=1)


def one_minus_bleu(found: Tensor, gold: Tensor) -> Tensor:
    """1 - sentence BLEU up to 4-grams: (R,). See `bleu_cost`."""
    return bleu_cost(all_matches(found, gold), sequence_lengths(found), sequence_lengths(gold))


def one_minus_bleu_1(found: Tensor, gold: Tensor) -> Tensor:
    """1 - unigram precision with the brevity penalty: (R,)."""
    return bleu_1_cost(all_matches(found, gold, 1), sequence_lengths(found), sequence_lengths(gold))


def one_minus_gleu(found: Tensor, gold: Tensor) -> Tensor:
    """1 - GLEU (Wu et al. 2016): (R,). See `gleu_cost`."""
    return gleu_cost(all_matches(found, gold), sequence_lengths(found), sequence_lengths(gold))


def bleu_cost(matches: Tensor, found_lengths: Tensor, gold_lengths: Tensor) -> Tensor:
    """1 - BLEU from the n-grams that match.

    With the brevity penalty, and smoothed by adding one to matches and totals of n > 1 (Lin & Och 2004), as sacrebleu's
    `add-k` does it: an order that the found sequence is too short for counts as matched. Without a matching token: 1.

    Args:
        matches: (..., n) float64, how many 1-grams, 2-grams, ... match.
        found_lengths: (...) integer, or what broadcasts with it.
        gold_lengths: likewise.
    """
    order = matches.size(-1)
    smooth = (torch.arange(order, device=matches.device) > 0).double()
    totals = ngram_totals(found_lengths, order).double() + smooth
    logs = ((matches + smooth) / totals.clamp(min=1)).clamp(min=1e-300).log().sum(dim=-1)
    brevity = (1 - gold_lengths.double() / found_lengths.clamp(min=1)).clamp(max=0)
    return torch.where(matches[..., 0] > 0, 1 - (logs / order + brevity).exp(), 1.0)


def bleu_1_cost(matches: Tensor, found_lengths: Tensor, gold_lengths: Tensor) -> Tensor:
    """`bleu_cost` of the 1-grams alone."""
    return bleu_cost(matches[..., :1], found_lengths, gold_lengths)


def gleu_cost(matches: Tensor, found_lengths: Tensor, gold_lengths: Tensor) -> Tensor:
    """1 - GLEU: n-grams of 1 to 4 that match, by the larger of both totals. Arguments as in `bleu_cost`."""
    totals = [ngram_totals(lengths, matches.size(-1)).sum(dim=-1) for lengths in (found_lengths, gold_lengths)]
    return 1 - matches.sum(dim=-1) / torch.maximum(*totals).clamp(min=1)


def ngram_totals(lengths: Tensor, order: int) -> Tensor:
    """How many 1-grams, 2-grams, ... sequences of these lengths (...) have: (..., order)."""
    return (lengths.unsqueeze(-1) - torch.arange(order, device=lengths.device)).clamp(min=0)


def all_matches(found: Tensor, gold: Tensor, order: int = MAX_ORDER) -> Tensor:
    """`ngram_matches` for n = 1 ... order: (R, order)."""
    return torch.stack([ngram_matches(found, gold, n) for n in range(1, order + 1)], dim=1)


def ngram_matches(found: Tensor, gold: Tensor, n: int) -> Tensor:
    """How many n-grams of `found` are in `gold`, each as often as there: (R,) float64.

    The i-th n-gram of `found` counts if `gold` holds it at least as often as `found` does up to i.
    """
    if found.size(1) < n or gold.size(1) < n:
        return torch.zeros(len(found), dtype=torch.float64, device=found.device)
    ours, theirs = found.unfold(1, n, 1), gold.unfold(1, n, 1)  # (R, windows, n)
    whole = ours.ne(FILL).all(dim=2)
    in_gold = ngrams_agree(ours, theirs).sum(dim=2)  # (R, windows of found)
    so_far = ngrams_agree(ours, ours).tril().sum(dim=2)
    return ((so_far <= in_gold) & whole).sum(dim=1).double()


SEQUENCE_COSTS: dict[str, SequenceCost] = {
    "hamming": hamming_distance,
    "normalised-hamming": normalised_hamming,
    "edit": edit_distance,
    "bleu": one_minus_bleu,
    "bleu-1": one_minus_bleu_1,
    "gleu": one_minus_gleu,
}


# Costs that n-gram matches decide, and how: (matches, lengths found, gold lengths) -> cost.
COSTS_OF_MATCHES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "bleu": bleu_cost,
    "bleu-1": bleu_1_cost,
    "gleu": gleu_cost,
}


class _Chunks(NamedTuple):
    starts: Tensor  # (R, T) bool: a chunk starts here
    kinds: Tensor  # (R, T) the type of the chunk that holds this place, or OUTSIDE
    ends: Tensor  # (R, T) the place after that chunk's last


class ChunkLabels:
    """Which label begins or continues which type of chunk: `B-` and `I-` labels, and `O`.

    Raises:
        ValueError: a label that is none of these.
    """

    OUTSIDE = -1

    def __init__(self, labels: list[str | None]):
        """Of the label of each token, None for tokens that are never output."""
        types: dict[str, int] = {}
        begins, kinds = [], []
        for label in labels:
            prefix, _, name = (label or "O").partition("-")
            if (prefix, bool(name)) not in (("O", False), ("B", True), ("I", True)):
                raise ValueError(f"chunk F1 needs BIO labels (O, B-TYPE, I-TYPE), got {label!r}")
            begins.append(prefix == "B")
            kinds.append(types.setdefault(name, len(types)) if name else self.OUTSIDE)
        self.begins, self.kinds = torch.tensor(begins), torch.tensor(kinds)
        self.outside = labels.index("O") if "O" in labels else None
        beginning = {label[2:]: i for i, label in enumerate(labels) if label and label.startswith("B-")}
        self.beginning = torch.tensor([beginning.get((label or "")[2:], i) for i, label in enumerate(labels)])

    def one_minus_f1(self, found: Tensor, gold: Tensor) -> Tensor:
        """1 - F1 of the chunks of two label sequences of equal length: (R,); 0 where neither has a chunk."""
        found, gold = _same_width(found, gold)
        ours, theirs = self._chunks(found), self._chunks(gold)
        right = (ours.starts & theirs.starts & ours.kinds.eq(theirs.kinds) & ours.ends.eq(theirs.ends)).sum(dim=1)
        total = ours.starts.sum(dim=1) + theirs.starts.sum(dim=1)
        return torch.where(total > 0, 1 - 2 * right / total.clamp(min=1).double(), 0.0)

    def completed(self, prefixes: Tensor, gold: Tensor) -> Tensor:
        """Each prefix (R, L), continued to the gold's length so that chunk F1 is largest: (R, max(L, S)).

        What follows the prefix is copied, but for the gold's chunk that the prefix's end lies in: it is finished if the
        prefix has it right so far, and otherwise left out (`O`), which ends whatever chunk is open.
        """
        prefixes, gold = _same_width(prefixes, gold)
        places = torch.arange(gold.size(1), device=gold.device)
        sides = [self._chunks(prefixes), self._chunks(gold)]
        starts = [torch.where(side.starts, places, -1).cummax(dim=1).values for side in sides]  # of the chunk so far
        lengths = sequence_lengths(prefixes).unsqueeze(1)
        last, following = (lengths - 1).clamp(min=0), lengths.clamp(max=gold.size(1) - 1)  # (R, 1) places

        (kind, gold_kind), (start, gold_start) = (
            [rows.gather(1, last) for rows in column] for column in ([side.kinds for side in sides], starts)
        )
        gold_goes_on = ~sides[1].starts.gather(1, following) & sides[1].kinds.gather(1, following).ne(self.OUTSIDE)
        right = kind.eq(gold_kind) & start.eq(gold_start)
        left_out = gold_goes_on & ~right & (places < sides[1].ends.gather(1, last)) & gold.ne(FILL)
        copied = gold
        if self.outside is not None:
            copied = torch.where(left_out, self.outside, copied)
        begin = self.beginning.to(gold.device)[gold.clamp(min=0)]  # a chunk that begins right after one of its type
        copied = torch.where((places == lengths) & ~gold_goes_on & gold.ne(FILL), begin, copied)
        return torch.where((places < lengths) | (lengths == 0), torch.where(lengths == 0, gold, prefixes), copied)

    def _chunks(self, labels: Tensor) -> "_Chunks":
        inside = labels.ne(FILL)
        kinds = torch.where(inside, self.kinds.to(labels.device)[labels.clamp(min=0)], self.OUTSIDE)
        begins = self.begins.to(labels.device)[labels.clamp(min=0)] & inside
        before = torch.nn.functional.pad(kinds[:, :-1], (1, 0), value=self.OUTSIDE)
        starts = kinds.ne(self.OUTSIDE) & (begins | kinds.ne(before))
        width = labels.size(1)
        places = torch.arange(width, device=labels.device)
        breaks = starts | kinds.eq(self.OUTSIDE)  # a chunk ends before the next of these
        after = torch.where(breaks, places, width).flip(1).cummin(dim=1).values.flip(1)  # the next break from here on
        ends = torch.nn.functional.pad(after[:, 1:], (0, 1), value=width)
        return _Chunks(starts, kinds, ends)


def _same_width(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    width = max(first.size(1), second.size(1))
    pad = torch.nn.functional.pad
    return tuple(pad(rows, (0, width - rows.size(1)), value=FILL) for rows in (first, second))  # type: ignore


def ngrams_agree(first: Tensor, second: Tensor) -> Tensor:
    """Which n-grams (R, I, n) and (R, J, n) agree: (R, I, J) bool."""
    agree = first[:, :, None, 0] == second[:, None, :, 0]
    for k in range(1, first.size(2)):
        agree &= first[:, :, None, k] == second[:, None, :, k]
    return agree
