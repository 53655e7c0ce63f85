"""The loss: all that the beam kept and that is complete, less all alignments of the transcription."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.alignments import align
from seqsearch_fairseq.algorithms.beam_decoder.language_models import LanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.lattice import beam_paths
from seqsearch_fairseq.algorithms.beam_decoder.scoring import PathSum, Weights, build_problem, with_gradient
from seqsearch_fairseq.algorithms.beam_decoder.search import Gold, Settings
from seqsearch_fairseq.algorithms.beam_decoder.topologies import Graph

IN_BEAM, FREE = "in-beam", "free"
GOLD = (IN_BEAM, FREE)


class BeamDecoderObjective(NamedTuple):
    losses: Tensor  # (B,) 0 where skipped
    gold_scores: Tensor  # (B,) logadd over A(y); -inf where it is empty
    beam_scores: Tensor  # (B,) logadd over the complete hypotheses of the beam; -inf where there is none
    gold_lost: Tensor  # (B,) bool: at some frame no state of the gold was left in the beam
    gold_outside: Tensor  # (B,) bool: at some frame none was among the K best, whether or not it was kept
    skipped: Tensor  # (B,) bool: one of the two scores is -inf, so that there is nothing to learn


def beam_decoder_objective(
    emissions: Tensor,
    lengths: Tensor,
    words: Tensor,
    graph: Graph,
    language_model: LanguageModel,
    weights: Weights,
    beam_size: int,
    threshold: float = math.inf,
    gold: str = IN_BEAM,
) -> BeamDecoderObjective:
    """The loss of each sentence, with gradients in the emissions, the weights and the language model's parameters.

    Args:
        emissions: (B, T, U) f.
        lengths: (B,) frames of each sentence, in [1, T].
        words: (B, M) the transcriptions' words by their numbers, `alignments.PAD` after their ends.
        graph: of lexicon and topology.
        weights: of the terms; with transitions in ASG.
        beam_size: K, at least 1.
        threshold: hypotheses further than this below the best are dropped.
        gold: `in-beam`: the states of the gold stay in the beam whatever their rank, so that the loss is not negative;
            `free`: they do not.

    Raises:
        ValueError: an argument breaks its rule.
    """
    if gold not in GOLD:
        raise ValueError(f"`gold` must be one of {', '.join(GOLD)}, got {gold}")
    settings = Settings(beam_size, threshold)
    settings.check()
    # Two shares that are nearly equal are subtracted in the gradient, so half precision is left before, not after.
    emissions = emissions.to(torch.promote_types(emissions.dtype, torch.float32))
    problem = build_problem(emissions, lengths, graph, language_model, weights)
    with_shares = torch.is_grad_enabled()
    aligned = align(problem, words, with_shares)
    exists = aligned.paths.scores > -torch.inf
    found = beam_paths(problem, settings, Gold(aligned.keys, exists, kept=gold == IN_BEAM), with_shares)

    def joined(paths: PathSum) -> Tensor:
        return with_gradient(paths, emissions, problem.graph, problem.reading, weights)

    gold_scores, beam_scores = joined(aligned.paths), joined(found.paths)
    skipped = ~exists | (beam_scores == -torch.inf)
    losses = torch.where(skipped, 0.0, beam_scores - gold_scores)
    losses = losses.masked_fill(~problem.offsets.isfinite(), torch.nan)  # an emission is no number
    lost = found.gold_outside if gold == FREE else torch.zeros_like(found.gold_outside)
    return BeamDecoderObjective(
        losses, gold_scores + problem.offsets, beam_scores + problem.offsets, lost, found.gold_outside, skipped
    )
