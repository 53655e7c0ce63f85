"""The oracle of the beam decoder: against what was worked out by hand, what torch knows, and itself in its limits."""

import itertools
import math
from collections import Counter
from dataclasses import replace
from functools import cache

import beam_decoder_cases as cases
import beam_decoder_oracle as oracle
import pytest
import torch
from torch.nn.functional import ctc_loss

BLANK, A, B = 0, 1, 2  # the units of the problems by hand
random_case = cache(cases.random_case)
some_seeds = pytest.mark.parametrize("seed", range(12))


def number(value):
    return float(torch.as_tensor(value).detach())


def scalar(value):
    return torch.tensor(float(value), dtype=torch.float64)


def by_hand(probabilities, lexicon, word_score=0.0, silence_score=0.0, lm_weight=0.0, **rest):
    """A problem whose emissions are the logs of numbers that can be multiplied by hand."""
    emissions = torch.tensor(probabilities, dtype=torch.float64).log()
    return oracle.Problem(emissions, lexicon, scalar(lm_weight), scalar(word_score), scalar(silence_score), **rest)


def two_frames(**rest):
    """CTC with the words A (a) and AB (a b); a word doubles the score."""
    return by_hand([[1, 2, 3], [5, 7, 11]], [("A", (A,)), ("AB", (A, B))], math.log(2), blank=BLANK, **rest)


def told(problem, paths):
    """Paths as words and units, the units by their letters."""
    letters = "-ab|"
    return sorted((" ".join(oracle.words_of(path)), "".join(letters[move.unit] for move in path)) for path in paths)


def exps(hypotheses):
    return [(words, round(math.exp(number(score)), 9)) for words, score in hypotheses]


# Paths


def test_ctc_paths_by_hand():
    problem = two_frames()
    complete = [("", "--"), ("A", "-a"), ("A", "a-"), ("A", "aa"), ("AB", "ab")]
    assert told(problem, oracle.complete_paths(problem)) == complete
    # Within a word: a a, a - and - a.
    assert told(problem, oracle.all_paths(problem)) == sorted([*complete, ("", "-a"), ("", "a-"), ("", "aa")])


def test_ctc_scores_by_hand():
    # - - 1 * 5; A: (- a) 1 * 7 + (a -) 2 * 5 + (a a) 2 * 7 = 31, doubled; AB: 2 * 11, doubled.
    problem = two_frames()
    assert exps(oracle.exact_n_best(problem, 9, "log-add")) == [(("A",), 62.0), (("AB",), 44.0), ((), 5.0)]
    assert exps(oracle.exact_n_best(problem, 2, "max")) == [(("AB",), 44.0), (("A",), 28.0)]
    path, score = oracle.best_path(problem)
    assert told(problem, [path]) == [("AB", "ab")] and math.exp(number(score)) == pytest.approx(44)
    assert math.exp(number(oracle.total_score(problem))) == pytest.approx(62 + 44 + 5)
    assert math.exp(number(oracle.gold_score(problem, ("A",)))) == pytest.approx(62)
    assert number(oracle.exact_loss(problem, ("A",))) == pytest.approx(math.log(111 / 62))


def test_asg_paths_by_hand():
    # a, b and silence; the words A (a) and BA (b a). Transitions double a -> b, treble a -> a.
    transitions = torch.zeros(4, 4, dtype=torch.float64)
    transitions[1, 2], transitions[1, 1] = math.log(2), math.log(3)
    problem = by_hand(
        [[1, 2, 3, 5], [1, 7, 11, 13]],
        [("A", (1,)), ("BA", (2, 1))],
        silence_score=math.log(10),
        silence=3,
        transitions=transitions,
    )
    complete = [("", "||"), ("A", "aa"), ("A", "a|"), ("A", "|a"), ("BA", "ba")]
    assert told(problem, oracle.complete_paths(problem)) == complete
    incomplete = [("", "bb"), ("", "|b"), ("A", "ab")]
    assert told(problem, oracle.all_paths(problem)) == sorted([*complete, *incomplete])
    # | | 50 * 130; A: a | 2 * 130, a a 2 * 7 * 3, | a 50 * 7; BA: 3 * 7.
    expected = [((), 6500.0), (("A",), 652.0), (("BA",), 21.0)]
    assert exps(oracle.exact_n_best(problem, 9, "log-add")) == expected


