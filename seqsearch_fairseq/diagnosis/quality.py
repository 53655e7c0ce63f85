"""How good hypotheses are, for a whole corpus and for one sentence: in per cent, higher is better."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from seqsearch_fairseq.tag_scores import count_chunks, score_of


class Quality(NamedTuple):
    """Texts are tokens with spaces between them."""

    name: str
    of_corpus: Callable[[Sequence[str], Sequence[str]], float]  # from hypotheses and gold texts
    of_sentence: Callable[[str, str], float]  # from a hypothesis and its gold text


def quality_of(task) -> Quality:
    """Chunk F1 where the labels are of chunks, accuracy of other labels, BLEU of translations."""
    if not task.one_label_a_word:
        return Quality("BLEU", _bleu, _sentence_bleu)
    if task.labels_are_chunks:
        return Quality("chunk F1", _chunk_f1, lambda found, gold: _chunk_f1([found], [gold]))
    return Quality("accuracy", _accuracy, lambda found, gold: _accuracy([found], [gold]))


def _accuracy(found: Sequence[str], gold: Sequence[str]) -> float:
    pairs = [
        pair for texts in zip(found, gold, strict=True) for pair in zip(*(text.split() for text in texts), strict=True)
    ]
    return 100.0 * sum(label == right for label, right in pairs) / len(pairs)


def _chunk_f1(found: Sequence[str], gold: Sequence[str]) -> float:
    """100 where there is no chunk in either."""
    counts = count_chunks([text.split() for text in gold], [text.split() for text in found])
    right, predicted, wanted = (count.total() for count in counts)
    return score_of(right, predicted, wanted).f1 if predicted + wanted > 0 else 100.0


def _bleu(found: Sequence[str], gold: Sequence[str]) -> float:
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize="none", force=True).corpus_score(list(found), [list(gold)]).score


def _sentence_bleu(found: str, gold: str) -> float:
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize="none", effective_order=True).sentence_score(found, [gold]).score
