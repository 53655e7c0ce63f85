"""The differentiable beam search decoder (Collobert et al. 2019), written the slow and plain way: one path at a time.

The tests compare the batched code with it; it shares no line with what it checks. Scores are float64 scalars with
their autograd graph. They have to be finite. A path is a sequence of moves, one a frame, and

    score(path) = sum over t of f_t(u_t) + g(u_t-1, u_t) + silence_score [u_t is silence]
                              + (lm_weight * LM(w | q) + word_score) [a word w ends at t]
                  + lm_weight * LM(</s> | q_T)

A node of the prefix tree is the tuple of the units that lead to it, the root is ().

What the definition leaves open is decided here as follows.

Paths
    - A path is told by its moves, not by its scores: two words of one spelling, or silence and a word that is spelled
      by the silence unit, are different paths, even where they lead to the same state.
    - The silence unit may be part of a spelling. Each frame of it pays the silence score, within a word too.
    - Rule 1 forbids u = x across words as well. In ASG, which has no blank, a word that begins with the last unit of
      the word before it needs silence between them; without a silence unit the two cannot follow each other.
    - No frames: the only path is the empty one, and only the empty transcription has a path.

Language model
    - The state after a word is, by default, the longest end of the history that the n-gram lists and that is shorter
      than its order; other states are a choice. They change no score, only which hypotheses are merged.
    - A word that is not listed is `<unk>`, in the history too.

Beam
    - Equal scores keep the order in which the candidates were made. Tests that compare two implementations keep away
      from ties: `margin` says how near the nearest one was.
    - A score that is exactly `threshold` below the best one stays.
    - In-beam gold: the best K are counted with the gold states among them, so the beam has at least as many as without.
    - A transcription without a path has no gold states, and none is lost.
    - A merged hypothesis has the words of its best part: of the part that is larger when the two meet.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

Words = tuple[str, ...]
Units = tuple[int, ...]
Lexicon = list[tuple[str, Units]]
NGrams = dict[Words, tuple[Tensor | float, Tensor | float]]  # n-gram -> (log10 probability, log10 back-off)


# Language models


class LanguageModel(Protocol):
    """Scores are base-10 logarithms; a state is anything that can be compared and hashed."""

    def start(self) -> Any: ...

    def score(self, state: Any, word: str) -> Tensor | float: ...

    def after(self, state: Any, word: str) -> Any: ...

    def end(self, state: Any) -> Tensor | float: ...


class NoLM:
    """All scores are 0, and there is one state."""

    def start(self) -> Any:
        return ()

    def score(self, state: Any, word: str) -> float:
        return 0.0

    def after(self, state: Any, word: str) -> Any:
        return state

    def end(self, state: Any) -> float:
        return 0.0


def ends_of(history: Words) -> list[Words]:
    """The history without its first 0, 1, ... words, the empty one last."""
    return [history[first:] for first in range(len(history) + 1)]


def listed_end(history: Words, ngrams: NGrams, order: int) -> Words:
    """The longest end of the history that is an n-gram of the model, shorter than its order."""
    return next(end for end in ends_of(history) if len(end) < order and (not end or end in ngrams))


def last_words(history: Words, ngrams: NGrams, order: int) -> Words:
    """The last `order` - 1 words."""
    return next(end for end in ends_of(history) if len(end) < order)


def whole_history(history: Words, ngrams: NGrams, order: int) -> Words:
    """All words since the start."""
    return history


STATES = {"listed-end": listed_end, "last-words": last_words, "whole-history": whole_history}


class NGramLM:
    """A back-off n-gram, with the longest n-gram's length as its order.

        LM(w | h) = prob(h w) if it is listed, else backoff(h) + LM(w | h without its first word)

    Args:
        ngrams: with `<s>`, `</s>` and, where a word is not listed, `<unk>`. A back-off that is not listed is 0.
        state: a key of `STATES`. In "whole-history" the words stay as they are; otherwise `<unk>` takes the place of
            those that are not listed.
    """

    def __init__(self, ngrams: NGrams, state: str = "listed-end") -> None:
        if state not in STATES:
            raise ValueError(f"`state` must be one of {sorted(STATES)}, got {state!r}")
        self.ngrams, self.state = ngrams, state
        self.order = max(len(ngram) for ngram in ngrams)

    def known(self, word: str) -> str:
        """The word itself, or `<unk>`."""
        if (word,) in self.ngrams:
            return word
        if ("<unk>",) not in self.ngrams:
            raise ValueError(f"the word {word!r} must be in the n-gram, which has no <unk>")
        return "<unk>"

    def probability(self, history: Words, word: str) -> Tensor | float:
        """LM(word | history), both in the words of the n-gram."""
        if (*history, word) in self.ngrams:
            return self.ngrams[(*history, word)][0]
        backoff = self.ngrams[history][1] if history in self.ngrams else 0.0
        return backoff + self.probability(history[1:], word)

    def start(self) -> Words:
        return STATES[self.state](("<s>",), self.ngrams, self.order)

    def score(self, state: Any, word: str) -> Tensor | float:
        return self.probability(tuple(self.known(before) for before in state), self.known(word))

    def after(self, state: Any, word: str) -> Words:
        word = word if self.state == "whole-history" else self.known(word)
        return STATES[self.state]((*state, word), self.ngrams, self.order)

    def end(self, state: Any) -> Tensor | float:
        return self.score(state, "</s>")


def read_arpa(text: str) -> NGrams:
    """The n-grams of an ARPA file; a back-off that is not there is 0."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    counts: dict[int, int] = {}
    ngrams: NGrams = {}
    order = 0
    for line in lines[lines.index("\\data\\") + 1 : lines.index("\\end\\")]:
        if line.startswith("ngram "):
            counted, count = line.removeprefix("ngram ").split("=")
            counts[int(counted)] = int(count)
        elif line.endswith("-grams:"):
            order = int(line[1:].removesuffix("-grams:"))
        else:
            probability, *rest = line.split()
            ngrams[tuple(rest[:order])] = (float(probability), float(rest[order]) if rest[order:] else 0.0)
    for n, announced in counts.items():
        found = sum(len(ngram) == n for ngram in ngrams)
        if found != announced:
            raise ValueError(f"the ARPA file must have {announced} different {n}-grams, got {found}")
    return ngrams


