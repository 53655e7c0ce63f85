"""Share of right labels, for `fairseq-generate --scoring tag_accuracy`."""

from dataclasses import dataclass

from fairseq.dataclass import FairseqDataclass
from fairseq.scoring import register_scorer

from seqsearch_fairseq.scoring.tag_scorer import TagScorer
from seqsearch_fairseq.tag_scores import TagAccuracy


@dataclass
class TagAccuracyConfig(FairseqDataclass):
    pass


@register_scorer("tag_accuracy", dataclass=TagAccuracyConfig)
class TagAccuracyScorer(TagScorer):
    """Percentage of labels that are right, over all words of all sentences."""

    name = "tag_accuracy"
    counter = TagAccuracy
