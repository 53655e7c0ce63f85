"""A fairseq model over frames, seen as emissions: what a decoder over frames and a criterion over alignments need.

Any model will do whose output is a dictionary with `padding_mask` (B, T), true where there is no frame, or None, and
whose `get_normalized_probs` makes log-probs (T, B, U) of it: `recognizer_lstm`, and fairseq's `wav2vec_ctc`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seqsearch_fairseq.errors import UsageError


class Emissions(NamedTuple):
    """Scores of units at frames."""

    log_probs: Tensor  # (B, T, U) float32 or wider
    lengths: Tensor  # (B,) frames of each utterance


def emissions_of(model, net_output) -> Emissions:
    """The emissions in what `model` returned for a batch.

    Raises:
        UsageError: the model does not have units at frames as its output.
    """
    if not isinstance(net_output, dict) or "padding_mask" not in net_output:
        raise UsageError(
            f"{type(model).__name__} has no units at frames as its output; use recognizer_lstm or wav2vec_ctc"
        )
    log_probs = model.get_normalized_probs(net_output, log_probs=True)  # (T, B, U)
    log_probs = log_probs.transpose(0, 1).to(torch.promote_types(log_probs.dtype, torch.float32))
    padding = net_output["padding_mask"]  # after the line above, in which wav2vec_ctc may widen it
    if padding is None:
        lengths = torch.full((log_probs.size(0),), log_probs.size(1), device=log_probs.device)
    else:
        lengths = (~padding).sum(dim=1)
    return Emissions(log_probs, lengths)


@torch.no_grad()
def emit(models: Sequence, net_input: dict) -> Emissions:
    """The emissions of a batch's input; of several models the mean of their probabilities.

    Raises:
        UsageError: a model does not have units at frames as its output, or they differ in how many frames they have.
    """
    found = [emissions_of(model, model(**net_input)) for model in models]
    if len({tuple(one.log_probs.shape) for one in found}) > 1:
        raise UsageError("the models of an ensemble must have the same units, and subsample the frames alike")
    together = torch.stack([one.log_probs for one in found]).logsumexp(dim=0) - float(np.log(len(found)))
    return Emissions(together, found[0].lengths)


@contextmanager
def last_output(model: nn.Module) -> Iterator[list]:
    """A list that, while the context lasts, holds what `model` last returned."""
    kept: list = []

    def keep(module, inputs, output):
        kept[:] = [output]

    handle = model.register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()


def frames_after(model) -> Callable[[np.ndarray], np.ndarray] | None:
    """From lengths of the input to frames of the output, for the models that this package knows; else None."""
    if hasattr(model, "output_lengths"):
        return model.output_lengths
    extractor = getattr(getattr(getattr(model, "w2v_encoder", None), "w2v_model", None), "feature_extractor", None)
    if extractor is None:
        return None
    steps = [(layer.kernel_size[0], layer.stride[0]) for layer in extractor.modules() if isinstance(layer, nn.Conv1d)]

    def through(lengths: np.ndarray) -> np.ndarray:
        for kernel, stride in steps:
            lengths = (lengths - kernel) // stride + 1
        return np.maximum(lengths, 0)

    return through
