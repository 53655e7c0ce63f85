"""Models that fairseq does not have: taggers, and the papers' named sizes."""

from seqsearch_fairseq.models import attention_gru, tagger, translation  # noqa: F401
