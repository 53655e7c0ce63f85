"""The relaxed beam: Goyal, Neubig, Dyer, Berg-Kirkpatrick 2018 (arXiv 1708.00111), algorithm 3, and its two objectives.

At each step every live beam i offers its candidates `S[i, v] = s[i] + f(h_i)[v]`. A relaxed top-k (`relaxations.py`)
gives K distributions `P_j` over them, and everything that hard beam search would pick is averaged under `P_j` instead:

    soft backpointer  b_j[i] = sum_v P_j[i, v]          token weights  a_j[v] = sum_i P_j[i, v]
    score             s'_j   = sum P_j * S               input          e_j    = a_j @ embedding
    state             h'_j   = sum_i b_j[i] h_i          cost           L'_j   = sum_i b_j[i] L_i + sum_v a_j[v] d_t(v)

The direct objective is the cost of the (softly) best final beam. The hinge objective searches with the costs added to
the candidates' scores and asks the gold sequence to score above what it finds.
"""

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.choice import Beams, Settings
from seqsearch_fairseq.algorithms.costs import TokenCosts
from seqsearch_fairseq.algorithms.fused_choice import chooser
from seqsearch_fairseq.algorithms.hard_beam import (
    check_lengths,
    check_search_arguments,
    first_live,
    follow_backpointers,
)
from seqsearch_fairseq.algorithms.leaving import Searched
from seqsearch_fairseq.algorithms.relaxations import check_relaxation, peaked_softmax
from seqsearch_fairseq.algorithms.selection import Selection
from seqsearch_fairseq.algorithms.step import State, Step, first_inputs

SAME_STATE = 1e-3  # two states that differ by less than this everywhere have collapsed into one


class SoftBeam(NamedTuple):
    """The K soft hypotheses of each sentence, read at the sentence's own last step."""

    scores: Tensor  # (B, K)
    costs: Tensor  # (B, K) expected cost of each soft hypothesis
    live: Tensor  # (B, K) bool: False where there are fewer than K hypotheses
    beams: Tensor  # (B, T, K) hard backpointers
    tokens: Tensor  # (B, T, K) the tokens that they append
    collapsed: Tensor  # (B,) bool: the states of all live beams agree to `SAME_STATE`; False for a single one


def soft_beam(
    step: Step,
    lengths: Tensor,
    token_costs: TokenCosts,
    beam_size: int,
    alpha: float,
    candidates: Tensor,
    top_k: str = "squared-distance",
    cost_augmented: bool = False,
    observe: Callable[[Selection], None] | None = None,
    kernel: str = "torch",
) -> SoftBeam:
    """Run the relaxed beam for exactly `lengths[b]` steps in sentence b.

    Args:
        step: the decoder; its local scores are f.
        lengths: (B,) integer, number of output tokens of each gold sequence.
        token_costs: d_t(v).
        beam_size: K, at least 1.
        alpha: > 0, how peaked every softmax is.
        candidates: (V,) bool, the tokens that may be output.
        top_k: which relaxed top-k, a name of `relaxations.TOP_K`.
        cost_augmented: add d_t(v) to the candidates' scores (for the hinge objective).
        observe: called with what each step chose; `trace.py` collects it.
        kernel: what reads the scores of all candidates where there is a gradient, a name of `candidate_pass.KERNELS`.

    Raises:
        ValueError: `lengths`, `alpha`, `beam_size`, `candidates`, `top_k` or `kernel` breaks its rule.
    """
    check_search_arguments(beam_size, candidates)
    check_relaxation(alpha, top_k)
    check_lengths(lengths)
    batch, width = lengths.numel(), beam_size
    first = 1 if step.rows_share else width  # before the first step all beams of a sentence are the same
    last_steps = set(lengths.tolist())
    # An observer sees all sentences. Without gradient a narrowed step may read nothing but tokens (`Step.inputs_of`).
    searched = Searched(step, lengths, may_leave=torch.is_grad_enabled() and observe is None)
    unmoved = torch.arange(width, device=lengths.device).expand(batch, -1)
    live = first_live(batch, first, lengths.device)
    collapsed = torch.zeros(batch, dtype=torch.bool, device=lengths.device)
    state, inputs = step.start(first), first_inputs(step, first)
    scores = costs = inputs.new_zeros(batch, first, dtype=torch.promote_types(inputs.dtype, torch.float32))
    settings = Settings(width, alpha, top_k, candidates, token_costs, cost_augmented, kernel)
    choose = chooser(step, settings, max(last_steps), observe)
    history = []
    for t in range(max(last_steps)):
        found = scores, costs, live, collapsed
        state, inputs, (scores, costs, live, collapsed) = searched.before(t, state, inputs, found)
        features, state = searched.step.advance(inputs, state)
        going = (t < searched.lengths).unsqueeze(1)  # a sentence that has ended keeps what it had
        chosen = choose(features, Beams(t, scores, live, going, searched.sentences))
        paid = torch.bmm(chosen.soft_beams, costs.unsqueeze(2)).squeeze(2) + chosen.costs
        state = state.mix(chosen.soft_beams)
        inputs = chosen.inputs.flatten(0, 1)  # (N, E)

        scores, costs = torch.where(going, chosen.scores, scores), torch.where(going, paid, costs)
        live = torch.where(going, chosen.live, live)
        if t + 1 in last_steps:
            collapsed = torch.where(searched.lengths == t + 1, _collapsed(state, live), collapsed)
        moved = torch.where(going, chosen.best_beams, unmoved[: len(going)])
        history.append((searched.in_batch(moved, unmoved), searched.in_batch(chosen.best_tokens, unmoved)))
    scores, costs, live, collapsed = searched.all_of((scores, costs, live, collapsed))
    beams, tokens = (torch.stack(column, dim=1) for column in zip(*history, strict=True))
    return SoftBeam(scores, costs, live, beams, tokens, collapsed)


