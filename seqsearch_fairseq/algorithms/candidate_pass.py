"""The candidate pass of a step: what the choice asks of the logits of all K * V candidates, and who finds it.

`TorchPass` is made of torch's own operations. On a GPU `kernels/candidate_pass.py` can find the same in one read of the
logits. Where all candidates take part, the pass hands over to a `Whole` (`whole_choice.py`, `kernels/whole.py`).
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms import kernels
from seqsearch_fairseq.algorithms.choice import Beams
from seqsearch_fairseq.algorithms.nearest import GroupedRanking, Ranking
from seqsearch_fairseq.algorithms.scored import Run, mean_output_rows, normalisers, penalty, total_scores
from seqsearch_fairseq.algorithms.whole_choice import TorchWhole, Whole


class CandidatePass(Protocol):
    """What one look at the logits of a step finds, without gradient."""

    log_z: Tensor | None  # (N,) the log normalisers; None where the scores are the logits

    @property
    def ranking(self) -> GroupedRanking:
        """Of the scores S of all candidates; places are `i * V + v`."""

    def mean_output_rows(self) -> Tensor:
        """E_p[W]: (N, D); where there are normalisers."""

    def whole(self) -> Whole:
        """The choice among all candidates. It holds no more of the pass than it needs."""


class TorchPass:
    """See `CandidatePass`."""

    def __init__(self, run: Run, features: Tensor, beams: Beams):
        logits = run.output.logits(features)
        self._run, self._beams = run, beams
        self._normalisers = normalisers(logits) if run.output.normalized else None
        self.log_z = None if self._normalisers is None else self._normalisers.log_z
        self._total = total_scores(run, logits, self.log_z, beams).flatten(1)
        self.ranking = Ranking(self._total + penalty(run, beams))

    def mean_output_rows(self) -> Tensor:
        assert self._normalisers is not None
        return mean_output_rows(self._run, self._normalisers)

    def whole(self) -> Whole:
        return TorchWhole(self._run, self._beams, self._total)


Make = Callable[[Run, Tensor, Beams], CandidatePass]  # from a step's features (N, D) and its beams


def _triton() -> Make:
    from seqsearch_fairseq.algorithms.kernels.candidate_pass import TritonPass  # imports triton, which is optional

    return TritonPass


KERNELS: dict[str, Callable[[], Make]] = {"torch": lambda: TorchPass, "triton": _triton}


def candidate_pass(kernel: str, device: torch.device) -> Make:
    """What makes the passes of a search.

    Args:
        kernel: a name of `KERNELS`.
        device: of the model.

    Raises:
        ValueError: there is no such kernel, or it cannot run there.
    """
    if kernel not in KERNELS:
        raise ValueError(f"`kernel` must be one of {', '.join(KERNELS)}, got {kernel}")
    reason = why_not(kernel, device)
    if reason is not None:
        raise ValueError(f"`kernel` {kernel} {reason}")
    return KERNELS[kernel]()


def why_not(kernel: str, device: torch.device | None) -> str | None:
    """What a kernel needs and does not have, as the end of a sentence; None where it can run.

    Args:
        kernel: a name of `KERNELS`.
        device: of the model; None where that is not known yet.
    """
    return kernels.why_not(device) if kernel == "triton" else None
