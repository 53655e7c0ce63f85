"""fairseq criterions: flags, one algorithm each, and what to log."""

from seqsearch_fairseq.criterions import soft_beam  # noqa: F401
