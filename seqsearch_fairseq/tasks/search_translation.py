"""Translation that can be trained through a search: fairseq's `translation` with a choice of decoders."""

from dataclasses import dataclass

from fairseq.tasks import register_task

from seqsearch_fairseq.tasks.search_task import SearchTask, SearchTaskConfig


@dataclass
class SearchTranslationConfig(SearchTaskConfig):
    pass


@register_task("search_translation", dataclass=SearchTranslationConfig)
class SearchTranslationTask(SearchTask):
    """Stock translation; end of sentence is a token like any other, and T counts it."""
