"""The sharpness of a trained model, for benchmark.py --path. Not a program of its own."""

import logging

SENTENCES, BATCH = 200, 20


def sharpness_of(checkpoint: str, data: str | None) -> float:
    """The standard deviation of a model's logits among the tokens that a gold sequence may hold.

    It is taken over the first sentences of the validation split, after gold inputs: the root of the mean variance
    of a position.

    Args:
        checkpoint: of a model trained in `search_translation` or `search_tagging`.
        data: folder of fairseq-preprocess; None is the one that the model was trained on.

    Raises:
        UsageError: the checkpoint or its data cannot be used.
    """
    import torch
    from fairseq import checkpoint_utils

    from seqsearch_fairseq import checkpoints
    from seqsearch_fairseq.errors import UsageError
    from seqsearch_fairseq.tasks.search_task import SearchTask

    logging.getLogger().setLevel(logging.WARNING)  # fairseq's import lets everybody's messages through
    if (wrong := checkpoints.missing(checkpoint)) is not None:
        raise UsageError(wrong)
    with checkpoints.loading(checkpoint):
        overrides = None if data is None else {"data": data}
        (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([checkpoint], overrides)
    if not isinstance(task, SearchTask):
        raise UsageError(f"--path must be of search_translation or search_tagging, got one of {type(task).__name__}")
    task.load_dataset("valid")
    dataset, candidates = task.dataset("valid"), task.occurring_candidates()
    model = model.eval().float()
    variances = []
    with torch.no_grad():
        for begin in range(0, min(SENTENCES, len(dataset)), BATCH):
            batch = dataset.collater([dataset[i] for i in range(begin, min(begin + BATCH, len(dataset)))])
            logits = model(**batch["net_input"])[0]
            inside = batch["target"].ne(task.target_dictionary.pad())
            variances.append(logits[inside][:, candidates].var(dim=1))
    return float(torch.cat(variances).mean().sqrt())
