"""Factors of the words in `search_tagging`: a part of speech for each word, for instance.

A factor is one more source of the same labels: a second fairseq-preprocess, with `--source-lang NAME --target-lang
LABELS --only-source`, writes `dict.NAME.txt` and `SPLIT.NAME-LABELS.NAME.{bin,idx}` into the data folder. Here they
are read, checked against the words, and put into each batch as `net_input["factors"]`.
"""

import copy
import os
from typing import NamedTuple

import numpy as np
import torch
from fairseq import utils
from fairseq.data import Dictionary, FairseqDataset, LanguagePairDataset, StripTokenDataset
from torch import Tensor

from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.tasks.search_task import SearchTask


class Factor(NamedTuple):
    """A factor of the words of one split."""

    tokens: FairseqDataset  # of each sentence (T,), as many as it has words
    padding: int


class FactoredPairDataset(LanguagePairDataset):
    """fairseq's pairs of source and target, with the factors of the source in each batch. Padded on the right."""

    def __init__(self, factors: list[Factor], *pair, **options):
        super().__init__(*pair, **options)
        self.factors = factors

    def __getitem__(self, index):
        example = super().__getitem__(index)
        if self.factors:
            example["factors"] = torch.stack([factor.tokens[index] for factor in self.factors])  # (F, T)
        return example

    def collater(self, samples, pad_to_length=None):
        """fairseq's batch, and with factors `net_input["factors"]` (B, F, T), in the order of its sentences."""
        batch = super().collater(samples, pad_to_length)
        if self.factors and batch:
            batch["net_input"]["factors"] = self._collated(samples, batch)
        return batch

    def _collated(self, samples, batch) -> Tensor:
        of_sentence = {sample["id"]: sample["factors"] for sample in samples}  # super().collater sorts by length
        padding = torch.tensor([factor.padding for factor in self.factors])
        sentences, longest = batch["net_input"]["src_tokens"].shape
        collated = padding.view(1, -1, 1).repeat(sentences, 1, longest)  # (B, F, T)
        for row, sentence in zip(collated, batch["id"].tolist(), strict=True):
            factors = of_sentence[sentence]
            row[:, : factors.size(1)] = factors
        return collated

    @property
    def supports_prefetch(self):
        return super().supports_prefetch and all(factor.tokens.supports_prefetch for factor in self.factors)

    def prefetch(self, indices):
        super().prefetch(indices)
        for factor in self.factors:
            factor.tokens.prefetch(indices)


def load_dictionaries(cfg) -> dict[str, Dictionary]:
    """The dictionaries of `--tagging-factors`, by name, in that order.

    Raises:
        UsageError: something is wrong with the names, or a dictionary is missing.
    """
    names = [name.strip() for name in cfg.tagging_factors.split(",")] if cfg.tagging_factors else []
    if not all(name.isidentifier() for name in names) or len(set(names)) < len(names):
        raise UsageError(f"--tagging-factors must be different names, as in pos,case, got {cfg.tagging_factors}")
    folder = utils.split_paths(cfg.data)[0]
    dictionaries = {}
    for name in names:
        if name in (cfg.source_lang, cfg.target_lang):
            raise UsageError(f"--tagging-factors {name}: that is the source or the target itself, not a factor of it")
        path = os.path.join(folder, f"dict.{name}.txt")
        if not os.path.isfile(path):
            raise UsageError(f"the dictionary {path} of the factor {name} does not exist; {_command(cfg, name)}")
        dictionaries[name] = Dictionary.load(path)
    return dictionaries


def load_factor(task, name: str, word_sizes: np.ndarray, split: str, epoch: int, combine: bool) -> Factor:
    """Read one of the task's factors; `word_sizes` are the lengths of the split's words, the end of sentence counted.

    Raises:
        UsageError: the files are missing or empty, or a line has more or fewer tokens than the words' line.
    """
    symbols = task.factor_dictionaries[name]
    cfg = copy.copy(task.cfg)
    cfg.source_lang = name
    reader = SearchTask(cfg, symbols, task.target_dictionary)  # of the same shards and parts of a split as the words
    try:
        reader.load_dataset(split, epoch=epoch, combine=combine)
    except FileNotFoundError as error:
        raise UsageError(
            f"split '{split}' of {cfg.data} has no factor {name}: there is no "
            f"{split}.{name}-{cfg.target_lang}.{name}.idx; {_command(cfg, name)}"
        ) from error
    pairs = reader.datasets[split]
    _check_lengths(name, np.asarray(pairs.src_sizes) - 1, np.asarray(word_sizes) - 1, split, cfg.data)
    return Factor(StripTokenDataset(pairs.src, symbols.eos()), symbols.pad())


def _check_lengths(name: str, factors: np.ndarray, words: np.ndarray, split: str, data: str) -> None:
    """Each line of a factor must have as many tokens as its word line."""
    rule = f"the factor {name} needs one token for each word: in split '{split}' of {data},"
    if len(factors) != len(words):
        raise UsageError(f"{rule} there are {len(words)} lines of words and {len(factors)} of {name}")
    wrong = np.flatnonzero(words != factors)
    if len(wrong) > 0:
        line = wrong[0]
        raise UsageError(
            f"{rule} line {line + 1} has {words[line]} words and {factors[line]} of {name} ({len(wrong)} such lines in "
            "all)"
        )


def _command(cfg, name: str) -> str:
    return f"fairseq-preprocess --source-lang {name} --target-lang {cfg.target_lang} --only-source writes it"
