"""How a quantity changes over epochs. A schedule is a function of the epoch that fairseq restores, nothing else."""

import math

ALWAYS, NONE = "always", "none"


def annealed(epoch: int, start: float, growth: float = 1.0, maximum: float = float("inf")) -> float:
    """`min(maximum, start * growth ** (epoch - 1))`, the exponential annealing of alpha (Goyal et al. 2018).

    Args:
        epoch: counted from 1.
        start: value in the first epoch, > 0.
        growth: factor per epoch, > 0; 1 keeps the value constant.
        maximum: upper bound, at least `start`.

    Raises:
        ValueError: an argument is out of its range.
    """
    if epoch < 1:
        raise ValueError(f"`epoch` must be at least 1, got {epoch}")
    for name, value in (("start", start), ("growth", growth)):
        if not 0 < value < float("inf"):
            raise ValueError(f"`{name}` must be a positive number, got {value}")
    if not maximum >= start:
        raise ValueError(f"`maximum` must be at least `start` ({start}), got {maximum}")
    try:
        return min(maximum, start * growth ** (epoch - 1))
    except OverflowError:
        return maximum


def growing_beam(epoch: int, start: int, every: int, maximum: int) -> int:
    """`min(maximum, start + (epoch - 1) // every)`: a beam that grows by one after each `every` epochs.

    Wiseman & Rush 2016, section 5: the search begins small, because a wide one finds violations everywhere.

    Args:
        epoch: counted from 1.
        start: width in the first epoch, at least 1.
        every: epochs, at least 1.
        maximum: upper bound, at least `start`.

    Raises:
        ValueError: an argument is out of its range.
    """
    for name, value in (("epoch", epoch), ("start", start), ("every", every)):
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}")
    if maximum < start:
        raise ValueError(f"`maximum` must be at least `start` ({start}), got {maximum}")
    return min(maximum, start + (epoch - 1) // every)


def gold_probability(epoch: int, decay: float | str) -> float:
    """The probability of feeding the gold token: inverse-sigmoid decay over epochs (Bengio et al. 2015, section 2.4).

    1 in the first epoch, then `k / (k + exp(epoch / k))` (Goyal, Dyer, Berg-Kirkpatrick 2017, section 4).

    Args:
        epoch: counted from 1.
        decay: k > 0, the larger the slower; `"always"` feeds the model's own output from the start (probability 0),
            `"none"` the gold throughout (probability 1).

    Raises:
        ValueError: an argument is out of its range.
    """
    if epoch < 1:
        raise ValueError(f"`epoch` must be at least 1, got {epoch}")
    if decay in (ALWAYS, NONE):
        return 0.0 if decay == ALWAYS else 1.0
    if isinstance(decay, str) or not 0 < decay < math.inf:
        raise ValueError(f"`decay` must be a positive number, '{ALWAYS}' or '{NONE}', got {decay!r}")
    if epoch == 1:
        return 1.0
    exponent = epoch / decay - math.log(decay)  # 1 / (1 + exp(epoch / k) / k)
    return 1.0 / (1.0 + math.exp(exponent)) if exponent < 700 else 0.0
