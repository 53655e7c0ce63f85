"""SEARNN (Leblond et al. 2018) written the slow and plain way: one sentence, one cell and one token at a time.

The tests compare the batched code with it; it shares no line with what it checks. A model is a table lookup:
`next_scores` gives the V scores of the token after a prefix. `gold` never holds EOS, and neither does a finished
sequence handed to a cost. `eos` is None in tagging, where the outputs have exactly len(gold) tokens and `limit` is
len(gold). Otherwise a sequence holds at most `limit` tokens with its EOS counted, and one that fills them without EOS
is finished as it is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product, zip_longest

Tokens = tuple[int, ...]
NextScores = Callable[[Tokens], Sequence[float]]
Cost = Callable[[Tokens, Tokens], float]  # cost(found, gold), both finished and without EOS


# Policies


def best_candidate(scores: Sequence[float], candidates: Sequence[int]) -> int:
    """The candidate with the highest score, the lowest token on ties."""
    highest = max(scores[token] for token in candidates)
    return min(token for token in candidates if scores[token] == highest)


def greedy(
    next_scores: NextScores,
    prefix: Tokens,
    candidates: Sequence[int],
    eos: int | None,
    limit: int,
    steps: int | None = None,
) -> tuple[Tokens, bool]:
    """Continue `prefix`, which holds no EOS, by the best candidates.

    Stops at EOS, at `limit` tokens, or once `steps` tokens (an EOS is one) were appended.

    Returns:
        The tokens without EOS, and whether the sequence is finished (by EOS or `limit`).
    """
    tokens = prefix
    appended = 0
    while len(tokens) < limit:
        if appended == steps:
            return tokens, False
        token = best_candidate(next_scores(tokens), candidates)
        if token == eos:
            return tokens, True
        tokens += (token,)
        appended += 1
    return tokens, True


def roll_in(
    next_scores: NextScores,
    gold: Tokens,
    uses_gold: Sequence[bool],
    candidates: Sequence[int],
    eos: int | None,
    limit: int,
) -> Tokens:
    """Token t is the gold one (EOS from len(gold) on) where `uses_gold[t]`, else the best candidate after those so far.

    Ends after an EOS, which is part of what is returned, or at `limit` tokens. Each position of it is one cell.
    """
    gold_and_end = gold if eos is None else gold + (eos,) * limit
    tokens: Tokens = ()
    while len(tokens) < limit:
        t = len(tokens)
        token = gold_and_end[t] if uses_gold[t] else best_candidate(next_scores(tokens), candidates)
        tokens += (token,)
        if token == eos:
            break
    return tokens


# Reference policies: what the sequence costs if the rest of it is chosen knowing the gold tokens


def complete_copy(prefix: Tokens, gold: Tokens) -> Tokens:
    """`prefix`, then the gold tokens of the positions after it."""
    return prefix + gold[len(prefix) :]


def best_suffix_cost(prefix: Tokens, gold: Tokens, cost: Cost) -> float:
    """The least cost of `prefix` followed by any suffix of the gold tokens, all of them and none included."""
    return min(cost(prefix + gold[start:], gold) for start in range(len(gold) + 1))


def max_f1_cost(prefix: Tokens, gold: Tokens, labels: Sequence[int], cost: Cost) -> float:
    """The least cost of all completions of `prefix` to len(gold) labels."""
    return min(cost(prefix + rest, gold) for rest in product(labels, repeat=len(gold) - len(prefix)))


# Roll-outs


def token_cost(
    next_scores: NextScores,
    rolled_in: Tokens,
    t: int,
    token: int,
    gold: Tokens,
    candidates: Sequence[int],
    eos: int | None,
    limit: int,
    cost: Cost,
    roll_out: str | int,
    reference_cost: Callable[[Tokens], float],
) -> float:
    """What it costs to output `token` at cell `t`, after `rolled_in[:t]`.

    Args:
        roll_out: "reference"; "learned", greedy to the end; or n (focused costing), at most n greedy tokens and then
            the reference if the sequence is not finished.
        reference_cost: the cost of a prefix without EOS that the reference policy finishes.
    """
    if not 0 <= t < len(rolled_in):
        raise ValueError(f"`t` must be in [0, {len(rolled_in)}), got {t}")
    if token == eos:
        return cost(rolled_in[:t], gold)
    prefix = rolled_in[:t] + (token,)
    if len(prefix) >= limit:
        return cost(prefix, gold)
    if roll_out == "reference":
        return reference_cost(prefix)
    if roll_out == "learned":
        found, _ = greedy(next_scores, prefix, candidates, eos, limit)
        return cost(found, gold)
    if not isinstance(roll_out, int):
        raise ValueError(f'`roll_out` must be "reference", "learned" or a number of tokens, got {roll_out!r}')
    found, finished = greedy(next_scores, prefix, candidates, eos, limit, steps=roll_out)
    return cost(found, gold) if finished else reference_cost(found)


# Costs


def hamming(found: Tokens, gold: Tokens) -> float:
    """Positions that differ; those that only the longer sequence has all differ."""
    return float(sum(ours != theirs for ours, theirs in zip_longest(found, gold, fillvalue=None)))


def normalised_hamming(found: Tokens, gold: Tokens) -> float:
    """Positions that differ for each gold token."""
    return hamming(found, gold) / max(len(gold), 1)


def edit(found: Tokens, gold: Tokens) -> float:
    """Insertions, deletions and substitutions (Levenshtein) for each gold token."""

    @cache
    def distance(i: int, j: int) -> int:
        """Between the first i found and the first j gold tokens."""
        if i == 0 or j == 0:
            return i + j
        substituted = distance(i - 1, j - 1) + (found[i - 1] != gold[j - 1])
        return min(substituted, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    return distance(len(found), len(gold)) / max(len(gold), 1)


def ngrams(tokens: Tokens, n: int) -> Counter[Tokens]:
    """How often each run of n tokens occurs."""
    return Counter(tokens[start : start + n] for start in range(len(tokens) - n + 1))


def clipped_matches(found: Tokens, gold: Tokens, n: int) -> int:
    """Found n-grams that are gold ones too, each counted at most as often as it is gold."""
    return (ngrams(found, n) & ngrams(gold, n)).total()


def bleu(found: Tokens, gold: Tokens, order: int = 4) -> float:
    """1 - sentence BLEU, one added to the matches and to the totals of n > 1; 1 where no unigram matches."""
    if clipped_matches(found, gold, 1) == 0:
        return 1.0
    precisions = 1.0
    for n in range(1, order + 1):
        added = 0 if n == 1 else 1
        precisions *= (clipped_matches(found, gold, n) + added) / (ngrams(found, n).total() + added)
    brevity = math.exp(1 - len(gold) / len(found)) if len(found) < len(gold) else 1.0
    return 1 - brevity * precisions ** (1 / order)


def gleu(found: Tokens, gold: Tokens) -> float:
    """1 - the lesser of precision and recall over all n-grams of n = 1..4 together; 1 where there are none."""
    matches = sum(clipped_matches(found, gold, n) for n in range(1, 5))
    of_found = sum(ngrams(found, n).total() for n in range(1, 5))
    of_gold = sum(ngrams(gold, n).total() for n in range(1, 5))
    return 1 - matches / max(of_found, of_gold, 1)


def chunks(labels: Sequence[str]) -> set[tuple[int, int, str]]:
    """(first position, position after the last, type) of each chunk of the labels "O", "B-X" and "I-X", as conlleval.

    A chunk starts at B-X, and at an I-X that does not follow a label of type X; I-X of its type continue it.
    """
    pieces = [label.partition("-")[::2] for label in labels]  # (mark, type): ("B", "X"), or ("O", "")
    found = set()
    for start, (mark, kind) in enumerate(pieces):
        continues = mark == "I" and start > 0 and pieces[start - 1][1] == kind
        if mark not in ("B", "I") or continues:
            continue
        end = start + 1
        while end < len(pieces) and pieces[end] == ("I", kind):
            end += 1
        found.add((start, end, kind))
    return found


def chunk_f1(found: Tokens, gold: Tokens, names: Sequence[str]) -> float:
    """1 - F1 of the chunks, `names[i]` the label of token i; 0 where neither sequence has a chunk."""
    of_found = chunks([names[token] for token in found])
    of_gold = chunks([names[token] for token in gold])
    if not of_found and not of_gold:
        return 0.0
    return 1 - 2 * len(of_found & of_gold) / (len(of_found) + len(of_gold))
