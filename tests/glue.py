"""Tasks, models, batches and criterions as fairseq's trainer and generator build them, for tests without a command."""

from typing import Any, NamedTuple

from fairseq import tasks
from fairseq.checkpoint_utils import load_model_ensemble
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY
from omegaconf import DictConfig

import seqsearch_fairseq  # noqa: F401  (registers the names)

# What a criterion reads from other sections of the configuration.
FROM_ELSEWHERE = {"sentence_avg": False, "ddp_backend": "legacy_ddp", "distributed_world_size": 1}


class Loaded(NamedTuple):
    """A trained model with its task."""

    task: Any
    model: Any

    @classmethod
    def from_checkpoint(cls, trained, double: bool = False, **task_options) -> "Loaded":
        task = make_task(trained.task, trained.data, **task_options)
        models, _ = load_model_ensemble([str(trained.checkpoint)], task=task)
        model = models[0].eval()
        return cls(task, model.double() if double else model)

    def without_dropout(self) -> "Loaded":
        """In training mode, which cuDNN's backward asks for, but scoring as in evaluation."""
        self.model.train()
        for module in self.model.modules():
            for name in ("p", "dropout"):  # of fairseq's modules, and of torch's recurrent networks
                if isinstance(getattr(module, name, None), float):
                    setattr(module, name, 0.0)
        return self

    def batches(self, split: str = "valid", batch_size: int = 8) -> list[dict]:
        if split not in self.task.datasets:
            self.task.load_dataset(split)
        itr = self.task.get_batch_iterator(
            self.task.dataset(split), max_sentences=batch_size, max_positions=self.task.max_positions()
        )
        return list(itr.next_epoch_itr(shuffle=False))

    def batch(self, sentences: int = 8) -> dict:
        """The first sentences of the validation data, of whatever lengths, as one batch."""
        if "valid" not in self.task.datasets:
            self.task.load_dataset("valid")
        dataset = self.task.dataset("valid")
        return dataset.collater([dataset[i] for i in range(sentences)])

    def one_by_one(self, sentences: int = 8) -> list[dict]:
        """The same sentences, each a batch of its own, in the order of `batch`."""
        dataset, ids = self.task.dataset("valid"), self.batch(sentences)["id"].tolist()
        return [dataset.collater([dataset[i]]) for i in ids]


def make_task(name: str, data, **options):
    """The task called `name` on a folder of data."""
    fields = tasks.TASK_DATACLASS_REGISTRY[name].__dataclass_fields__
    from_elsewhere = {"train_subset": "train", "dataset_impl": None, "required_seq_len_multiple": 1}
    shared = {field: value for field, value in from_elsewhere.items() if field in fields}
    return tasks.setup_task(DictConfig({"_name": name, "data": str(data), **shared, **options}))


def make_criterion(name: str, task, **options):
    """The criterion called `name`, as one process trains with it."""
    kind = CRITERION_DATACLASS_REGISTRY[name]
    fields = kind.__dataclass_fields__
    cfg = kind(**{name: value for name, value in FROM_ELSEWHERE.items() if name in fields} | options)
    cfg._name = name
    return CRITERION_REGISTRY[name].build_criterion(cfg, task)
