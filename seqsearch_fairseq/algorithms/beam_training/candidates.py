"""Complete candidates of a sentence: those of a beam search, or samples of the model. Without gradient and dropout.

An output either has a known length or ends by its own end-of-sentence token. A candidate that has ended keeps its place
and its score while others go on. By beam search all candidates differ; samples may not.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.hard_beam import check_lengths, check_search_arguments, first_live
from seqsearch_fairseq.algorithms.masking import masked_softmax, masked_topk
from seqsearch_fairseq.algorithms.sequence_costs import FILL
from seqsearch_fairseq.algorithms.step import Step, first_inputs


class Candidates(NamedTuple):
    tokens: Tensor  # (B, K, L), the end of sentence included, FILL after it
    live: Tensor  # (B, K) bool: False where the space holds fewer than K sequences


class _Chosen(NamedTuple):
    beams: Tensor  # (B, K) what each new row continues
    tokens: Tensor  # (B, K) by which token
    scores: Tensor  # (B, K)
    live: Tensor  # (B, K) bool


def _best(scores: Tensor, local: Tensor, allowed: Tensor) -> _Chosen:
    vocabulary = local.size(2)
    top = masked_topk((scores.unsqueeze(2) + local).flatten(1), allowed.flatten(1), scores.size(1))
    return _Chosen(top.indices // vocabulary, top.indices % vocabulary, top.values.masked_fill(~top.live, 0), top.live)


def _drawn(scores: Tensor, local: Tensor, allowed: Tensor) -> _Chosen:
    probabilities = masked_softmax(local, allowed)
    # Scores that are no number would stop the draw. They are found in the loss, which can tell where they are.
    probabilities = torch.where(probabilities.isfinite(), probabilities, allowed.to(probabilities.dtype))
    tokens = torch.multinomial(probabilities.flatten(0, 1), 1).view_as(scores)
    unmoved = torch.arange(scores.size(1), device=scores.device).expand_as(scores)
    return _Chosen(unmoved, tokens, scores, torch.ones_like(tokens, dtype=torch.bool))


METHODS = {"beam": _best, "sample": _drawn}


@torch.no_grad()
def find_candidates(
    step: Step, limits: Tensor, count: int, allowed: Tensor, eos: int | None, method: str = "beam"
) -> Candidates:
    """The candidates of each sentence.

    Args:
        step: the decoder.
        limits: (B,) integer, how many tokens each output has; with `eos`, at most, itself included.
        count: K, at least 1.
        allowed: (V,) bool, the tokens that may be output, `eos` among them.
        eos: the token that ends a candidate; None where the output's length is known.
        method: a name of `METHODS`. `sample` draws from the softmax of the local scores among the allowed tokens, from
            torch's generator of the scores' device.

    Raises:
        ValueError: an argument breaks its rule.
    """
    check_search_arguments(count, allowed)
    check_lengths(limits)
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {', '.join(METHODS)}, got {method}")
    batch, vocabulary = len(limits), torch.arange(len(allowed), device=allowed.device)
    only = vocabulary == (int(allowed.long().argmax()) if eos is None else eos)  # the one token of an ended row
    live = first_live(batch, count, limits.device)
    live = live if method == "beam" else torch.ones_like(live)
    scores = torch.zeros(batch, count, device=limits.device)
    ended = torch.zeros_like(live)
    tokens = limits.new_full((batch, count, int(limits.max())), FILL)
    with step.noise_free():
        state, inputs = step.start(count), first_inputs(step, count)
        for t in range(tokens.size(2)):
            local, state = step(inputs, state)
            local = local.view(batch, count, -1).masked_fill(ended.unsqueeze(2), 0)
            forced = ended if eos is None else ended | (limits == t + 1).unsqueeze(1)
            mask = torch.where(forced.unsqueeze(2), only, allowed) & live.unsqueeze(2)
            beams, latest, scores, live = METHODS[method](scores, local, mask)
            ended = ended.gather(1, beams)
            tokens = tokens.gather(1, beams.unsqueeze(2).expand_as(tokens))
            tokens[:, :, t] = torch.where(ended | ~live, FILL, latest)
            ended = ended | ~live | (limits <= t + 1).unsqueeze(1) | (latest == (FILL if eos is None else eos))
            if bool(ended.all()):
                break
            rows = beams + count * torch.arange(batch, device=beams.device).unsqueeze(1)
            state, inputs = state.reorder(rows.flatten()), step.embedding[latest.flatten()]
    return Candidates(tokens[:, :, : t + 1].masked_fill(~live.unsqueeze(2), FILL), live)
