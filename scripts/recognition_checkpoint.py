"""Loads a checkpoint of a recogniser for the scripts that search with it. Not a program of its own."""

import argparse
import logging

from seqsearch_fairseq.errors import UsageError


def load(args: argparse.Namespace):
    """The model and its task, with the lexicon and the language model that `args` name, if any.

    Args:
        args: `path`, `data`, `recognition_lexicon` and `recognition_lm`.

    Raises:
        UsageError: the checkpoint is of another task, or there is no lexicon.
    """
    from fairseq import checkpoint_utils

    from seqsearch_fairseq import checkpoints
    from seqsearch_fairseq.tasks.search_recognition import SearchRecognitionTask

    logging.getLogger().setLevel(logging.WARNING)  # fairseq's import lets everybody's messages through
    files = {name: getattr(args, name) for name in ("recognition_lexicon", "recognition_lm")}
    changed = {"data": args.data, **{name: path for name, path in files.items() if path is not None}}
    with checkpoints.loading(args.path):
        (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([args.path], changed)
    if not isinstance(task, SearchRecognitionTask):
        raise UsageError(
            f"{args.path} must be a checkpoint of --task search_recognition, it is of {type(task).__name__}"
        )
    if task.lexicon is None:
        raise UsageError("a search needs words to find: say --recognition-lexicon")
    return model, task