def write_arpa(ngrams: NGrams) -> str:
    """The ARPA file of n-grams, whose highest order and `</s>` have no back-off."""
    highest = max(len(ngram) for ngram in ngrams)
    by_order = {n: [ngram for ngram in ngrams if len(ngram) == n] for n in range(1, highest + 1)}
    lines = ["\\data\\", *(f"ngram {n}={len(found)}" for n, found in by_order.items())]
    for n, found in by_order.items():
        lines += ["", f"\\{n}-grams:"]
        for ngram in found:
            probability, backoff = (float(value) for value in ngrams[ngram])
            fields = [f"{probability!r}", " ".join(ngram)]
            if n < highest and ngram[-1] != "</s>":
                fields.append(f"{backoff!r}")
            lines.append("\t".join(fields))
    return "\n".join([*lines, "", "\\end\\", ""])


# Lexicon


def with_repetitions(units: Sequence, symbols: Sequence) -> tuple:
    """A spelling in which `symbols[r - 1]` says that the unit before it comes r times more (ASG).

    A run of more than 1 + len(symbols) equal units starts anew: `a a a` with one symbol is `a 1 a`.
    """
    spelled: list = []
    for unit, run in groupby(units):
        left = len(list(run))
        while left > 0:
            written = min(left, 1 + len(symbols))
            spelled.append(unit)
            if written > 1:
                spelled.append(symbols[written - 2])
            left -= written
    return tuple(spelled)


def children(lexicon: Lexicon, node: Units) -> list[int]:
    """The units that lead from a node to a child."""
    found: list[int] = []
    for _, units in lexicon:
        if len(units) > len(node) and units[: len(node)] == node and units[len(node)] not in found:
            found.append(units[len(node)])
    return found


