"""Models that fairseq does not have: taggers, recognisers, and the papers' named sizes."""

from seqsearch_fairseq.models import attention_gru, recognizer, tagger, translation  # noqa: F401
