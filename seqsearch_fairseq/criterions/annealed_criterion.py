"""The base of the criterions whose relaxation is annealed: alpha, its three flags, and its value in each epoch."""

import dataclasses
import math

from seqsearch_fairseq.algorithms.schedules import annealed
from seqsearch_fairseq.criterions.search_criterion import SearchCriterion, SearchCriterionConfig
from seqsearch_fairseq.errors import UsageError


def alpha_field(help: str):
    """The setting `PREFIX_alpha`; `help` says what alpha does."""
    return dataclasses.field(default=1.0, metadata={"help": help})


def growth_field():
    """The setting `PREFIX_alpha_growth`."""
    return dataclasses.field(
        default=1.0, metadata={"help": "factor by which alpha grows after each epoch; 1 keeps it constant"}
    )


def maximum_field():
    """The setting `PREFIX_alpha_max`."""
    return dataclasses.field(default=1e4, metadata={"help": "alpha does not grow beyond this"})


class AnnealedCriterion(SearchCriterion):
    """A search criterion with `alpha`. Its settings hold the three fields above under names that begin with `prefix`.

    Raises:
        UsageError: alpha or its growth is not positive and finite, or the maximum is below the start.
    """

    prefix: str

    def __init__(self, cfg: SearchCriterionConfig, task):
        super().__init__(cfg, task)
        flag = "--" + self.prefix.replace("_", "-")
        alpha, growth, maximum = self._schedule
        for name, value in (("alpha", alpha), ("alpha-growth", growth)):
            if not 0 < value < math.inf:
                raise UsageError(f"{flag}-{name} must be a positive number, got {value}")
        if not maximum >= alpha:
            raise UsageError(f"{flag}-alpha-max must be at least {flag}-alpha ({alpha}), got {maximum}")

    @property
    def _schedule(self) -> tuple[float, float, float]:
        start, growth, maximum = (getattr(self.cfg, f"{self.prefix}_alpha{part}") for part in ("", "_growth", "_max"))
        return start, growth, maximum

    @property
    def alpha(self) -> float:
        """This epoch's alpha; the epoch is the one that fairseq counts and restores."""
        return annealed(self.task.epoch, *self._schedule)