def words_at(lexicon: Lexicon, node: Units) -> list[str]:
    """The words that end at a node."""
    found: list[str] = []
    for word, units in lexicon:
        if units == node and word not in found:
            found.append(word)
    return found


# Paths


class State(NamedTuple):
    """Where a hypothesis is after a frame."""

    node: Units
    unit: int | None  # of this frame; None before the first one
    lm: Any  # can be compared and hashed


class Move(NamedTuple):
    """What a path does in one frame."""

    kind: str  # "child" (into a word), "word" (its last unit), "stay", "silence" or "blank"
    unit: int
    word: str | None  # the word that ends here
    state: State  # after the move


Path = tuple[Move, ...]


@dataclass(frozen=True)
class Problem:
    """One sentence to be decoded. With a blank the topology is CTC, without one ASG."""

    emissions: Tensor  # (T, U)
    lexicon: Lexicon
    lm_weight: Tensor  # ()
    word_score: Tensor  # ()
    silence_score: Tensor  # ()
    blank: int | None = None
    silence: int | None = None
    transitions: Tensor | None = None  # (U, U), [before, now], ASG only
    lm: LanguageModel = field(default_factory=NoLM)

    def __post_init__(self) -> None:
        if self.blank is not None and self.transitions is not None:
            raise ValueError("`transitions` must be None where there is a `blank` (CTC)")
        for word, units in self.lexicon:
            if not units or self.blank in units:
                raise ValueError(f"a spelling must have units, and no blank among them, got {units} for {word!r}")

    @property
    def length(self) -> int:
        return len(self.emissions)

    @property
    def start(self) -> State:
        return State((), None, self.lm.start())


def moves(problem: Problem, state: State) -> list[Move]:
    """All that one frame can do after `state`, in the order of the rules."""
    node, last, lm = state
    found = []
    for unit in children(problem.lexicon, node):  # rule 1
        if unit == last:
            continue
        child = (*node, unit)
        if children(problem.lexicon, child):
            found.append(Move("child", unit, None, State(child, unit, lm)))
        for word in words_at(problem.lexicon, child):
            found.append(Move("word", unit, word, State((), unit, problem.lm.after(lm, word))))
    if last is not None and last != problem.blank:  # rule 2
        found.append(Move("stay", last, None, State(node, last, lm)))
    if problem.silence is not None and node == () and last != problem.silence:  # rule 3
        found.append(Move("silence", problem.silence, None, State((), problem.silence, lm)))
    if problem.blank is not None:  # rule 4
        found.append(Move("blank", problem.blank, None, State(node, problem.blank, lm)))
    return found


def move_score(problem: Problem, t: int, before: State, move: Move) -> Tensor:
    """What a path pays in frame t."""
    total = problem.emissions[t, move.unit]
    if t > 0 and problem.transitions is not None:
        total = total + problem.transitions[before.unit, move.unit]
    if move.unit == problem.silence:
        total = total + problem.silence_score
    if move.word is not None:
        total = total + problem.lm_weight * problem.lm.score(before.lm, move.word) + problem.word_score
    return total


def end_score(problem: Problem, state: State) -> Tensor:
    """What a complete path pays after its last frame."""
    return problem.lm_weight * problem.lm.end(state.lm)


def all_paths(problem: Problem, path: Path = ()) -> Iterator[Path]:
    """All paths of T moves that begin with `path`, those that end within a word too."""
    if len(path) == problem.length:
        yield path
        return
    for move in moves(problem, last_state(problem, path)):
        yield from all_paths(problem, (*path, move))


def last_state(problem: Problem, path: Path) -> State:
    """The state after the last move."""
    return path[-1].state if path else problem.start


def complete_paths(problem: Problem) -> list[Path]:
    """The paths that end at the root."""
    return [path for path in all_paths(problem) if last_state(problem, path).node == ()]