def direct_objective(result: SoftBeam, alpha: float) -> Tensor:
    """Goyal et al. 2018, equation 4: `sum_j softmax(alpha * s_T)_j L_j`, for each sentence: (B,)."""
    best = peaked_softmax(result.scores, alpha, result.live)
    return (best * result.costs).sum(dim=1)


def hinge_objective(result: SoftBeam, alpha: float, gold_scores: Tensor) -> Tensor:
    """`max(0, sum_j softmax(alpha * s_T)_j s_T,j - score(gold))` for each sentence: (B,).

    Args:
        result: of a cost-augmented search.
        alpha: > 0.
        gold_scores: (B,) sum of the gold tokens' local scores under teacher forcing.
    """
    best = peaked_softmax(result.scores, alpha, result.live)
    violation = (best * torch.where(result.live, result.scores, 0.0)).sum(dim=1) - gold_scores
    return violation.clamp(min=0.0)


def hypotheses(result: SoftBeam) -> Tensor:
    """(B, K, T) tokens of each final beam, read off by the hard backpointers; arbitrary after a sentence's end."""
    return follow_backpointers(result.beams, result.tokens)


def beam_distance(result: SoftBeam, lengths: Tensor) -> Tensor:
    """Mean pairwise Hamming distance, per token, between each sentence's live hypotheses: (B,); 0 for a single one.

    Beam diversity: 0 means that the K beams act as one.
    """
    tokens = hypotheses(result)
    inside = torch.arange(tokens.size(2), device=tokens.device) < lengths.unsqueeze(1)  # (B, T)
    distance = result.scores.new_zeros(lengths.numel())
    pairs = result.scores.new_zeros(lengths.numel())
    for i, j in combinations(range(tokens.size(1)), 2):
        differing = (tokens[:, i].ne(tokens[:, j]) & inside).sum(dim=1) / lengths
        both = result.live[:, i] & result.live[:, j]
        distance += differing * both
        pairs += both
    return distance / pairs.clamp(min=1)


@torch.no_grad()
def _collapsed(state: State, live: Tensor) -> Tensor:
    batch, beams = live.shape
    same = live.sum(dim=1) > 1
    for tensor in state.tensors.values():
        rows = tensor.reshape(batch, beams, -1)
        gap = (rows - rows[:, :1]).abs().amax(dim=2)  # (B, K) against beam 0, which is always live
        same = same & (gap.masked_fill(~live, 0.0) < SAME_STATE).all(dim=1)
    return same
