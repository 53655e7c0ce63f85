"""What the figures of a `Diagnosis` mean: one sentence each, with the training or the decoding that addresses it."""

from collections.abc import Callable

from seqsearch_fairseq.diagnosis.measures import Diagnosis

# From these on a figure is worth an attempt. They are rules of thumb, not fitted to any table.
MUCH_EXPOSURE_BIAS = 0.5  # bits a token
MUCH_GAIN = 1.0  # points of quality
MUCH_ORACLE_GAIN = 5.0  # points: the best of K is always somewhat better than the first
MANY_SEARCH_ERRORS = 5.0  # per cent of the sentences


def advice(found: Diagnosis) -> dict[str, str]:
    """One sentence for each measure, by its name."""
    return {name: say(found) for name, say in SENTENCES.items()}


def _exposure_bias(found: Diagnosis) -> str:
    if found.exposure_bias < MUCH_EXPOSURE_BIAS:
        return "The model hardly depends on gold history: training on its own output has little to gain."
    return (
        "The model depends on gold history: train it on its own output, with differentiable_scheduled_sampling, "
        "soft_beam_direct (log-probs) or searnn."
    )


def _beam_gain(found: Diagnosis) -> str:
    if found.beam_gain < MUCH_GAIN:
        return "Greedy search does as well as the beam: decode greedily."
    return (
        f"Greedy search loses to beam {found.beam}: decode with a beam, or train with soft_beam_direct or "
        "differentiable_scheduled_sampling, which bring greedy search near the beam."
    )


def _label_bias(found: Diagnosis) -> str:
    if found.label_bias < MUCH_GAIN:
        return "Logits are no better than log-probs: locally normalised scores suffice."
    return (
        "Locally normalised scores cannot revise an early decision: decode with --decode-scores logits, which needs no "
        "training, and train with global_likelihood, best from a checkpoint of differentiable_scheduled_sampling or "
        "soft_beam_direct."
    )


def _oracle_gain(found: Diagnosis) -> str:
    if found.oracle_gain < MUCH_ORACLE_GAIN:
        return f"The {found.beam} best hypotheses hold little that is better than the first: a better model is needed."
    return (
        f"The {found.beam} best hypotheses hold better ones than the first: minimum_risk and global_likelihood train "
        "the model to rank them."
    )


def _search_errors(found: Diagnosis) -> str:
    if found.search_errors < MANY_SEARCH_ERRORS:
        return "The search seldom misses a gold sequence that the model prefers: the mistakes are the model's."
    return (
        "The search misses gold sequences that the model prefers: widen the beam, or train with "
        "beam_search_optimization, which keeps the gold in it."
    )


SENTENCES: dict[str, Callable[[Diagnosis], str]] = {
    "exposure_bias": _exposure_bias,
    "beam_gain": _beam_gain,
    "label_bias": _label_bias,
    "oracle_gain": _oracle_gain,
    "search_errors": _search_errors,
}
