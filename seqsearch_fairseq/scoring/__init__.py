"""fairseq scorers for --scoring."""

from seqsearch_fairseq.scoring import chunk_f1, edit_distance, recognition, tag_accuracy, tagging  # noqa: F401