@pytest.mark.parametrize(
    ("node", "unit", "ctc", "asg"),
    [
        # Units: a 1, b 2, silence 3; words A (a), B (b), AA (a a), S (|), B| (b |).
        ((), None, "word1 child1 word2 child2 word3 silence3 blank0", "word1 child1 word2 child2 word3 silence3"),
        ((), 1, "word2 child2 word3 stay1 silence3 blank0", "word2 child2 word3 stay1 silence3"),
        ((), 3, "word1 child1 word2 child2 stay3 blank0", "word1 child1 word2 child2 stay3"),
        ((), 0, "word1 child1 word2 child2 word3 silence3 blank0", None),
        ((1,), 1, "stay1 blank0", "stay1"),  # the doubled unit needs a blank
        ((1,), 0, "word1 blank0", None),
        ((2,), 2, "word3 stay2 blank0", "word3 stay2"),
        ((2,), 0, "word3 blank0", None),
    ],
)
def test_moves_by_hand(node, unit, ctc, asg):
    lexicon = [("A", (1,)), ("B", (2,)), ("AA", (1, 1)), ("S", (3,)), ("B|", (2, 3)), ("A", (1,))]
    for blank, expected in ((0, ctc), (None, asg)):
        problem = by_hand([[1, 1, 1, 1]], lexicon, blank=blank, silence=3)
        if expected is not None:
            found = [f"{move.kind}{move.unit}" for move in oracle.moves(problem, oracle.State(node, unit, ()))]
            assert Counter(found) == Counter(expected.split())


def test_silence_that_is_a_word_and_silence_within_a_word():
    # S is spelled by silence (unit 1), AS by a and silence (2, 1); each frame of silence doubles the score.
    lexicon = [("S", (1,)), ("AS", (2, 1))]
    problem = by_hand([[1, 3, 5], [1, 7, 11]], lexicon, silence_score=math.log(2), silence=1)
    assert [(oracle.words_of(path), [move.unit for move in path]) for path in oracle.complete_paths(problem)] == [
        (("S",), [1, 1]),  # S, which stays
        (("AS",), [2, 1]),
        ((), [1, 1]),  # silence, which stays
    ]
    expected = [((), 84.0), (("S",), 84.0), (("AS",), 70.0)]
    assert sorted(exps(oracle.exact_n_best(problem, 9, "log-add"))) == sorted(expected)


def test_a_word_is_paid_for_at_the_first_frame_of_its_last_unit():
    problem = by_hand([[1, 1], [1, 1], [1, 1]], [("A", (1,))], word_score=5.0, blank=0)
    (path,) = [path for path in oracle.gold_paths(problem, ("A",)) if [move.unit for move in path] == [0, 1, 1]]
    before = [problem.start, *(move.state for move in path)]
    paid = [number(oracle.move_score(problem, t, before[t], move)) for t, move in enumerate(path)]
    assert paid == [0.0, 5.0, 0.0]


def test_homophones_and_pronunciations_are_paths_of_their_own():
    lexicon = [("A", (1,)), ("B", (1,)), ("A", (2,))]
    problem = by_hand([[1, 2, 3]], lexicon, blank=0)
    assert sorted(exps(oracle.exact_n_best(problem, 9, "log-add"))) == [((), 1.0), (("A",), 5.0), (("B",), 2.0)]


def test_no_frames():
    problem = replace(two_frames(), emissions=torch.zeros(0, 3), lm_weight=scalar(2), lm=trigram())
    assert oracle.complete_paths(problem) == [()]
    for score in (oracle.total_score(problem), oracle.gold_score(problem, ()), oracle.beam_search(problem, 1).score):
        assert number(score) == pytest.approx(2 * (-0.5 - 3))  # </s> after <s>
    assert oracle.gold_score(problem, ("A",)) is None


