"""Pretrained word embeddings in the text formats of word2vec, GloVe and SENNA."""

import os

import torch
from torch import nn

from seqsearch_fairseq.errors import UsageError


def load_embeddings(table: nn.Embedding, dictionary, path: str) -> int:
    """Copy into `table` the vectors of the dictionary's words, as a stream; return how many were found.

    Raises:
        UsageError: the file is missing or is not UTF-8, a line has another number of dimensions than the table or holds
            something that is no number, or no word is of the dictionary.
    """
    if not os.path.isfile(path):
        raise UsageError(f"--encoder-embed-path: the file {path} does not exist")
    found = 0
    with open(path, "rb") as lines, torch.no_grad():
        for number, raw in enumerate(lines, 1):
            try:
                word, *values = raw.decode("utf-8").rstrip().split(" ")
            except UnicodeDecodeError as error:
                raise UsageError(f"--encoder-embed-path: {path}, line {number} is not UTF-8") from error
            if number == 1 and len(values) == 1:  # word2vec begins with the two sizes
                continue
            if word not in dictionary.indices:
                continue
            if len(values) != table.embedding_dim:
                raise UsageError(
                    f"--encoder-embed-path: {path}, line {number} has {len(values)} dimensions, "
                    f"--encoder-embed-dim is {table.embedding_dim}"
                )
            try:
                table.weight[dictionary.indices[word]] = torch.tensor([float(value) for value in values])
            except ValueError as error:
                raise UsageError(f"--encoder-embed-path: {path}, line {number}: {error}") from error
            found += 1
    if found == 0:
        raise UsageError(f"--encoder-embed-path: {path} has no word of the dictionary's {len(dictionary)}")
    return found
