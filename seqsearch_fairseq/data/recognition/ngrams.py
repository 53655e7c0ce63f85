"""Word n-grams with interpolated Kneser-Ney smoothing (Kneser & Ney 1995, Chen & Goodman 1998), written as ARPA.

With h a history, h' the same without its first word, and a(.) the adjusted counts,

    p(w | h) = max(a(h w) - D, 0) / a(h .)  +  gamma(h) * p(w | h')
    gamma(h) = D * |{w: a(h w) > 0}| / a(h .)
    p(w)     = max(a(w) - D, 0) / a(.)  +  D * |{w: a(w) > 0}| / a(.) * 1 / |V|

a(g) is how often g occurs, for n-grams of the highest order and for those that begin with <s>; for the others it is the
number of different words that come before g (continuations). D = n1 / (n1 + 2 n2) for each order, with n1 and n2 the
n-grams of that order whose adjusted count is 1 and 2. V are the words, </s> and <unk>; a sentence begins with one <s>.
An ARPA file holds p(w | h) of the n-grams that occur, and gamma(h) as the back-off weight of h: nothing is lost.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from seqsearch_fairseq.errors import UsageError

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
IMPOSSIBLE = -99.0  # what ARPA files write for log10(0)
WHERE_UNKNOWN = 0.5  # the discount of an order without n-grams of count 1, or of count 2

Ngram = tuple[str, ...]


class NgramModel(NamedTuple):
    """Base-10 logarithms, by n-gram; the first dictionary of each list is that of single words."""

    log_probs: list[dict[Ngram, float]]
    back_offs: list[dict[Ngram, float]]  # of all orders but the highest

    @property
    def order(self) -> int:
        return len(self.log_probs)

    def score(self, word: str, history: Sequence[str]) -> float:
        """log10 p(word | history), by backing off; a word that the model has not is <unk>."""
        word = word if (word,) in self.log_probs[0] else UNKNOWN
        context = tuple(w if (w,) in self.log_probs[0] else UNKNOWN for w in history)
        context = context[len(context) - min(len(context), self.order - 1) :]
        found = 0.0
        while (*context, word) not in self.log_probs[len(context)]:
            found += self.back_offs[len(context) - 1].get(context, 0.0)
            context = context[1:]
        return found + self.log_probs[len(context)][(*context, word)]

    def score_sentence(self, words: Sequence[str]) -> float:
        """log10 of the probability of a sentence and its end."""
        whole = [BEGIN, *words, END]
        return sum(self.score(whole[i], whole[:i]) for i in range(1, len(whole)))

    def perplexity(self, sentences: Sequence[Sequence[str]]) -> float:
        """Of a word, the end of each sentence counted as one."""
        tokens = sum(len(words) + 1 for words in sentences)
        return 10 ** (-sum(map(self.score_sentence, sentences)) / tokens)


def kneser_ney(
    sentences: Iterable[Sequence[str]],
    order: int,
    vocabulary: Iterable[str] = (),
    discounts: Sequence[float] | None = None,
) -> NgramModel:
    """Estimate an n-gram.

    Args:
        sentences: words, without <s> and </s>.
        vocabulary: words that have a probability even if no sentence holds them.
        discounts: of each order from 1 on, in place of those that the counts give.

    Raises:
        UsageError: no sentence, none that is long enough for this order, or a word that is a symbol of the model.
    """
    if order < 1:
        raise ValueError(f"`order` must be at least 1, got {order}")
    if discounts is not None and len(discounts) != order:
        raise ValueError(f"`discounts` must be of {order} orders, got {len(discounts)}")
    adjusted = _adjusted_counts(sentences, order)
    if not adjusted[-1]:
        raise UsageError(f"no n-gram of order {order}: the longest of the sentences is shorter; take a smaller order")
    if discounts is None:
        discounts = [_discount(counts) for counts in adjusted]
    words = {(word,) for word in vocabulary} | set(adjusted[0]) | {(END,), (UNKNOWN,)}
    lower: dict[Ngram, float] = {(): 1.0 / len(words)}
    log_probs, back_offs = [], []
    for number, (counts, discount) in enumerate(zip(adjusted, discounts, strict=True), 1):
        totals, types = _by_history(counts)
        gammas = {history: discount * types[history] / total for history, total in totals.items()}
        probs = {} if number > 1 else {word: gammas[()] * lower[()] for word in words}
        for ngram, count in counts.items():
            history = ngram[:-1]
            kept = max(count - discount, 0.0) / totals[history]
            probs[ngram] = kept + gammas[history] * lower[ngram[1:] if number > 1 else ()]
        if number > 1:
            back_offs.append({ngram: _log(gammas.get(ngram, 1.0)) for ngram in lower})
        log_probs.append({ngram: _log(prob) for ngram, prob in probs.items()})
        if number == 1:
            probs[(BEGIN,)] = 0.0  # never predicted, but a history
            log_probs[0][(BEGIN,)] = IMPOSSIBLE
        lower = probs
    return NgramModel(log_probs, back_offs)


def write_arpa(path: Path, model: NgramModel) -> None:
    """Write an ARPA file; n-grams in the order of their words. All but those of the highest order have a back-off."""
    with path.open("w", encoding="utf-8") as out:
        out.write("\\data\\\n")
        out.writelines(f"ngram {n}={len(probs)}\n" for n, probs in enumerate(model.log_probs, 1))
        for n, probs in enumerate(model.log_probs, 1):
            out.write(f"\n\\{n}-grams:\n")
            for ngram in sorted(probs):
                back_off = f"\t{model.back_offs[n - 1][ngram]:.7g}" if n < model.order else ""
                out.write(f"{probs[ngram]:.7g}\t{' '.join(ngram)}{back_off}\n")
        out.write("\n\\end\\\n")


def _adjusted_counts(sentences: Iterable[Sequence[str]], order: int) -> list[Counter[Ngram]]:
    """a(.) of each order from 1 on. <s> alone has none: it is never predicted."""
    counts: list[Counter[Ngram]] = [Counter() for _ in range(order)]
    number = 0
    for number, words in enumerate(sentences, 1):
        for word in words:
            if word in (BEGIN, END, UNKNOWN):
                raise UsageError(f"sentence {number} holds {word}, which is a symbol of the n-gram and can be no word")
        whole = (BEGIN, *words, END)
        for size in range(1, order + 1):
            counts[size - 1].update(whole[i : i + size] for i in range(len(whole) - size + 1))
    if number == 0:
        raise UsageError("no sentence to estimate an n-gram from")
    adjusted = [counts[-1]]
    for longer, plain in zip(reversed(counts[1:]), reversed(counts[:-1]), strict=True):
        continuations = Counter(ngram[1:] for ngram in longer)
        continuations.update({ngram: count for ngram, count in plain.items() if ngram[0] == BEGIN})
        adjusted.append(continuations)
    adjusted.reverse()
    adjusted[0].pop((BEGIN,), None)
    return adjusted


def _by_history(counts: Counter[Ngram]) -> tuple[Counter[Ngram], Counter[Ngram]]:
    """The sum of the counts after each history, and how many different words follow it."""
    totals, types = Counter[Ngram](), Counter[Ngram]()
    for ngram, count in counts.items():
        totals[ngram[:-1]] += count
        types[ngram[:-1]] += 1
    return totals, types


def _discount(counts: Counter[Ngram]) -> float:
    of_count = Counter(counts.values())
    if not (of_count[1] and of_count[2]):
        return WHERE_UNKNOWN
    return of_count[1] / (of_count[1] + 2 * of_count[2])


def _log(probability: float) -> float:
    return math.log10(probability) if probability > 0 else IMPOSSIBLE
