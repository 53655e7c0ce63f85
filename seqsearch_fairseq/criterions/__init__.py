"""fairseq criterions: flags, one algorithm each, and what to log."""

from seqsearch_fairseq.criterions import beam_training, dbd, scheduled_sampling, searnn, soft_beam  # noqa: F401