def gold_paths(problem: Problem, gold: Words) -> list[Path]:
    """A(y): the complete paths whose words are `gold`."""
    return [path for path in complete_paths(problem) if words_of(path) == tuple(gold)]


def words_of(path: Path) -> Words:
    """The words of a path."""
    return tuple(move.word for move in path if move.word is not None)


def path_score(problem: Problem, path: Path) -> Tensor:
    """The sum of all that a complete path pays."""
    total = torch.zeros((), dtype=torch.float64)
    before = problem.start
    for t, move in enumerate(path):
        total = total + move_score(problem, t, before, move)
        before = move.state
    return total + end_score(problem, before)


def log_add(scores: Sequence[Tensor]) -> Tensor:
    """log of the sum of exp of scalars."""
    highest = max(float(score.detach()) for score in scores)
    total = torch.zeros((), dtype=torch.float64)
    for score in scores:
        total = total + torch.exp(score - highest)
    return highest + torch.log(total)


def maximum(scores: Sequence[Tensor]) -> Tensor:
    """The largest of scalars."""
    return max(scores, key=lambda score: float(score.detach()))


MERGES = {"log-add": log_add, "max": maximum}


# What the paths say


class Hypothesis(NamedTuple):
    """Words and their score."""

    words: Words
    score: Tensor  # ()


def total_score(problem: Problem) -> Tensor | None:
    """The log-add of all complete paths; None where there is none."""
    paths = complete_paths(problem)
    return log_add([path_score(problem, path) for path in paths]) if paths else None


def gold_score(problem: Problem, gold: Words) -> Tensor | None:
    """The log-add over A(y); None where it is empty."""
    paths = gold_paths(problem, gold)
    return log_add([path_score(problem, path) for path in paths]) if paths else None


def exact_loss(problem: Problem, gold: Words) -> Tensor | None:
    """The loss of a beam that keeps everything; None where A(y) is empty."""
    reference, total = gold_score(problem, gold), total_score(problem)
    return None if reference is None or total is None else total - reference


def best_path(problem: Problem) -> tuple[Path, Tensor] | None:
    """The complete path with the largest score, and the score."""
    scored = [(path, path_score(problem, path)) for path in complete_paths(problem)]
    return max(scored, key=lambda pair: float(pair[1].detach())) if scored else None


def best_word_sequences(hypotheses: Sequence[Hypothesis], k: int, merge: str) -> list[Hypothesis]:
    """Each word sequence once, with the merged score of all that say it; the best k, best first."""
    by_words: dict[Words, list[Tensor]] = {}
    for words, score in hypotheses:
        by_words.setdefault(words, []).append(score)
    merged = [Hypothesis(words, MERGES[merge](scores)) for words, scores in by_words.items()]
    return sorted(merged, key=lambda hypothesis: -float(hypothesis.score.detach()))[:k]


def exact_n_best(problem: Problem, k: int, merge: str) -> list[Hypothesis]:
    """The k best word sequences, each scored by all of its paths."""
    everything = [Hypothesis(words_of(path), path_score(problem, path)) for path in complete_paths(problem)]
    return best_word_sequences(everything, k, merge)


# Beam search


class BeamResult(NamedTuple):
    """What a beam search leaves."""

    score: Tensor | None  # (), complete hypotheses merged; None where there is none
    kept: list[set[State]]  # a frame, the states that were kept
    gold_lost: bool  # at some frame no gold state was kept, though there are some
    hypotheses: list[Hypothesis]  # complete ones, one a state, best first
    margin: float  # how far the scores were, at the least, from another choice of what is kept


