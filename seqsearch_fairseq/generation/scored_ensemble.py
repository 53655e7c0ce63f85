"""fairseq's beam search over logits: what `SequenceGenerator` adds up, in place of log-probabilities.

The generator itself is fairseq's. It asks its `EnsembleModel` for the local scores of the next token; here that model
answers with logits where the task decodes with them. A hypothesis then scores the sum of its logits, which is not a
log-probability: it can be positive, and later tokens can make up for an early one (no label bias).
"""

from collections.abc import Callable

import torch
from fairseq.sequence_generator import EnsembleModel
from torch import Tensor, nn

LOG_PROBS, LOGITS = "log-probs", "logits"


class ScoredEnsemble(EnsembleModel):
    """Models of one task, whose local scores are log-probabilities or logits.

    Args:
        models: the models. Several are averaged: their probabilities, or their logits.
        scores: tells at each step which local score is meant, `LOG_PROBS` or `LOGITS`; during training that is known
            later than the generator is made.
    """

    encoder_outs = None  # of the sentences that are decoded next, one for each model, where they are known already

    def __init__(self, models, scores: Callable[[], str]):
        super().__init__(models)
        self.scores = scores
        self._raw = [EnsembleModel([_Logits(model)]) for model in models]  # a list: the modules are registered above

    def forward_encoder(self, net_input):
        """As `EnsembleModel.forward_encoder`, with `encoder_outs` in place of the encoders where they are given."""
        return super().forward_encoder(net_input) if self.encoder_outs is None else self.encoder_outs

    def forward_decoder(self, tokens, encoder_outs, incremental_states, temperature: float = 1.0):
        """As `EnsembleModel.forward_decoder`: local scores (N, V) of the next token, and attention."""
        if self.scores() == LOG_PROBS:
            return super().forward_decoder(tokens, encoder_outs, incremental_states, temperature)
        found = []
        for i, member in enumerate(self._raw):
            encoder_out = [encoder_outs[i]] if encoder_outs is not None else None
            found.append(member.forward_decoder(tokens, encoder_out, [incremental_states[i]], temperature))
        logits = torch.stack([scores for scores, _ in found]).mean(dim=0)
        attention = [weights for _, weights in found if weights is not None]
        return logits, torch.stack(attention).mean(dim=0) if attention else None


class _Logits(nn.Module):
    """A model that gives its decoder's output as it is where fairseq asks for log-probabilities."""

    def __init__(self, model):
        super().__init__()
        self.encoder, self.decoder = model.encoder, model.decoder

    def get_normalized_probs(self, net_output, log_probs: bool, sample=None) -> Tensor:
        return net_output[0].float() if net_output[0].dtype in (torch.float16, torch.bfloat16) else net_output[0]
