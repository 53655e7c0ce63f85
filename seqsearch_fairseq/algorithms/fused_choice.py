"""The choice of one step of the relaxed beam that keeps nothing of the size K * V.

The scores of all candidates, `S[i, v] = s[i] + z_i[v] - Z_i`, are made, looked at, and dropped (`candidate_pass.py`:
by torch's operations, or by kernels in Triton). What happens next depends on how peaked they are (`nearest.py`):

* a few candidates carry all mass: `near_choice.py` keeps these, and E_p[W] for the gradient of the normaliser;
* else `whole_choice.py` makes all scores and weights again in the backward pass.

Both are exact to the precision of the scores' type. Gradients of the output layer and the embedding are handed from
step to step (`shared_gradient.py`, `output_layer.py`).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.candidate_pass import TorchPass, candidate_pass
from seqsearch_fairseq.algorithms.choice import Beams, Chosen, PlainChoice, Settings
from seqsearch_fairseq.algorithms.near_choice import NearChoice
from seqsearch_fairseq.algorithms.nearest import Best, nearest
from seqsearch_fairseq.algorithms.output_layer import SearchedOutput
from seqsearch_fairseq.algorithms.scored import Run
from seqsearch_fairseq.algorithms.selection import Selection
from seqsearch_fairseq.algorithms.shared_gradient import first_link
from seqsearch_fairseq.algorithms.step import Step
from seqsearch_fairseq.algorithms.whole_choice import WholeChoice


def chooser(
    step: Step, settings: Settings, steps: int, observe: Callable[[Selection], None] | None = None
) -> Callable[[Tensor, Beams], Chosen]:
    """What chooses in each step of a search: the fused form, or the plain one where that cannot or need not be.

    Args:
        step: the decoder.
        settings: of the search.
        steps: how many steps it will make.
        observe: called with what each step chose; only the plain form can show it.
    """
    if observe is None and torch.is_grad_enabled() and step.output is not None:
        return FusedChoice(step, settings, steps)
    return PlainChoice(step, settings, observe)


class FusedChoice:
    """The choice of each step of one search, in turn. See `PlainChoice`, which it equals, and `chooser`."""

    def __init__(self, step: Step, settings: Settings, steps: int):
        layer, embedding = step.output, step.embedding
        assert layer is not None
        output = SearchedOutput(layer, steps, step.batch_size * settings.width)
        dtype = torch.promote_types(embedding.dtype, torch.float32)
        self._run = Run(settings, output, embedding.detach().to(dtype))
        self._pass = candidate_pass(settings.kernel, embedding.device)
        self._links = *output.links, first_link(embedding, dtype)

    def __call__(self, features: Tensor, beams: Beams) -> Chosen:
        """From the features of all beams (N, D) to what the step chooses."""
        run, settings = self._run, self._run.settings
        with torch.no_grad():
            count, vocabulary = beams.scores.size(1), run.table.size(0)
            make = self._pass if count == settings.width else TorchPass  # kernels are for K beams
            look = make(run, features, beams)
            top = look.ranking.best(settings.width)
            live = top.scores.isfinite()
            ended = ~beams.going.squeeze(1)
            few = nearest(look.ranking, top, count * vocabulary, settings.alpha, settings.top_k, ended)
            mean_rows = None if few is None or look.log_z is None else look.mean_output_rows()
            top = Best(*(torch.where(live, column, column[:, :1]) for column in top))
            log_z, whole = look.log_z, look.whole() if few is None else None
            del look  # what it made is as large as the scores
        if few is not None:
            made = NearChoice.apply(features, beams.scores, *self._links, run, beams, few, log_z, mean_rows)
        else:
            made = WholeChoice.apply(features, beams.scores, *self._links, run, beams, whole, top, log_z)
        averages, found, *self._links = made
        soft_beams, scores, costs, inputs = averages.split([count, 1, 1, run.table.size(1)], dim=2)
        scores, costs = scores.squeeze(2), costs.squeeze(2)
        return Chosen(soft_beams, scores, costs, inputs, live, found // vocabulary, found % vocabulary)
