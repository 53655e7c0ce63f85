"""fairseq scorers for --scoring."""

from seqsearch_fairseq.scoring import tag_accuracy  # noqa: F401
