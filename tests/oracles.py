"""Slow reference searches, one sentence at a time, in numpy float64: what the tests compare the toolkit with.

Shapes: T target length, K beam size, V vocabulary, E embedding, H hidden, n candidates at one step.

The relaxed beam, for live hypotheses i with score s_i, state h_i and cost L_i, and per-token costs d_t(v):

    S[i, v] = s_i + f(h_i)[v]                             (cost-augmented: + d_t(v))
    P_j     = one soft selection among all (i, v), for each new beam j
    b_j[i]  = sum_v P_j[i, v]                             a_j[v] = sum_i P_j[i, v]
    s'_j    = sum_{i, v} P_j[i, v] S[i, v]                e_j    = sum_v a_j[v] embedding[v]
    h'_j    = sum_i b_j[i] h_i                            L'_j   = sum_i b_j[i] L_i + sum_v a_j[v] d_t(v)

with h_i the state that came out of the step that gave f(h_i).

All scores must be finite: a token that must not be chosen is left out of `candidates`, which is sorted.
Equal scores are ranked by (position in the beam, token), lowest first.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

NextScores = Callable[[tuple[int, ...]], np.ndarray]  # prefix -> local scores (V,) of the next token
State = list[np.ndarray]


class Hypothesis(NamedTuple):
    """A finished or partial sequence."""

    tokens: tuple[int, ...]  # its tokens, the start symbol left out
    score: float  # sum of the local scores (length-normalised where the search says so)


class Recurrence(NamedTuple):
    """A recurrent model of one sentence."""

    step: Callable[[np.ndarray, State], tuple[np.ndarray, State]]  # input (E,), state -> scores (V,), state
    start_state: State  # the state before the first step, arrays of any shape
    start_input: np.ndarray  # (E,) what the first step reads
    embedding: np.ndarray  # (V, E) what a step reads after token v


class RelaxedBeam(NamedTuple):
    """The soft beam after T steps. A dead beam holds a copy of what beam 0 holds."""

    scores: np.ndarray  # (K,) soft scores s_T
    costs: np.ndarray  # (K,) soft costs L_T
    live: np.ndarray  # (K,) bool, whether the beam stands for a candidate of its own
    backpointers: list[list[tuple[int, int]]]  # T lists of K (beam, token), the argmax of each P_j
    states: list[State]  # K lists of arrays, the mixed state after step T
    soft_backpointers: list[np.ndarray]  # T arrays (K, K), row j is b_j
    token_weights: list[np.ndarray]  # T arrays (K, V), row j is a_j


# ---------------------------------------------------------------------------------------------- hard searches


def _ranked_continuations(next_scores: NextScores, beam: list[Hypothesis], candidates) -> list[Hypothesis]:
    """All one-token continuations of `beam`, best first."""
    continuations = []
    for hypothesis in beam:
        scores = next_scores(hypothesis.tokens)  # (V,)
        for token in candidates:
            tokens = hypothesis.tokens + (token,)
            continuations.append(Hypothesis(tokens, hypothesis.score + float(scores[token])))
    return sorted(continuations, key=lambda continuation: -continuation.score)  # stable: ties stay in order


def enumerate_best(next_scores: NextScores, length: int, candidates: Sequence[int]) -> Hypothesis:
    """The best of all sequences of exactly `length` tokens (ties: the first in lexicographic order)."""
    best = None
    for tokens in itertools.product(candidates, repeat=length):
        score = 0.0
        for t in range(length):
            score += float(next_scores(tokens[:t])[tokens[t]])
        if best is None or score > best.score:
            best = Hypothesis(tokens, score)
    return best


def beam_search(next_scores: NextScores, length: int, beam_size: int, candidates: Sequence[int]) -> list[Hypothesis]:
    """The beam after exactly `length` steps, best first (at most `beam_size`). No token is special."""
    beam = [Hypothesis((), 0.0)]
    for _ in range(length):
        beam = _ranked_continuations(next_scores, beam, candidates)[:beam_size]
    return beam


def beam_search_eos(
    next_scores: NextScores,
    max_len: int,
    beam_size: int,
    candidates: Sequence[int],
    eos: int,
    lenpen: float = 1.0,
) -> list[Hypothesis]:
    """Open-ended beam search: the finished hypotheses (they end in `eos`), best normalised score first.

    At each step the continuations of all live hypotheses are ranked by their total score.
    Those among the best `beam_size` that end in `eos` are finished, in that order, up to `beam_size` in all;
    their score is total / (tokens including eos) ** lenpen.
    The best `beam_size` of those among the best 2 * `beam_size` that do not end in `eos` stay live.
    The search ends when `beam_size` hypotheses are finished, or after step `max_len` (steps count from 0),
    where `eos` is the only candidate. `eos` is always a candidate, whether or not `candidates` names it.
    """
    live = [Hypothesis((), 0.0)]
    finished = []
    for step in range(max_len + 1):
        allowed = [eos] if step == max_len else sorted(set(candidates) | {eos})
        ranking = _ranked_continuations(next_scores, live, allowed)[: 2 * beam_size]
        for continuation in ranking[:beam_size]:
            if continuation.tokens[-1] == eos and len(finished) < beam_size:
                normalised = continuation.score / len(continuation.tokens) ** lenpen
                finished.append(Hypothesis(continuation.tokens, normalised))
        if len(finished) == beam_size:
            break
        live = [continuation for continuation in ranking if continuation.tokens[-1] != eos][:beam_size]
    return sorted(finished, key=lambda hypothesis: -hypothesis.score)


def greedy(next_scores: NextScores, length: int, candidates: Sequence[int]) -> Hypothesis:
    """Take the best next token `length` times (the lowest token where scores tie)."""
    tokens = ()
    total = 0.0
    for _ in range(length):
        scores = next_scores(tokens)  # (V,)
        best = candidates[0]
        for token in candidates:
            if scores[token] > scores[best]:
                best = token
        tokens = tokens + (best,)
        total += float(scores[best])
    return Hypothesis(tokens, total)


# ------------------------------------------------------------------------------------------------------ costs


def sequence_cost(tokens: Sequence[int], gold: Sequence[int], token_cost: Callable[[int, int], float]) -> float:
    """Sum over t of token_cost(t, tokens[t]). `gold` only fixes the length that `tokens` must have."""
    if len(tokens) != len(gold):
        raise ValueError(f"`tokens` must be as long as `gold` ({len(gold)}), got {len(tokens)}")
    total = 0.0
    for t in range(len(gold)):
        total += float(token_cost(t, tokens[t]))
    return total


def hamming_costs(gold: Sequence[int], vocabulary_size: int, label_cost: dict[int, float] | None = None) -> np.ndarray:
    """Per-token costs (T, V): 0 for the gold token; else label_cost[v] if v is in `label_cost`, else 1."""
    costs = np.zeros((len(gold), vocabulary_size))
    for t in range(len(gold)):
        for v in range(vocabulary_size):
            if v == gold[t]:
                costs[t, v] = 0.0
            elif label_cost is not None and v in label_cost:
                costs[t, v] = label_cost[v]
            else:
                costs[t, v] = 1.0
    return costs


# ----------------------------------------------------------------------------------------------- relaxed beam


def _logsumexp(values: np.ndarray) -> float:
    """log sum exp of values (n,), n >= 1."""
    largest = values.max()
    return float(largest + np.log(np.exp(values - largest).sum()))


def _softmax(values: np.ndarray) -> np.ndarray:
    """Softmax of values (n,), n >= 1."""
    weights = np.exp(values - values.max())
    return weights / weights.sum()


def _squared_distance(values: np.ndarray, alpha: float, count: int) -> list[np.ndarray]:
    """P_j = softmax(-alpha (S - m_j)^2), m_j the j-th largest of S = values (n,). `count` arrays (n,)."""
    largest_first = sorted(values, reverse=True)
    selections = []
    for j in range(count):
        selections.append(_softmax(-alpha * (values - largest_first[j]) ** 2))
    return selections


def _log_one_minus_softmax(logits: np.ndarray) -> np.ndarray:
    """log(1 - softmax(logits)) (n,), n >= 2, as log(sum of the other weights) - log(sum of all weights).

    1 - P itself would be rounded to 0 as soon as P is within 1e-16 of 1.
    """
    shifted = logits - logits.max()  # keeps both sums near 1, so that their logarithms lose nothing
    everything = _logsumexp(shifted)
    result = np.zeros(len(logits))
    for c in range(len(logits)):
        others = np.concatenate([shifted[:c], shifted[c + 1 :]])
        result[c] = _logsumexp(others) - everything
    return result


def _successive(values: np.ndarray, alpha: float, count: int) -> list[np.ndarray]:
    """P_j = softmax(alpha S^j), S^1 = values (n,), S^{j+1} = S^j + log(1 - P_j). `count` <= n arrays (n,).

    The log is added before alpha multiplies: a taken candidate drops by alpha times its lead over the
    runner-up in S, hence by alpha^2 times that in the logits, and so the limit is the hard top-k. Added after
    alpha, it would only bring the taken candidate level with the runner-up.
    """
    current = values.copy()
    selections = []
    for j in range(count):
        selections.append(_softmax(alpha * current))
        if j + 1 < count:
            current = current + _log_one_minus_softmax(alpha * current)
    return selections


TOP_K = {"squared-distance": _squared_distance, "successive": _successive}


def relaxed_beam(
    model: Recurrence,
    token_costs: np.ndarray,
    beam_size: int,
    alpha: float,
    candidates: Sequence[int],
    top_k: str = "squared-distance",
    cost_augmented: bool = False,
) -> RelaxedBeam:
    """The soft beam search of the module docstring, T = len(token_costs) steps, token_costs (T, V).

    Only beam 0 is live before the first step. Where a step has n < K candidates, beams n, ..., K - 1 are dead
    after it: they get beam 0's P (so what they hold is finite) and give no candidates to the next step.
    """
    if top_k not in TOP_K:
        raise ValueError(f"`top_k` must be one of {sorted(TOP_K)}, got {top_k!r}")
    vocabulary_size = len(model.embedding)

    scores = [0.0] * beam_size
    costs = [0.0] * beam_size
    live = [True] + [False] * (beam_size - 1)
    inputs = [model.start_input] * beam_size
    states = [model.start_state] * beam_size
    all_backpointers = []
    all_soft_backpointers = []
    all_token_weights = []

    for t in range(len(token_costs)):
        # Candidates, in the order of their flat index i * V + v.
        places = []  # n pairs (i, v)
        values = []  # n numbers S[i, v]
        stepped_states = [None] * beam_size  # the states that gave the scores
        for i in range(beam_size):
            if not live[i]:
                continue
            local_scores, stepped_states[i] = model.step(inputs[i], states[i])
            for v in candidates:
                value = scores[i] + float(local_scores[v])
                if cost_augmented:
                    value += float(token_costs[t, v])
                places.append((i, v))
                values.append(value)
        values = np.array(values)

        live_count = min(beam_size, len(places))
        selections = TOP_K[top_k](values, alpha, live_count)

        new_scores, new_costs, new_live, new_inputs, new_states, backpointers = [], [], [], [], [], []
        soft_backpointers = np.zeros((beam_size, beam_size))
        soft_tokens = np.zeros((beam_size, vocabulary_size))
        for j in range(beam_size):
            selection = selections[j] if j < live_count else selections[0]  # (n,)

            beam_weights = np.zeros(beam_size)  # b_j
            token_weights = np.zeros(vocabulary_size)  # a_j
            score = 0.0
            for c in range(len(places)):
                i, v = places[c]
                beam_weights[i] += selection[c]
                token_weights[v] += selection[c]
                score += selection[c] * values[c]

            cost = 0.0
            for i in range(beam_size):
                if live[i]:
                    cost += beam_weights[i] * costs[i]
            for v in range(vocabulary_size):
                cost += token_weights[v] * token_costs[t, v]

            mixed_input = np.zeros(model.embedding.shape[1])
            for v in range(vocabulary_size):
                mixed_input = mixed_input + token_weights[v] * model.embedding[v]

            mixed_state = []
            for array_index in range(len(model.start_state)):
                mixed_array = np.zeros_like(stepped_states[0][array_index])  # beam 0 is always live
                for i in range(beam_size):
                    if live[i]:
                        mixed_array = mixed_array + beam_weights[i] * stepped_states[i][array_index]
                mixed_state.append(mixed_array)

            new_scores.append(float(score))
            new_costs.append(float(cost))
            new_live.append(j < live_count)
            new_inputs.append(mixed_input)
            new_states.append(mixed_state)
            backpointers.append(places[int(np.argmax(selection))])  # the first of equal ones
            soft_backpointers[j] = beam_weights
            soft_tokens[j] = token_weights

        scores, costs, live, inputs, states = new_scores, new_costs, new_live, new_inputs, new_states
        all_backpointers.append(backpointers)
        all_soft_backpointers.append(soft_backpointers)
        all_token_weights.append(soft_tokens)

    searched = np.array(scores), np.array(costs), np.array(live), all_backpointers, states
    return RelaxedBeam(*searched, all_soft_backpointers, all_token_weights)


def _final_weights(result: RelaxedBeam, alpha: float) -> np.ndarray:
    """softmax(alpha * s_T) over the live beams (K,), 0 for the dead ones."""
    live_beams = [j for j in range(len(result.scores)) if result.live[j]]
    live_weights = _softmax(alpha * np.array([result.scores[j] for j in live_beams]))
    weights = np.zeros(len(result.scores))
    for position, j in enumerate(live_beams):
        weights[j] = live_weights[position]
    return weights


def direct_objective(result: RelaxedBeam, alpha: float) -> float:
    """Sum over live j of softmax(alpha * s_T)_j L_T,j."""
    weights = _final_weights(result, alpha)
    total = 0.0
    for j in range(len(weights)):
        total += float(weights[j] * result.costs[j])
    return total


def hinge_objective(result: RelaxedBeam, alpha: float, gold_score: float) -> float:
    """max(0, sum over live j of softmax(alpha * s_T)_j s_T,j - gold_score), for a cost-augmented `result`."""
    weights = _final_weights(result, alpha)
    soft_maximum = 0.0
    for j in range(len(weights)):
        soft_maximum += float(weights[j] * result.scores[j])
    return max(0.0, soft_maximum - gold_score)


def follow_backpointers(backpointers: list[list[tuple[int, int]]], j: int) -> list[int]:
    """The T tokens of final beam j, read from the last step back to the first."""
    tokens = []
    beam = j
    for step_backpointers in reversed(backpointers):
        beam, token = step_backpointers[beam]
        tokens.append(token)
    tokens.reverse()
    return tokens


def beam_distance(hypotheses: Sequence[Sequence[int]]) -> float:
    """Mean over pairs of hypotheses of the share of positions where the two differ; 0 without a pair.

    All hypotheses must have the same length T >= 1.
    """
    lengths = {len(hypothesis) for hypothesis in hypotheses}
    if len(lengths) > 1:
        raise ValueError(f"`hypotheses` must all have one length, got {sorted(lengths)}")
    distances = []
    for first, second in itertools.combinations(hypotheses, 2):
        different = 0
        for t in range(len(first)):
            if first[t] != second[t]:
                different += 1
        distances.append(different / len(first))
    if not distances:
        return 0.0
    return math.fsum(distances) / len(distances)


# ------------------------------------------------------------------------------------------- recurrent models


def gold_score(model: Recurrence, gold: Sequence[int]) -> float:
    """Sum of the local scores of `gold`, each step reading the gold token before it."""
    step_input = model.start_input
    state = model.start_state
    total = 0.0
    for token in gold:
        scores, state = model.step(step_input, state)
        total += float(scores[token])
        step_input = model.embedding[token]
    return total


def as_prefix_model(model: Recurrence) -> NextScores:
    """The function prefix -> scores (V,) of the next token, by running `model` over the whole prefix."""

    def next_scores(prefix: tuple[int, ...]) -> np.ndarray:
        scores, state = model.step(model.start_input, model.start_state)
        for token in prefix:
            scores, state = model.step(model.embedding[token], state)
        return scores

    return next_scores


def random_recurrence(
    rng: np.random.Generator, vocabulary_size: int, embed_dim: int, hidden_dim: int
) -> tuple[Recurrence, dict[str, np.ndarray]]:
    """A tiny tanh RNN with two state arrays [h (H,), c (H,)], and its parameters, standard normal float64.

    Parameters:

        embedding    (V, E)      start_input  (E,)      start_h  (H,)      start_c  (H,)
        W_x          (H, E)      W_h          (H, H)    b_h      (H,)
        W_c          (H, H)      O            (V, 2H)

    One step, from input x and state [h, c] to scores f and state [h', c']:

        h' = tanh(W_x @ x + W_h @ h + b_h)
        c' = 0.5 * c + tanh(W_c @ h')
        f  = log_softmax(O @ concat(h', c'))

    The first step reads start_input and [start_h, start_c].
    """
    parameters = {
        "embedding": rng.standard_normal((vocabulary_size, embed_dim)),
        "start_input": rng.standard_normal(embed_dim),
        "start_h": rng.standard_normal(hidden_dim),
        "start_c": rng.standard_normal(hidden_dim),
        "W_x": rng.standard_normal((hidden_dim, embed_dim)),
        "W_h": rng.standard_normal((hidden_dim, hidden_dim)),
        "b_h": rng.standard_normal(hidden_dim),
        "W_c": rng.standard_normal((hidden_dim, hidden_dim)),
        "O": rng.standard_normal((vocabulary_size, 2 * hidden_dim)),
    }

    def step(step_input: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        h, c = state
        new_h = np.tanh(parameters["W_x"] @ step_input + parameters["W_h"] @ h + parameters["b_h"])
        new_c = 0.5 * c + np.tanh(parameters["W_c"] @ new_h)
        logits = parameters["O"] @ np.concatenate([new_h, new_c])
        return logits - _logsumexp(logits), [new_h, new_c]

    model = Recurrence(
        step=step,
        start_state=[parameters["start_h"], parameters["start_c"]],
        start_input=parameters["start_input"],
        embedding=parameters["embedding"],
    )
    return model, parameters


# ---------------------------------------------------------------------------------------- scheduled sampling


class ScheduledSampling(NamedTuple):
    """What T steps of scheduled sampling give."""

    loss: float  # label-smoothed cross entropy, summed over the T steps
    nll: float  # the same sum without the smoothing
    inputs: list[np.ndarray]  # the T inputs (E,) that the steps read, the first one being the model's start_input


FEEDBACKS = ("soft-argmax", "soft-sample", "argmax", "sample")
NOISY_FEEDBACKS = ("soft-sample", "sample")


def _feedback_weights(
    scores: np.ndarray, noise: np.ndarray | None, feedback: str, alpha: float, candidates: Sequence[int]
) -> np.ndarray:
    """The weights (V,) of the tokens that are fed back after scores (V,), 0 outside `candidates`; noise (V,)."""
    values = []
    for v in candidates:
        value = float(scores[v])
        if feedback in NOISY_FEEDBACKS:
            value += float(noise[v])
        values.append(value)
    values = np.array(values)

    if feedback in ("soft-argmax", "soft-sample"):
        candidate_weights = _softmax(alpha * values)
    else:
        candidate_weights = np.zeros(len(values))
        candidate_weights[int(np.argmax(values))] = 1.0  # the first of equal ones

    weights = np.zeros(len(scores))
    for c in range(len(candidates)):
        weights[candidates[c]] = candidate_weights[c]
    return weights


def _scheduled_sampling_steps(
    model: Recurrence,
    gold: Sequence[int],
    feedback: str,
    alpha: float,
    feed_gold: Sequence[bool],
    candidates: Sequence[int],
    noise: np.ndarray | None,
    label_smoothing: float,
    fixed_weights: list[np.ndarray] | None = None,
) -> tuple[ScheduledSampling, list[np.ndarray]]:
    """The result, and for each of steps 0, ..., T - 2 the weights (V,) of the tokens that the next step reads.

    `fixed_weights`, such a list of T - 1 arrays (V,), replaces the weights that the scores would give.
    """
    vocabulary_size = len(model.embedding)
    length = len(gold)
    if feedback not in FEEDBACKS:
        raise ValueError(f"`feedback` must be one of {FEEDBACKS}, got {feedback!r}")
    if len(feed_gold) < length - 1:
        raise ValueError(f"`feed_gold` must have at least {length - 1} entries, got {len(feed_gold)}")
    if feedback in NOISY_FEEDBACKS:
        if noise is None:
            raise ValueError(f"feedback {feedback!r} needs `noise`")
        if noise.shape != (length, vocabulary_size):
            raise ValueError(f"`noise` must have shape {(length, vocabulary_size)}, got {noise.shape}")

    share = label_smoothing / (vocabulary_size - 1)  # eps_i, what the smoothing gives to each token
    loss = 0.0
    nll = 0.0
    inputs = []
    all_weights = []
    step_input = model.start_input
    state = model.start_state

    for t in range(length):
        inputs.append(step_input)
        scores, state = model.step(step_input, state)

        everything = _logsumexp(scores)
        step_nll = everything - float(scores[gold[t]])
        all_nlls = 0.0  # sum over v of -log p(v)
        for v in range(vocabulary_size):
            all_nlls += everything - float(scores[v])
        nll += step_nll
        loss += (1.0 - label_smoothing - share) * step_nll + share * all_nlls

        if t + 1 == length:
            break
        if fixed_weights is not None:
            weights = fixed_weights[t]
        elif feed_gold[t]:
            weights = np.zeros(vocabulary_size)
            weights[gold[t]] = 1.0
        else:
            step_noise = None if noise is None else noise[t]
            weights = _feedback_weights(scores, step_noise, feedback, alpha, candidates)
        all_weights.append(weights)

        step_input = np.zeros(model.embedding.shape[1])
        for v in range(vocabulary_size):
            step_input = step_input + weights[v] * model.embedding[v]

    return ScheduledSampling(loss, nll, inputs), all_weights


def scheduled_sampling(
    model: Recurrence,
    gold: Sequence[int],
    feedback: str,
    alpha: float,
    feed_gold: Sequence[bool],
    candidates: Sequence[int],
    noise: np.ndarray | None = None,
    label_smoothing: float = 0.0,
) -> ScheduledSampling:
    """Cross entropy of the T tokens of `gold`, where step t + 1 reads what step t gave, or the gold token.

    With f the scores (V,) of step t and G = noise[t], step t + 1 reads embedding[gold[t]] if feed_gold[t]
    (entries from T - 1 on are ignored), else by `feedback`:

        soft-argmax   softmax(alpha f) @ embedding            argmax   embedding[argmax f]
        soft-sample   softmax(alpha (f + G)) @ embedding      sample   embedding[argmax (f + G)]

    where softmax and argmax are among `candidates` only. `noise` (T, V) must be given where G is used, and is
    ignored elsewhere. The cross entropy has no noise and is over the whole vocabulary, p = softmax(f), and with
    eps_i = label_smoothing / (V - 1) the loss of one step is

        (1 - label_smoothing - eps_i) * -log p(gold[t]) + eps_i * sum_v -log p(v)
    """
    result, _ = _scheduled_sampling_steps(model, gold, feedback, alpha, feed_gold, candidates, noise, label_smoothing)
    return result


def scheduled_sampling_gradient(
    model_of: Callable[[np.ndarray], Recurrence],
    parameters: np.ndarray,
    frozen: bool,
    gold: Sequence[int],
    feedback: str,
    alpha: float,
    feed_gold: Sequence[bool],
    candidates: Sequence[int],
    noise: np.ndarray | None = None,
) -> np.ndarray:
    """Central differences (P,), step 1e-6, of the unsmoothed loss of `scheduled_sampling` in parameters (P,).

    model_of(parameters) builds the model, and must not change the array.
    `frozen` holds the weights of the tokens that are fed back at their values at `parameters`: nothing flows
    through the choice, while the rows of the embedding that the weights mix still get their gradient.
    Otherwise everything is differentiated. A hard choice is piecewise constant, so that `frozen` makes no
    difference to it unless the best two candidates are within about 1e-6 of each other.
    """
    step_size = 1e-6
    arguments = (gold, feedback, alpha, feed_gold, candidates, noise, 0.0)
    fixed_weights = None
    if frozen:
        _, fixed_weights = _scheduled_sampling_steps(model_of(parameters), *arguments)

    gradient = np.zeros(len(parameters))
    for p in range(len(parameters)):
        losses = []
        for sign in (1.0, -1.0):
            moved = np.array(parameters, dtype=np.float64)
            moved[p] += sign * step_size
            result, _ = _scheduled_sampling_steps(model_of(moved), *arguments, fixed_weights)
            losses.append(result.loss)
        gradient[p] = (losses[0] - losses[1]) / (2.0 * step_size)
    return gradient
