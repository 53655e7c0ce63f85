"""fairseq scorers for --scoring."""

from seqsearch_fairseq.scoring import chunk_f1, edit_distance, tag_accuracy, tagging  # noqa: F401
