"""How to search, and in what portions: the options of `tag`, without an import of torch."""

import math
from dataclasses import dataclass

from seqsearch_fairseq.errors import UsageError

DECODERS = ("greedy", "beam", "soft-beam")  # those of the task
SCORES = ("auto", "log-probs", "logits")
BEAM, ALPHA = 5, 10.0  # defaults of fairseq-generate and of the task
MAX_TOKENS = 12_000  # as fairseq-generate has it where neither tokens nor sentences are limited
BUFFER = 4096  # sentences that are read before the first is written
BUFFER_WORDS = 100_000  # the same in words


@dataclass(frozen=True)
class TagOptions:
    """What fairseq-generate's options of these names mean."""

    decoder: str = "beam"
    beam: int | None = None  # None: `BEAM`, or as many as there are labels, if those are fewer
    alpha: float = ALPHA  # --soft-beam-decode-alpha
    scores: str = "auto"  # --decode-scores
    max_tokens: int | None = MAX_TOKENS  # of a batch, padding counted
    batch_size: int | None = None  # sentences of a batch

    def __post_init__(self):
        for name, value, known in (("decoder", self.decoder, DECODERS), ("scores", self.scores, SCORES)):
            if value not in known:
                raise UsageError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if not 0 < self.alpha < math.inf:
            raise UsageError(f"alpha of the soft beam must be positive, got {self.alpha}")
        for name in ("beam", "batch_size", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, got {value}")
