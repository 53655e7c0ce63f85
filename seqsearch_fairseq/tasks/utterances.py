"""Utterances as a fairseq data set: frames or raw audio as the input, units as the target."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from fairseq.data import FairseqDataset, data_utils
from torch import Tensor

from seqsearch_fairseq.data.files import FormatError


class UtteranceDataset(FairseqDataset):
    """Frames or samples, read when they are asked for, with their transcriptions.

    Args:
        paths: of the files.
        lengths: of what `read` returns for each.
        read: from a path to frames (T, F) or samples (T,).
        targets: (U,) units of each; None where nothing is known of any.
        words: of each, blanks between them; likewise.
        padding: the unit that pads targets.
        width: F, or None where it may be anything, or where samples are read.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        lengths: np.ndarray,
        read: Callable[[Path], np.ndarray],
        targets: Sequence[Tensor] | None,
        words: Sequence[str] | None,
        padding: int,
        width: int | None = None,
    ):
        self.paths, self.sizes, self.read = paths, lengths, read
        self.targets, self.words, self.padding, self.width = targets, words, padding, width
        self.kept = np.arange(len(paths))  # what is left of them in training

    def __getitem__(self, index):
        source = self.read(self.paths[index])
        if len(source) != self.sizes[index]:
            raise FormatError(
                f"{self.paths[index]} has the length {len(source)}, and by its manifest {self.sizes[index]}; write the "
                "manifest again"
            )
        if self.width is not None and source.shape[1:] != (self.width,):
            raise FormatError(
                f"{self.paths[index]} has {source.shape[-1]} numbers a frame, and the model reads {self.width}"
            )
        return {
            "id": index,
            "source": torch.from_numpy(source),
            "target": None if self.targets is None else self.targets[index],
            "words": None if self.words is None else self.words[index],
        }

    def __len__(self):
        return len(self.paths)

    def collater(self, samples):
        """A batch as fairseq's audio tasks have it.

        `net_input` holds `source`, (B, T, F) or (B, T), padded with zeros, and `padding_mask` (B, T). `target` is
        (B, U), or None. `words` is a list, or None.
        """
        if not samples:
            return {}
        lengths = torch.tensor([len(sample["source"]) for sample in samples])
        source = torch.nn.utils.rnn.pad_sequence([sample["source"] for sample in samples], batch_first=True)
        batch: dict = {
            "id": torch.tensor([sample["id"] for sample in samples]),
            "net_input": {"source": source, "padding_mask": torch.arange(source.size(1)) >= lengths.unsqueeze(1)},
            "nsentences": len(samples),
            "ntokens": int(lengths.sum()),
            "target": None,
            "words": None if self.words is None else [sample["words"] for sample in samples],
        }
        if self.targets is not None:
            targets = [sample["target"] for sample in samples]
            batch["target"] = data_utils.collate_tokens(targets, self.padding)
            batch["target_lengths"] = torch.tensor([len(target) for target in targets])
            batch["ntokens"] = int(batch["target_lengths"].sum())
        return batch

    def keep(self, where: np.ndarray) -> None:
        """Leave out all utterances but those where this (N,) is true."""
        self.kept = np.flatnonzero(where)

    def ordered_indices(self):
        """By length; those of one length at random."""
        order = np.random.permutation(self.kept)
        return order[np.argsort(self.sizes[order], kind="mergesort")]

    def num_tokens(self, index):
        return int(self.sizes[index])

    def num_tokens_vec(self, indices):
        return self.sizes[indices]

    def size(self, index):
        return int(self.sizes[index])

    @property
    def supports_prefetch(self):
        return False