def test_nothing_is_said_about_what_has_no_path():
    only_long = by_hand([[1, 1]], [("AB", (0, 1))])  # ASG, two units in one frame
    assert oracle.total_score(only_long) is None
    assert oracle.best_path(only_long) is None
    assert oracle.beam_search(only_long, 3, gold=("AB",)) == (None, [{((0,), 0, ())}], False, [], math.inf)
    assert oracle.exact_loss(only_long, ("AB",)) is None
    assert oracle.gold_score(two_frames(), ("A", "A")) is None  # a a needs three frames
    assert oracle.beam_loss(two_frames(), ("A", "A"), 3) is None
    assert oracle.gold_score(two_frames(), ("who",)) is None
    nothing = by_hand([[1, 1], [1, 1]], [])  # an empty lexicon, no blank and no silence
    assert oracle.beam_search(nothing, 3) == (None, [set(), set()], False, [], math.inf)


# Each path again, from the other end: all sequences of units, collapsed and cut into words


def parses(units, lexicon, silence):
    """The words of each way to cut units into spellings and silences."""
    if not units:
        yield ()
        return
    if units[0] == silence:
        yield from parses(units[1:], lexicon, silence)
    for word, spelling in lexicon:
        if units[: len(spelling)] == spelling:
            for words in parses(units[len(spelling) :], lexicon, silence):
                yield (word, *words)


def collapsed(units, blank):
    """Repeated units once, and no blanks (Graves et al. 2006)."""
    return tuple(unit for unit, _ in itertools.groupby(units) if unit != blank)


def score_of(problem, units, words):
    """The score of a sequence of units, cut into words."""
    score = sum(problem.emissions[t, unit] for t, unit in enumerate(units))
    if problem.transitions is not None:
        score = score + sum(problem.transitions[pair] for pair in itertools.pairwise(units))
    score = score + units.count(problem.silence) * problem.silence_score + len(words) * problem.word_score
    if isinstance(problem.lm, oracle.NGramLM):
        listed = problem.lm.ngrams
        known = [word if (word,) in listed else "<unk>" for word in words]
        history = ["<s>", *known, "</s>"]
        for end in range(2, len(history) + 1):
            score = score + problem.lm_weight * backed_off(listed, history[:end], problem.lm.order)
    return score


def backed_off(listed, words, order):
    """log10 of the probability of the last of `words`: back-offs of the longer histories, then what is listed."""
    ngrams = [tuple(words[first:]) for first in range(max(0, len(words) - order), len(words))]
    used = next(place for place, ngram in enumerate(ngrams) if ngram in listed)
    return listed[ngrams[used]][0] + sum(listed[ngram[:-1]][1] for ngram in ngrams[:used] if ngram[:-1] in listed)


def test_paths_are_the_sequences_of_units_cut_into_words():
    for seed in range(30):
        problem = random_case(seed).problem
        length, number_of_units = problem.emissions.shape
        if number_of_units**length > 700:
            continue
        lexicon = sorted(set(problem.lexicon))
        expected = Counter()
        scores = {}
        with torch.no_grad():
            for units in itertools.product(range(number_of_units), repeat=length):
                for words in parses(collapsed(units, problem.blank), lexicon, problem.silence):
                    expected[units, words] += 1
                    scores[units, words] = number(score_of(problem, units, words))
            paths = oracle.complete_paths(problem)
            found = [(tuple(move.unit for move in path), oracle.words_of(path)) for path in paths]
            assert Counter(found) == expected
            for told_by, path in zip(found, paths, strict=True):
                assert number(oracle.path_score(problem, path)) == pytest.approx(scores[told_by], abs=1e-10)


# What torch knows


