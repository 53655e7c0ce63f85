"""Tagging with a trained model: `python -m seqsearch_fairseq tag`, and the same from Python."""
