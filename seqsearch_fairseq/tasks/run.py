"""What all tasks here share of a run: the clock, batches of which none is lost, a beginning that is there."""

import os
from dataclasses import dataclass
from typing import Optional

from fairseq.dataclass import FairseqDataclass
from fairseq.tasks import FairseqTask
from omegaconf import II
from omegaconf.errors import InterpolationKeyError

from seqsearch_fairseq import checkpoints
from seqsearch_fairseq.errors import UsageError

NO_CHECKPOINT = "checkpoint_last.pt"  # fairseq's default of --restore-file: the run's own last one, if there is one


@dataclass
class RunConfig(FairseqDataclass):
    restore_file: str = II("checkpoint.restore_file")  # fairseq's own flags
    finetune_from_model: Optional[str] = II("checkpoint.finetune_from_model")  # noqa: UP045  (fairseq reads no other)


class Run(FairseqTask):
    """A task that knows the epoch. To be named before any other base of a task."""

    epoch = 1  # the clock: what fairseq counts, and restores from a checkpoint
    _begun = False

    @classmethod
    def add_args(cls, parser):
        """The flags, and no worker process for the data unless --num-workers asks for some.

        Text in memory needs none, and fairseq's default of one is a new process each epoch and validation. Some end in
        "can only test a child process", where Python clears away in the child what belongs to its parent.
        """
        super().add_args(parser)
        parser.set_defaults(num_workers=0)

    def get_batch_iterator(self, dataset, *args, **kwargs):
        """fairseq's, with batches of any size, so that none is lost.

        fairseq drops the last batch, the longest sentences, where its size is no multiple of
        `--required-batch-size-multiple` (8 by default): in training, in validation and in fairseq-generate.
        """
        kwargs["required_batch_size_multiple"] = 1
        return super().get_batch_iterator(dataset, *args, **kwargs)

    def can_reuse_epoch_itr(self, dataset):
        """No: fairseq draws the batches from the epoch in which it makes them, so a resumed run would see others."""
        return False

    def begin_epoch(self, epoch, model):
        super().begin_epoch(epoch, model)
        self.epoch = epoch
        self._check_beginning()

    def begin_valid_epoch(self, epoch, model):
        super().begin_valid_epoch(epoch, model)
        self.epoch = epoch

    def _check_beginning(self) -> None:
        """Before anything is trained: whether the checkpoint to begin from is there.

        Where it is not, fairseq says so in its log, and trains from random weights.
        """
        if not self._begun:
            restore, finetune = (_from_elsewhere(self.cfg, name) for name in ("restore_file", "finetune_from_model"))
            wrong = None
            if restore not in (None, NO_CHECKPOINT):
                wrong = checkpoints.missing(restore)
            elif finetune is not None and os.path.isdir(finetune):  # fairseq itself looks whether it exists
                wrong = checkpoints.missing(finetune)
            if wrong is not None:
                raise UsageError(wrong)
        self._begun = True


def _from_elsewhere(cfg, name: str):
    """A setting of another section of the configuration; None where the task was made without that section."""
    try:
        return getattr(cfg, name, None)
    except InterpolationKeyError:
        return None