@pytest.mark.parametrize("seed", range(4))
def test_each_unit_a_word_is_ctc(seed):
    # A stays in its unit or, after a blank, comes again: rule 1 is what makes "a a" two words and "aa" one.
    generator = torch.Generator().manual_seed(seed)
    emissions = torch.randn(4, 3, generator=generator, dtype=torch.float64).log_softmax(1).requires_grad_()
    zero = scalar(0.0)
    problem = oracle.Problem(emissions, [("a", (1,)), ("b", (2,))], zero, zero, zero, blank=0)
    assert number(oracle.total_score(problem)) == pytest.approx(0.0, abs=1e-12)
    for gold in ("", "a", "b", "aa", "ab", "abab", "aba", "aab", "bb"):
        units = torch.tensor([[1 if word == "a" else 2 for word in gold]], dtype=torch.long)
        theirs = ctc_loss(emissions.unsqueeze(1), units, (4,), (len(gold),), reduction="sum")
        ours = oracle.gold_score(problem, tuple(gold))
        assert number(ours) == pytest.approx(-number(theirs), abs=1e-10)
        (our_gradient,) = torch.autograd.grad(-ours, emissions)
        # torch gives the gradient of ctc_loss as if a log-softmax came before the loss
        expected = emissions.exp() * -our_gradient.sum(1, keepdim=True) + our_gradient
        (their_gradient,) = torch.autograd.grad(theirs, emissions)
        torch.testing.assert_close(expected.detach(), their_gradient, atol=1e-10, rtol=0)
    assert oracle.gold_score(problem, ("a", "a", "a")) is None  # five frames
    assert oracle.gold_score(problem, ("a", "a", "b", "b")) is None


def test_each_unit_a_word_is_a_linear_chain():
    generator = torch.Generator().manual_seed(0)
    emissions = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    transitions = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    zero = scalar(0.0)
    lexicon = [("a", (0,)), ("b", (1,)), ("c", (2,))]
    problem = oracle.Problem(emissions, lexicon, zero, zero, zero, transitions=transitions)
    alpha = emissions[0]
    for frame in emissions[1:]:
        alpha = (alpha.unsqueeze(1) + transitions).logsumexp(0) + frame
    assert number(oracle.total_score(problem)) == pytest.approx(number(alpha.logsumexp(0)))
    assert oracle.gold_score(problem, ("a", "a")) is None  # no blank and no silence between them


# Language models


ARPA = """
\\data\\
ngram 1=5
ngram 2=3
ngram 3=1

\\1-grams:
-99 <s> -0.5
-3\t</s>
-2 <unk> -0.25
-1 a\t-0.125
-1.5 b

\\2-grams:
-0.75\t<s> a\t-0.0625
-0.875 a b -0.03125
-0.625 <unk> a

\\3-grams:
-0.375 <s> a b

\\end\\
"""


def trigram(state="listed-end"):
    return oracle.NGramLM(oracle.read_arpa(ARPA), state)


@pytest.mark.parametrize("state", oracle.STATES)
@pytest.mark.parametrize(
    ("words", "scores"),
    [
        ("a b", [-0.75, -0.375, -0.03125 - 3]),  # <s> a, <s> a b, back-off of "a b", then of "b", which has none
        ("b", [-0.5 - 1.5, -3]),  # back-off of <s>
        ("a a", [-0.75, -0.0625 - 0.125 - 1, -0.125 - 3]),  # back-offs of "<s> a" and "a"; "a a" is not listed
        ("who a b", [-0.5 - 2, -0.625, -0.875, -0.03125 - 3]),  # "<unk> a" has no back-off
        ("b who", [-0.5 - 1.5, -2, -0.25 - 3]),
        ("", [-0.5 - 3]),
    ],
)
def test_back_off_by_hand(state, words, scores):
    lm = trigram(state)
    history, found = lm.start(), []
    for word in words.split():
        found.append(lm.score(history, word))
        history = lm.after(history, word)
    assert [*found, lm.end(history)] == pytest.approx(scores)


@pytest.mark.parametrize(
    ("state", "words", "history"),
    [
        ("listed-end", "", ("<s>",)),
        ("listed-end", "a", ("<s>", "a")),
        ("listed-end", "a b", ("a", "b")),
        ("listed-end", "b a", ("a",)),  # "b a" is not listed
        ("listed-end", "b who a", ("<unk>", "a")),
        ("listed-end", "who", ("<unk>",)),
        ("last-words", "b a", ("b", "a")),
        ("last-words", "a who", ("a", "<unk>")),
        ("whole-history", "b a who", ("<s>", "b", "a", "who")),
    ],
)
def test_states_by_hand(state, words, history):
    lm = trigram(state)
    found = lm.start()
    for word in words.split():
        found = lm.after(found, word)
    assert found == history


