"""F1 of labelled chunks, for `fairseq-generate --scoring chunk_f1`."""

from dataclasses import dataclass

from fairseq.dataclass import FairseqDataclass
from fairseq.scoring import register_scorer

from seqsearch_fairseq.scoring.tag_scorer import TagScorer
from seqsearch_fairseq.tag_scores import ChunkF1


@dataclass
class ChunkF1Config(FairseqDataclass):
    pass


@register_scorer("chunk_f1", dataclass=ChunkF1Config)
class ChunkF1Scorer(TagScorer):
    """Precision, recall and F1 of chunks as the CoNLL tasks count them, in any scheme: of all, and by type."""

    name = "chunk_f1"
    counter = ChunkF1
