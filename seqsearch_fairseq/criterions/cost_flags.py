"""Flags that name a sequence cost, and the cost that they stand for."""

from seqsearch_fairseq.algorithms.sequence_costs import SEQUENCE_COSTS, ChunkLabels, SequenceCost
from seqsearch_fairseq.errors import UsageError

CHUNK_F1 = "chunk-f1"
COST_NAMES = [*SEQUENCE_COSTS, CHUNK_F1]


def sequence_cost(flag: str, name: str, task) -> SequenceCost:
    """The cost called `name`, one of `COST_NAMES`, between output sequences of `task`.

    Raises:
        UsageError: chunk F1 of an output that is no labels of chunks.
    """
    return chunk_labels(flag, task).one_minus_f1 if name == CHUNK_F1 else SEQUENCE_COSTS[name]


def chunk_labels(flag: str, task) -> ChunkLabels:
    """The labels of `task` as those of chunks, for `FLAG chunk-f1`.

    Raises:
        UsageError: the task is not tagging, or its labels are not of chunks.
    """
    if not task.one_label_a_word:
        raise UsageError(f"{flag} {CHUNK_F1} is for search_tagging: chunks need one label a word")
    symbols, candidates = task.target_dictionary.symbols, task.search_candidates().tolist()
    try:
        return ChunkLabels([symbol if keep else None for symbol, keep in zip(symbols, candidates, strict=True)])
    except ValueError as error:
        raise UsageError(f"{flag} {CHUNK_F1}: {error}") from error
