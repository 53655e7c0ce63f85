"""What a finished sequence costs against a gold one: the costs of SEARNN, over many roll-outs at once.

A sequence is a row of tokens (T,) that is filled with `FILL` after its end; the end-of-sentence symbol is not part of
it. R roll-outs, each with the gold sequence of its sentence, give R costs. A new cost is one more function and one
entry in `SEQUENCE_COSTS`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

FILL = -1
MAX_ORDER = 4  # n-grams of BLEU-4 and of GLEU

SequenceCost = Callable[[Tensor, Tensor], Tensor]  # found (R, T), gold (R, S) -> (R,) float64


def hamming_distance(found: Tensor, gold: Tensor) -> Tensor:
    """Positions that differ: (R,). After a sequence's end each position holds the end of sentence."""
    found, gold = _same_width(found, gold)
    return found.ne(gold).sum(dim=1).double()


def normalised_hamming(found: Tensor, gold: Tensor) -> Tensor:
    """Positions that differ, divided by the gold length: (R,)."""
    return hamming_distance(found, gold) / _lengths(gold).clamp(min=1)


def edit_distance(found: Tensor, gold: Tensor) -> Tensor:
    """Levenshtein distance divided by the gold length: (R,); not bounded by 1.

    The usual table, one row of it for each found token: `D'[s] = min(D[s] + 1, D[s-1] + differs, D'[s-1] + 1)`, whose
    last case is a running minimum of `D'[s] - s`.
    """
    rows, width = gold.shape
    places = torch.arange(width + 1, device=gold.device)
    table = places.repeat(rows, 1)  # (R, S + 1): distances of the empty prefix of `found`
    lengths = _lengths(found)
    for t in range(found.size(1)):
        differs = gold.ne(found[:, t : t + 1]).long()
        best = torch.minimum(table[:, 1:] + 1, table[:, :-1] + differs)
        best = torch.cat([table[:, :1] + 1, best], dim=1)
        best = (best - places).cummin(dim=1).values + places
        table = torch.where((t < lengths).unsqueeze(1), best, table)
    distance = table.gather(1, _lengths(gold).unsqueeze(1)).squeeze(1)
    return distance.double() / _lengths(gold).clamp(min=1)


def one_minus_bleu(found: Tensor, gold: Tensor, order: int = MAX_ORDER) -> Tensor:
    """1 - sentence BLEU up to n-grams of `order`: (R,).

    With the brevity penalty, and smoothed by adding one to matches and totals of n > 1 (Lin & Och 2004), as sacrebleu's
    `add-k` does it: an order that the found sequence is too short for counts as matched. Without a matching token: 1.
    """
    found_lengths, gold_lengths = _lengths(found), _lengths(gold)
    logs = torch.zeros(len(found), dtype=torch.float64, device=found.device)
    matching = ngram_matches(found, gold, 1)
    for n in range(1, order + 1):
        smooth = float(n > 1)
        total = (found_lengths - n + 1).clamp(min=0).double() + smooth
        matches = (matching if n == 1 else ngram_matches(found, gold, n)) + smooth
        logs += (matches / total.clamp(min=1)).clamp(min=1e-300).log()
    brevity = (1 - gold_lengths.double() / found_lengths.clamp(min=1)).clamp(max=0)
    return torch.where(matching > 0, 1 - (logs / order + brevity).exp(), 1.0)


def one_minus_bleu_1(found: Tensor, gold: Tensor) -> Tensor:
    """1 - unigram precision with the brevity penalty: (R,)."""
    return one_minus_bleu(found, gold, order=1)


def one_minus_gleu(found: Tensor, gold: Tensor) -> Tensor:
    """1 - GLEU (Wu et al. 2016): n-grams of 1 to 4 that match, by the larger of both totals: (R,)."""
    matches = torch.zeros(len(found), dtype=torch.float64, device=found.device)
    totals = torch.zeros(2, len(found), dtype=torch.float64, device=found.device)
    for n in range(1, MAX_ORDER + 1):
        matches += ngram_matches(found, gold, n)
        for side, sequence in enumerate((found, gold)):
            totals[side] += (_lengths(sequence) - n + 1).clamp(min=0)
    return 1 - matches / totals.amax(dim=0).clamp(min=1)


def ngram_matches(found: Tensor, gold: Tensor, n: int) -> Tensor:
    """How many n-grams of `found` are in `gold`, each as often as there: (R,) float64.

    The i-th n-gram of `found` counts if `gold` holds it at least as often as `found` does up to i.
    """
    if found.size(1) < n or gold.size(1) < n:
        return torch.zeros(len(found), dtype=torch.float64, device=found.device)
    ours, theirs = found.unfold(1, n, 1), gold.unfold(1, n, 1)  # (R, windows, n)
    whole = ours.ne(FILL).all(dim=2)
    in_gold = _equal(ours, theirs).sum(dim=2)  # (R, windows of found)
    so_far = _equal(ours, ours).tril().sum(dim=2)
    return ((so_far <= in_gold) & whole).sum(dim=1).double()


SEQUENCE_COSTS: dict[str, SequenceCost] = {
    "hamming": hamming_distance,
    "normalised-hamming": normalised_hamming,
    "edit": edit_distance,
    "bleu": one_minus_bleu,
    "bleu-1": one_minus_bleu_1,
    "gleu": one_minus_gleu,
}


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

    def one_minus_f1(self, found: Tensor, gold: Tensor) -> Tensor:
        """1 - F1 of the chunks of two label sequences of equal length: (R,); 0 where neither has a chunk."""
        found, gold = _same_width(found, gold)
        (starts, kinds, ends), (gold_starts, gold_kinds, gold_ends) = self._chunks(found), self._chunks(gold)
        right = (starts & gold_starts & kinds.eq(gold_kinds) & ends.eq(gold_ends)).sum(dim=1)
        total = starts.sum(dim=1) + gold_starts.sum(dim=1)
        return torch.where(total > 0, 1 - 2 * right / total.clamp(min=1).double(), 0.0)

    def _chunks(self, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For each position: whether a chunk starts there, its type, and where the chunk that holds it ends: (R, T)."""
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
        return starts, kinds, ends


def _lengths(sequences: Tensor) -> Tensor:
    return sequences.ne(FILL).sum(dim=1)


def _same_width(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    width = max(first.size(1), second.size(1))
    pad = torch.nn.functional.pad
    return tuple(pad(rows, (0, width - rows.size(1)), value=FILL) for rows in (first, second))  # type: ignore


def _equal(first: Tensor, second: Tensor) -> Tensor:
    """Which n-grams (R, I, n) and (R, J, n) agree: (R, I, J) bool."""
    agree = first[:, :, None, 0] == second[:, None, :, 0]
    for k in range(1, first.size(2)):
        agree &= first[:, :, None, k] == second[:, None, :, k]
    return agree