def test_a_unigram_has_one_state():
    lm = oracle.NGramLM({("<s>",): (-99, 0.0), ("</s>",): (-1, 0.0), ("a",): (-0.5, 0.0)})
    assert lm.start() == lm.after((), "a") == ()
    assert lm.score((), "a") + lm.end(()) == -1.5


def test_arpa_files_come_back():
    for seed in range(12):
        case = random_case(seed)
        if case.arpa is not None:
            ngrams = {ngram: (number(p), number(b)) for ngram, (p, b) in case.problem.lm.ngrams.items()}
            assert oracle.read_arpa(case.arpa) == ngrams
            assert oracle.write_arpa(ngrams) == case.arpa


@some_seeds
def test_the_state_of_the_language_model_changes_no_score(seed):
    problem = random_case(seed).problem
    if isinstance(problem.lm, oracle.NGramLM):
        totals = [
            number(oracle.total_score(replace(problem, lm=oracle.NGramLM(problem.lm.ngrams, state))) or scalar(0))
            for state in oracle.STATES
        ]
        assert totals == pytest.approx([totals[0]] * len(totals), abs=1e-12)


# Lexicon


@pytest.mark.parametrize(
    ("symbols", "spelling", "written"),
    [
        ("1", "hello", "hel1o"),
        ("1", "aaa", "a1a"),
        ("1", "aaaa", "a1a1"),
        ("12", "aaa", "a2"),
        ("12", "aaaa", "a2a"),
        ("12", "aabbb", "a1b2"),
        ("12", "abab", "abab"),
        ("", "aab", "aab"),
        ("1", "", ""),
    ],
)
def test_repetition_symbols(symbols, spelling, written):
    assert oracle.with_repetitions(spelling, symbols) == tuple(written)


def test_nodes_of_the_prefix_tree():
    lexicon = [("A", (1,)), ("AB", (1, 2)), ("AB", (1, 2)), ("ab", (1, 2)), ("C", (3, 3))]
    assert oracle.children(lexicon, ()) == [1, 3]
    assert oracle.children(lexicon, (1,)) == [2]
    assert oracle.children(lexicon, (1, 2)) == []
    assert oracle.words_at(lexicon, (1, 2)) == ["AB", "ab"]
    assert oracle.words_at(lexicon, ()) == oracle.words_at(lexicon, (3,)) == []


# Sums


@some_seeds
def test_the_transcriptions_share_all_complete_paths(seed):
    problem = random_case(seed).problem
    with torch.no_grad():
        total = oracle.total_score(problem)
        said = {oracle.words_of(path) for path in oracle.complete_paths(problem)}
        parts = [oracle.gold_score(problem, words) for words in said]
        assert (total is None) == (not parts)
        if parts:
            assert number(oracle.log_add(parts)) == pytest.approx(number(total), abs=1e-12)
            assert number(oracle.maximum(parts)) <= number(total) + 1e-12


@some_seeds
def test_gradients_of_a_total_count_what_paths_have(seed):
    problem = random_case(seed).problem
    total = oracle.total_score(problem)
    if total is None:
        return
    gradients = oracle.gradients(problem, total)
    ones = torch.ones(problem.length, dtype=torch.float64)
    torch.testing.assert_close(gradients["emissions"].sum(1), ones)  # each path has one unit a frame
    if problem.transitions is not None:
        assert number(gradients["transitions"].sum()) == pytest.approx(problem.length - 1)
    lm_scores = [(gradients["prob", ngram], p) for ngram, (p, _) in lm_ngrams(problem)]
    if lm_scores:  # each word and </s> take one probability
        taken = sum(number(gradient) for gradient, _ in lm_scores) / number(problem.lm_weight)
        assert taken == pytest.approx(number(gradients["word_score"]) + 1)
    if problem.silence is not None and not any(problem.silence in units for _, units in problem.lexicon):
        silent = number(gradients["emissions"][:, problem.silence].sum())
        assert number(gradients["silence_score"]) == pytest.approx(silent, abs=1e-12)


