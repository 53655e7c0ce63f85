"""Pretrained word embeddings in the text formats of word2vec, GloVe and SENNA, plain or compressed.

A line is a word and its numbers, separated by spaces; word2vec's files begin with their two sizes. SENNA has words and
numbers in two files, which `paste -d ' ' words.lst embeddings.txt` puts together.
"""

import os
from pathlib import Path

import torch
from torch import nn

from seqsearch_fairseq.data.files import FormatError, read_lines
from seqsearch_fairseq.errors import UsageError

FLAG = "--encoder-embed-path"


def load_embeddings(table: nn.Embedding, dictionary, path: str) -> int:
    """Copy into `table` the vectors of the dictionary's words, as a stream; return how many were found.

    Raises:
        UsageError: the file is missing, cut short or not UTF-8, a line has another number of dimensions than the table
            or holds something that is no number, or no word is of the dictionary.
    """
    if not os.path.isfile(path):
        raise UsageError(f"{FLAG}: the file {path} does not exist")
    found = _copy(table, dictionary, Path(path))
    if found == 0:
        raise UsageError(
            f"{FLAG}: {path} holds none of the {len(dictionary)} words of the dictionary with {table.embedding_dim} "
            "numbers, which is --encoder-embed-dim"
        )
    return found


@torch.no_grad()
def _copy(table: nn.Embedding, dictionary, path: Path) -> int:
    found, size = 0, table.embedding_dim
    for number, line in enumerate(read_lines(path), 1):
        word, *values = line.rstrip().replace("\t", " ").split(" ")
        if number == 1 and len(values) == 1:  # word2vec's two sizes
            continue
        if len(values) > size:  # GloVe has words with spaces in them
            word, values = " ".join([word, *values[:-size]]), values[-size:]
        if word not in dictionary.indices:
            continue
        if len(values) != size:
            raise FormatError(
                f"{FLAG}: {path}, line {number} has {len(values)} dimensions, --encoder-embed-dim is {size}"
            )
        try:
            vector = torch.tensor([float(value) for value in values], dtype=table.weight.dtype)
        except ValueError as error:
            raise FormatError(f"{FLAG}: {path}, line {number}: {error}") from error
        if not bool(vector.isfinite().all()):
            wrong = values[int(vector.isfinite().logical_not().nonzero()[0])]
            raise FormatError(
                f"{FLAG}: {path}, line {number}: the vector of {word!r} holds {wrong}, not a finite number"
            )
        table.weight[dictionary.indices[word]] = vector
        found += 1
    return found
