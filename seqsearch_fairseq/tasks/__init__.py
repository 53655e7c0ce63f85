"""fairseq tasks whose models can be trained through a search and decoded by one."""

from seqsearch_fairseq.tasks import search_recognition, search_tagging, search_translation  # noqa: F401