def lm_ngrams(problem):
    return problem.lm.ngrams.items() if isinstance(problem.lm, oracle.NGramLM) else ()


def with_leaves(problem, values):
    """The problem with other numbers in the order of `oracle.leaves`."""
    named = dict(zip(oracle.leaves(problem), values, strict=True))
    lm = problem.lm
    if isinstance(lm, oracle.NGramLM):
        lm = oracle.NGramLM({ngram: (named["prob", ngram], named["backoff", ngram]) for ngram in lm.ngrams})
    return replace(problem, lm=lm, **{name: value for name, value in named.items() if isinstance(name, str)})


@pytest.mark.parametrize("seed", range(4))
def test_gradients_are_finite_differences(seed):
    # Drawn on until a small beam, within a threshold, finds the gold and something else, far from other choices.
    for case in (cases.random_case(1000 * seed + draw, most_paths=30) for draw in range(100)):
        beams = [oracle.beam_search(case.problem, 3, 6.0, case.gold, merge=merge) for merge in oracle.MERGES]
        found = oracle.beam_loss(case.problem, case.gold, 3, 6.0, "free")
        if found is not None and len(beams[0].hypotheses) > 1 and min(beam.margin for beam in beams) > 1e-2:
            break

    def values(*numbers):
        problem = with_leaves(case.problem, numbers)
        beam = oracle.beam_loss(problem, case.gold, 3, 6.0, "free")
        best = oracle.beam_search(problem, 3, 6.0, merge="max").score
        return torch.stack([oracle.exact_loss(problem, case.gold), beam, best])

    assert torch.autograd.gradcheck(values, list(oracle.leaves(case.problem).values()), atol=1e-6)


# Beam search


def reachable(problem):
    """The states after each frame of all paths."""
    paths = list(oracle.all_paths(problem))
    return [{path[t].state for path in paths} for t in range(problem.length)]


@some_seeds
@pytest.mark.parametrize("gold_mode", ["free", "in-beam"])
def test_a_beam_that_keeps_everything_is_the_enumeration(seed, gold_mode):
    case = random_case(seed)
    problem = case.problem
    found = oracle.beam_search(problem, 10**6, gold=case.gold, gold_mode=gold_mode)
    assert found.kept == reachable(problem) and not found.gold_lost
    total = oracle.total_score(problem)
    assert (found.score is None) == (total is None)
    if total is None:
        return
    assert number(found.score) == pytest.approx(number(total), abs=1e-12)
    ours, theirs = oracle.gradients(problem, found.score), oracle.gradients(problem, total)
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-12, rtol=0)
    path, score = oracle.best_path(problem)
    best = oracle.beam_search(problem, 10**6, merge="max")
    assert number(best.score) == pytest.approx(number(score), abs=1e-12)
    assert number(best.hypotheses[0].score) == number(best.score)
    by_words = dict(oracle.exact_n_best(problem, 10**6, "max"))
    for words, score in best.hypotheses:
        assert number(score) <= number(by_words[words]) + 1e-12
    assert number(by_words[best.hypotheses[0].words]) == pytest.approx(number(best.score), abs=1e-12)


@some_seeds
@pytest.mark.parametrize("merge", oracle.MERGES)
def test_with_whole_histories_as_states_the_n_best_are_exact(seed, merge):
    problem = random_case(seed).problem
    if not isinstance(problem.lm, oracle.NGramLM):
        return
    problem = replace(problem, lm=oracle.NGramLM(problem.lm.ngrams, "whole-history"))
    with torch.no_grad():
        exact = oracle.exact_n_best(problem, 10**6, merge)
        found = oracle.beam_search(problem, 10**6, merge=merge).hypotheses
        ours = oracle.best_word_sequences(found, 10**6, merge)
    assert {words: number(score) for words, score in ours} == pytest.approx(
        {words: number(score) for words, score in exact}, abs=1e-12
    )


