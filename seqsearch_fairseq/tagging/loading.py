"""From checkpoints of `--task search_tagging` to a task and its models, ready to tag."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from fairseq import checkpoint_utils, tasks
from omegaconf import open_dict

from seqsearch_fairseq.checkpoints import loading
from seqsearch_fairseq.errors import UsageError

TASK = "search_tagging"
HERE = "."  # fairseq's convention: the dictionaries are in the checkpoint's folder


class Loaded(NamedTuple):
    cfg: Any  # the last checkpoint's, a DictConfig
    task: Any
    models: list


def load(paths: Sequence[str], data: str | None = None, overrides: dict | None = None) -> Loaded:
    """Load checkpoints, several as an ensemble, on the CPU.

    Args:
        paths: the files.
        data: the folder of the dictionaries; None is that of the first checkpoint, or else the folder that it was
            trained on.
        overrides: values for names of the checkpoints' configuration.

    Raises:
        UsageError: a file is no checkpoint of this task, or the dictionaries are not to be found.
    """
    overrides = dict(overrides or {})
    with loading(paths[0]):
        state = checkpoint_utils.load_checkpoint_to_cpu(paths[0], overrides)
    cfg = _task_config(state, paths[0])
    kept = (state.get("task_state") or {}).get("languages") or (cfg.source_lang, cfg.target_lang)
    with open_dict(cfg):
        cfg.source_lang, cfg.target_lang = kept
        cfg.data = _data_folder(paths[0], cfg, data)
    overrides["data"] = cfg.data
    task = tasks.setup_task(cfg, from_checkpoint=True)
    with loading(paths[-1]):
        models, cfg, task = checkpoint_utils.load_model_ensemble_and_task(
            list(paths), arg_overrides=overrides, task=task, state=state if len(paths) == 1 else None
        )
    for model in models:
        model.prepare_for_inference_(cfg)
    return Loaded(cfg, task, models)


def _task_config(state: dict, path: str):
    cfg = state.get("cfg")
    name = None if cfg is None or cfg.get("task") is None else cfg.task.get("_name")
    if cfg is None or name != TASK:
        raise UsageError(f"{path} must be a checkpoint of --task {TASK}, which tags; it is of {name or 'no task'}")
    return cfg.task


def _data_folder(path: str, cfg, data: str | None) -> str:
    """The folder that holds the dictionaries."""
    names = [f"dict.{lang}.txt" for lang in (cfg.source_lang, cfg.target_lang) if lang is not None]
    names += [f"dict.{name.strip()}.txt" for name in cfg.tagging_factors.split(",") if name.strip()]
    trained_on = (cfg.data or "").split(os.pathsep)[0]
    folders = [data] if data is not None else [os.path.dirname(os.path.abspath(path)), trained_on]
    for folder in folders:
        if folder and names and all(os.path.isfile(os.path.join(folder, name)) for name in names):
            return folder
        if folder and not names and os.path.isdir(folder) and any(n.endswith(".idx") for n in os.listdir(folder)):
            return folder  # a checkpoint that does not name its languages; the data do
    raise UsageError(
        f"the dictionaries of {path} ({', '.join(names) or 'dict.SOURCE.txt and dict.TARGET.txt'}) are not in "
        f"{' nor in '.join(map(str, folders))}; name the folder that fairseq-preprocess wrote: --data DATA, or "
        "data_name_or_path in Python"
    )
