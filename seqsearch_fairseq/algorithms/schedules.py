"""How a quantity changes over epochs. A schedule is a function of the epoch that fairseq restores, nothing else."""


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