@pytest.mark.parametrize("seed", range(40))
def test_small_beams(seed):
    case = random_case(seed)
    with torch.no_grad():
        free = oracle.beam_search(case.problem, case.beam_size, case.threshold, case.gold)
        in_beam = oracle.beam_search(case.problem, case.beam_size, case.threshold, case.gold, "in-beam")
        without = oracle.beam_search(case.problem, case.beam_size, case.threshold)
        paths = oracle.gold_paths(case.problem, case.gold)
        loss = oracle.beam_loss(case.problem, case.gold, case.beam_size, case.threshold)
    golden = [{path[t].state for path in paths} for t in range(case.problem.length)]
    assert without.kept == free.kept and not without.gold_lost
    assert all(len(states) <= case.beam_size for states in free.kept)
    assert free.gold_lost == (bool(paths) and any(not a & b for a, b in zip(free.kept, golden, strict=True)))
    assert not in_beam.gold_lost
    assert all(states >= gold for states, gold in zip(in_beam.kept, golden, strict=True))
    assert all(len(a - b) <= case.beam_size for a, b in zip(in_beam.kept, golden, strict=True))
    assert (loss is None) == (not paths)
    assert loss is None or number(loss) > -1e-12
    assert in_beam.kept[0] == free.kept[0] | golden[0]
    if not paths:
        assert in_beam.kept == free.kept


def kept(found):
    """The kept states as node and unit, by letters."""
    letters = "-ab"
    return [{("".join(letters[u] for u in s.node), letters[s.unit]) for s in states} for states in found.kept]


def test_beams_by_hand():
    # Frame 1: (a, a) 2, word A (root, a) 4, (root, -) 1.
    assert kept(oracle.beam_search(two_frames(), 1)) == [{("", "a")}, {("", "a")}]
    # From (root, a) 4: a 28 and - 20. From (a, a) 2: AB (root, b) 44, (a, a) 14 and (a, -) 10.
    both = oracle.beam_search(two_frames(), 2)
    assert kept(both) == [{("", "a"), ("a", "a")}, {("", "a"), ("", "b")}]
    assert exps(both.hypotheses) == [(("AB",), 44.0), (("A",), 28.0)]
    assert math.exp(number(both.score)) == pytest.approx(72)
    assert both.margin == pytest.approx(math.log(28 / 20))  # frame 1 has log(2 / 1)
    # All: (root, -) 1 * 5 + 20 = 25 is one state, A from (root, -) 14 joins the 28 of (root, a).
    everything = oracle.beam_search(two_frames(), 9)
    assert exps(everything.hypotheses) == [(("AB",), 44.0), (("A",), 42.0), (("A",), 25.0)]
    assert exps(oracle.beam_search(two_frames(), 9, merge="max").hypotheses)[1:] == [(("A",), 28.0), (("A",), 20.0)]


def test_threshold_by_hand():
    # Frame 1: 2 and 1 are log 2 and log 4 below 4. Frame 2, from (root, a) alone: 28 and 20, log 1.4 apart.
    near = [oracle.beam_search(two_frames(), 9, math.log(ratio)) for ratio in (1.3, 1.5, 2.1)]
    assert kept(near[0]) == [{("", "a")}, {("", "a")}]
    assert kept(near[1]) == [{("", "a")}, {("", "a"), ("", "-")}]
    # In the last one 2 stays, and then 44 / 2.1 = 21 is the limit.
    assert kept(near[2]) == [{("", "a"), ("a", "a")}, {("", "a"), ("", "b")}]
    assert near[1].margin == pytest.approx(math.log(1.5 / 1.4))


def test_candidates_are_merged_before_they_are_ranked():
    # A word counts 1.1. Frame 1: (root, -) 1, (a, a) 1, (root, a) 1.1. Frame 2: AB has 6 * 1.1 = 6.6; A has 4 * 1.1
    # from each of (root, -) and (root, a), which is more as a sum and less as a maximum.
    problem = replace(two_frames(), emissions=torch.tensor([[1, 1, 1], [0.1, 4, 6]]).double().log())
    problem = replace(problem, word_score=scalar(math.log(1.1)))
    assert kept(oracle.beam_search(problem, 3))[0] == {("", "a"), ("a", "a"), ("", "-")}
    assert kept(oracle.beam_search(problem, 3))[1] == {("", "a"), ("a", "a"), ("", "b")}
    assert exps(oracle.beam_search(problem, 3).hypotheses) == [(("A",), 8.8), (("AB",), 6.6)]
    assert exps(oracle.beam_search(problem, 3, merge="max").hypotheses)[0] == (("AB",), 6.6)


