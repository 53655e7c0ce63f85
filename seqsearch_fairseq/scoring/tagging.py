"""The score of `--task search_tagging` where none is named: chunk F1 of chunk labels, accuracy of all others."""

from dataclasses import dataclass

from fairseq.dataclass import FairseqDataclass
from fairseq.scoring import register_scorer

from seqsearch_fairseq.scoring.tag_scorer import TagScorer
from seqsearch_fairseq.tag_scores import ChunkOrPlain

DEFAULT_SCORER = "tagging"


@dataclass
class TaggingConfig(FairseqDataclass):
    pass


@register_scorer(DEFAULT_SCORER, dataclass=TaggingConfig)
class TaggingScorer(TagScorer):
    """`chunk_f1` if all gold labels are of chunks; else `tag_accuracy`."""

    name = DEFAULT_SCORER
    counter = ChunkOrPlain