def beam_search(
    problem: Problem,
    beam_size: int,
    threshold: float = math.inf,
    gold: Words | None = None,
    gold_mode: str = "free",
    merge: str = "log-add",
) -> BeamResult:
    """Keeps, after each frame, the best `beam_size` states among those within `threshold` of the best.

    Args:
        gold: the words whose states are watched, and kept with `gold_mode` "in-beam".
    """
    if beam_size < 1:
        raise ValueError(f"`beam_size` must be at least 1, got {beam_size}")
    if gold_mode not in ("free", "in-beam"):
        raise ValueError(f"`gold_mode` must be 'free' or 'in-beam', got {gold_mode!r}")
    golden = [] if gold is None else gold_paths(problem, gold)
    beam: dict[State, Hypothesis] = {problem.start: Hypothesis((), torch.zeros((), dtype=torch.float64))}
    kept: list[set[State]] = []
    gold_lost, margin = False, math.inf
    for t in range(problem.length):
        candidates: dict[State, list[Hypothesis]] = {}
        for before, (words, score) in beam.items():
            for move in moves(problem, before):
                longer = words if move.word is None else (*words, move.word)
                paid = score + move_score(problem, t, before, move)
                candidates.setdefault(move.state, []).append(Hypothesis(longer, paid))
        merged = {state: _merged(parts, merge) for state, parts in candidates.items()}
        ranking = sorted(merged, key=lambda state: -_number(merged[state]))
        near = [state for state in ranking if _number(merged[state]) >= _number(merged[ranking[0]]) - threshold]
        chosen = near[:beam_size]
        gold_states = {path[t].state for path in golden}
        if gold_mode == "in-beam":
            chosen = [state for state in ranking if state in chosen or state in gold_states]
        for state in ranking:
            margin = min(margin, abs(_number(merged[ranking[0]]) - threshold - _number(merged[state])))
        if len(near) > beam_size:
            margin = min(margin, _number(merged[near[beam_size - 1]]) - _number(merged[near[beam_size]]))
        beam = {state: merged[state] for state in chosen}
        kept.append(set(chosen))
        gold_lost = gold_lost or (bool(golden) and not gold_states & set(chosen))
    complete = [
        Hypothesis(words, score + end_score(problem, state))
        for state, (words, score) in beam.items()
        if state.node == ()
    ]
    complete.sort(key=lambda hypothesis: -_number(hypothesis))
    total = MERGES[merge]([hypothesis.score for hypothesis in complete]) if complete else None
    return BeamResult(total, kept, gold_lost, complete, margin)


def beam_loss(
    problem: Problem, gold: Words, beam_size: int, threshold: float = math.inf, gold_mode: str = "in-beam"
) -> Tensor | None:
    """logadd over the beam - logadd over A(y); None where either has no path."""
    reference = gold_score(problem, gold)
    found = beam_search(problem, beam_size, threshold, gold, gold_mode).score
    return None if reference is None or found is None else found - reference


def _merged(parts: list[Hypothesis], merge: str) -> Hypothesis:
    """Hypotheses in one state as one, with the words of the best."""
    best = max(parts, key=_number)
    return Hypothesis(best.words, MERGES[merge]([part.score for part in parts]))


def _number(hypothesis: Hypothesis) -> float:
    return float(hypothesis.score.detach())


# Gradients


def leaves(problem: Problem) -> dict[Hashable, Tensor]:
    """All that has a gradient: the names of `Problem`, ("prob", n-gram) and ("backoff", n-gram)."""
    names = ("emissions", "transitions", "lm_weight", "word_score", "silence_score")
    found: dict[Hashable, Tensor | float | None] = {name: getattr(problem, name) for name in names}
    if isinstance(problem.lm, NGramLM):
        for ngram, (probability, backoff) in problem.lm.ngrams.items():
            found["prob", ngram] = probability
            found["backoff", ngram] = backoff
    return {name: value for name, value in found.items() if isinstance(value, Tensor) and value.requires_grad}


def gradients(problem: Problem, value: Tensor) -> dict[Hashable, Tensor]:
    """The gradient of `value` for each of the leaves, zeros where it does not depend on one."""
    wanted = leaves(problem)
    found = torch.autograd.grad(value, list(wanted.values()), allow_unused=True, retain_graph=True)
    return {
        name: torch.zeros_like(leaf) if gradient is None else gradient
        for (name, leaf), gradient in zip(wanted.items(), found, strict=True)
    }