def test_gold_by_hand():
    # A beam of 1 keeps (root, a) and loses AB, whose loss is then negative: log(28 / 44).
    free = oracle.beam_search(two_frames(), 1, gold=("AB",))
    assert free.gold_lost
    assert number(oracle.beam_loss(two_frames(), ("AB",), 1, gold_mode="free")) == pytest.approx(math.log(28 / 44))
    # With its states kept the best of all is still counted: (root, a) and (a, a), then AB alone, the best and gold.
    in_beam = oracle.beam_search(two_frames(), 1, gold=("AB",), gold_mode="in-beam")
    assert kept(in_beam) == [{("", "a"), ("a", "a")}, {("", "b")}] and not in_beam.gold_lost
    assert number(oracle.beam_loss(two_frames(), ("AB",), 1)) == pytest.approx(0.0)
    # A threshold does not drop gold either: "" is 5, with (root, -) that A shares, 1 * 5 + 4 * 5.
    found = oracle.beam_search(two_frames(), 1, 0.1, (), "in-beam")
    assert kept(found) == [{("", "a"), ("", "-")}, {("", "a"), ("", "-")}]
    assert number(oracle.beam_loss(two_frames(), (), 1, 0.1)) == pytest.approx(math.log((28 + 14 + 25) / 5))


# What is refused


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="`transitions` must be None where there is a `blank`"):
        two_frames(transitions=torch.zeros(3, 3))
    for units in ((), (A, BLANK)):
        with pytest.raises(ValueError, match=r"must have units, and no blank among them, got \(.*\) for 'X'"):
            by_hand([[1, 1]], [("X", units)], blank=BLANK)
    with pytest.raises(ValueError, match="`beam_size` must be at least 1, got 0"):
        oracle.beam_search(two_frames(), 0)
    with pytest.raises(ValueError, match="`gold_mode` must be 'free' or 'in-beam', got 'both'"):
        oracle.beam_search(two_frames(), 1, gold_mode="both")
    with pytest.raises(ValueError, match="`state` must be one of .*, got 'words'"):
        trigram("words")
    with pytest.raises(ValueError, match="'who' must be in the n-gram, which has no <unk>"):
        oracle.NGramLM({("a",): (-1.0, 0.0)}).score((), "who")
    with pytest.raises(ValueError, match="must have 4 different 2-grams, got 3"):
        oracle.read_arpa(ARPA.replace("ngram 2=3", "ngram 2=4"))


# Cases


def test_random_cases_are_small_and_of_all_kinds():
    features = set()
    lengths, widths = set(), set()
    lost = empty = 0
    for seed in range(60):
        case = random_case(seed)
        problem = case.problem
        features |= case.features
        lengths.add(problem.length)
        widths.add(len(case.units))
        assert problem.emissions.shape[1] == len(case.units)
        assert len(list(oracle.all_paths(problem))) <= 800
        gold_paths = oracle.gold_paths(problem, case.gold)
        empty += not gold_paths
        assert gold_paths or case.features & {"too-long-gold", "empty-gold"}
        with torch.no_grad():
            found = oracle.beam_search(problem, case.beam_size, case.threshold, case.gold)
        assert found.margin > 1e-6
        lost += found.gold_lost
        assert set(oracle.leaves(problem)) >= {"emissions", "lm_weight", "word_score", "silence_score"}
        assert len(oracle.leaves(problem)) == 4 + ("asg" in case.features) + 2 * len(lm_ngrams(problem))
    assert features == cases.FEATURES
    assert lengths == {1, 2, 3, 4, 5, 6} and widths == {2, 3, 4, 5}
    assert 10 < lost < 50 and 0 < empty < 15


def test_the_same_seed_gives_the_same_case():
    one, two = (cases.random_case(7) for _ in range(2))
    assert one[1:] == two[1:]
    assert one.problem.lexicon == two.problem.lexicon
    ours, theirs = oracle.leaves(one.problem), oracle.leaves(two.problem)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
