"""Tiny problems for the oracle of the beam decoder, drawn by a seed: with the files that say them.

No beam search over a case is decided by a tie, whatever it merges by and whether gold is kept. Ties come up without
being drawn: where a word has the pronunciations `a` and `a b` and another word begins with `b`, "first word, then into
the second" and "first word" have the same units and the same words, in two states. Words tie as well: two homophones
without a language model, or both unseen. So the words of a best path are only told up to others of the same score.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, islice
from typing import NamedTuple

import torch
from beam_decoder_oracle import (
    NGramLM,
    NGrams,
    NoLM,
    Problem,
    Units,
    Words,
    all_paths,
    beam_search,
    complete_paths,
    with_repetitions,
    words_of,
    write_arpa,
)
from torch import Tensor


class Case(NamedTuple):
    """A tiny problem, and the files that say it."""

    problem: Problem  # all of its numbers are leaves that require a gradient
    units: list[str]  # the name of each unit
    lexicon: list[tuple[str, tuple[str, ...]]]  # as in a file: unit names, before repetition symbols
    repetitions: int  # R of ASG; the units "1" to "R" are there
    arpa: str | None  # the text of the n-gram
    gold: Words  # its A(y) may be empty
    beam_size: int
    threshold: float
    features: frozenset[str]  # what the case has, of `FEATURES`


FEATURES = frozenset(
    "ctc asg silence repetitions no-lm unigram bigram trigram unseen-word homophones pronunciations prefix one-unit "
    "doubled silence-in-spelling equal-pairs unused-unit empty-gold too-long-gold log-softmax".split()
)


def random_case(seed: int, most_paths: int = 800) -> Case:
    """A case with 1 to 6 frames and 2 to 5 units, and at most `most_paths` paths; the same seed, the same case."""
    draw = random.Random(seed)
    features = {draw.choice(["ctc", "asg"])}
    lexicon, units, repetitions = _random_lexicon(draw, features)
    ids = {name: unit for unit, name in enumerate(units)}
    symbols = [ids[str(r)] for r in range(1, repetitions + 1)]
    spelled = [
        (word, with_repetitions([ids[name] for name in names], symbols) if "asg" in features else _ids(ids, names))
        for word, names in lexicon
    ]
    ngrams = _random_ngrams(draw, features, sorted({word for word, _ in lexicon}))
    rows = [[draw.gauss(0, 1.5) for _ in units] for _ in range(draw.choice([1, 2, 3, 4, 4, 5, 5, 6, 6]))]
    emissions = torch.tensor(rows, dtype=torch.float64)
    if draw.random() < 0.5:
        emissions = emissions.log_softmax(1)
        features.add("log-softmax")
    transitions = torch.tensor([[draw.gauss(0, 1.0) for _ in units] for _ in units], dtype=torch.float64)
    problem = Problem(
        emissions,
        spelled,
        lm_weight=_leaf(draw.uniform(0.3, 2.5)),
        word_score=_leaf(draw.uniform(-1.5, 1.5)),
        silence_score=_leaf(draw.uniform(-1.0, 1.0)),
        blank=ids.get("<blank>"),
        silence=ids.get("|"),
        transitions=transitions.requires_grad_() if "asg" in features else None,
        lm=NoLM() if ngrams is None else NGramLM({key: (_leaf(p), _leaf(b)) for key, (p, b) in ngrams.items()}),
    )
    while len(list(islice(all_paths(problem), most_paths + 1))) > most_paths:
        problem = replace(problem, emissions=problem.emissions[:-1])
    problem = replace(problem, emissions=problem.emissions.clone().requires_grad_())
    gold = _random_gold(draw, features, problem)
    arpa = None if ngrams is None else write_arpa(ngrams)
    beam_size, threshold = _random_beam(draw, problem, gold)
    return Case(problem, units, lexicon, repetitions, arpa, gold, beam_size, threshold, frozenset(features))


def _leaf(value: Tensor | float) -> Tensor:
    return torch.tensor(float(value), dtype=torch.float64, requires_grad=True)


def _ids(ids: dict[str, int], names: Sequence[str]) -> Units:
    return tuple(ids[name] for name in names)


def _random_lexicon(draw: random.Random, features: set[str]) -> tuple[list, list[str], int]:
    """The pairs of the file, the names of the units, and the maximum repetition."""
    asg = "asg" in features
    silence = draw.random() < 0.5
    letters = draw.choice(["ab", "ab", "abc"] if asg else ["a", "ab", "ab", "abc"])
    spellings = [tuple(draw.choice(letters) for _ in range(draw.choice([1, 1, 2, 2, 3])))]
    for _ in range(draw.choice([0, 1, 1, 2])):
        kind = draw.choice(["any", "prefix", "doubled", "one-unit"])
        if kind == "any":
            spelling = tuple(draw.choice(letters) for _ in range(draw.choice([1, 2])))
        elif kind == "prefix":
            spelling = (*draw.choice(spellings), draw.choice(letters))
        else:
            spelling = (draw.choice(letters),) * (2 if kind == "doubled" else 1)
        spellings.append(spelling)
    pairs = [(f"w{number}", spelling) for number, spelling in enumerate(dict.fromkeys(spellings))]
    if draw.random() < 0.35:  # another word of the same spelling
        pairs.append((f"w{len(pairs)}", draw.choice(pairs)[1]))
    if draw.random() < 0.35:  # another spelling of the same word
        pairs.append((draw.choice(pairs)[0], tuple(draw.choice(letters) for _ in range(draw.choice([1, 2])))))
    if silence and draw.random() < 0.25:  # the separator ends each word
        pairs = [(word, (*spelling, "|")) for word, spelling in pairs]
    elif silence and draw.random() < 0.1:  # a word that is spelled by silence
        pairs.append((f"w{len(pairs)}", ("|",)))
    if draw.random() < 0.1:
        pairs.append(draw.choice(pairs))
    draw.shuffle(pairs)
    runs = [len(list(run)) for _, spelling in pairs for _, run in groupby(spelling)]
    repetitions = 0
    if asg and max(runs) > 1:
        repetitions = 2 if max(runs) > 2 and len(letters) == 2 and draw.random() < 0.5 else 1
    units = [*letters, *(["|"] if silence else []), *([] if asg else ["<blank>"])]
    units += [str(r) for r in range(1, repetitions + 1)]
    if len(units) < 5 and draw.random() < 0.2:
        units.append("z")
    draw.shuffle(units)
    distinct = set(pairs)
    listed, spelled = [word for word, _ in distinct], [spelling for _, spelling in distinct]
    found = {
        "silence": silence,
        "repetitions": repetitions > 0,
        "homophones": len(set(spelled)) < len(spelled),
        "pronunciations": len(set(listed)) < len(listed),
        "prefix": any(a != b and b[: len(a)] == a for a in spelled for b in spelled),
        "one-unit": any(len(spelling) == 1 for spelling in spelled),
        "doubled": max(runs) > 1,
        "silence-in-spelling": any("|" in spelling for spelling in spelled),
        "equal-pairs": len(distinct) < len(pairs),
        "unused-unit": "z" in units,
    }
    features.update(name for name, has in found.items() if has)
    return pairs, units, repetitions


def _random_ngrams(draw: random.Random, features: set[str], words: list[str]) -> NGrams | None:
    """A back-off n-gram that is not normalised, whose n-grams begin with n-grams that it lists."""
    order = draw.choice([0, 0, 1, 2, 2, 3, 3, 3])
    features.add(["no-lm", "unigram", "bigram", "trigram"][order])
    if order == 0:
        return None
    known = list(words)
    if len(known) > 1 and draw.random() < 0.4:
        known.remove(draw.choice(known))
        features.add("unseen-word")
    known += ["other"] if draw.random() < 0.3 else []
    ngrams: NGrams = {}

    def add(ngram: Words) -> None:
        probability = -99.0 if ngram == ("<s>",) else round(draw.uniform(-2.5, -0.05), 4)
        has_backoff = len(ngram) < order and ngram[-1] != "</s>"
        ngrams[ngram] = (probability, round(draw.uniform(-1.0, 0.2), 4) if has_backoff else 0.0)

    unigrams: list[Words] = [(word,) for word in ["<unk>", "<s>", "</s>", *known]]
    draw.shuffle(unigrams)
    for ngram in unigrams:
        add(ngram)
    shorter = unigrams
    for _ in range(order - 1):
        longer = [
            (*ngram, word)
            for ngram in shorter
            for word in (unigram[0] for unigram in unigrams)
            if ngram[-1] != "</s>" and word != "<s>" and (len(ngram) == 1 or (*ngram[1:], word) in ngrams)
        ]
        shorter = [ngram for ngram in longer if draw.random() < 0.5] or longer[:1]
        for ngram in shorter:
            add(ngram)
    return ngrams


def _random_gold(draw: random.Random, features: set[str], problem: Problem) -> Words:
    """Mostly the words of a path, now and then nothing or more words than there are frames."""
    words = sorted({word for word, _ in problem.lexicon})
    kind = draw.random()
    said = sorted({words_of(path) for path in complete_paths(problem)} - {()})
    if kind < 0.08:
        features.add("too-long-gold")
        return tuple(draw.choice(words) for _ in range(problem.length + 1))
    if kind < 0.2 or not said:
        features.add("empty-gold")
        return ()
    return draw.choice(said)


def _random_beam(draw: random.Random, problem: Problem, gold: Words) -> tuple[int, float]:
    """A beam size and a threshold that no tie decides."""
    while True:
        beam_size, threshold = draw.choice([1, 2, 3, 5, 8]), draw.choice([math.inf, 1.5, 3.0, 6.0])
        with torch.no_grad():
            margins = [
                beam_search(problem, beam_size, threshold, gold, gold_mode, merge).margin
                for gold_mode in ("free", "in-beam")
                for merge in ("log-add", "max")
            ]
        if min(margins) > 1e-6:
            return beam_size, threshold
